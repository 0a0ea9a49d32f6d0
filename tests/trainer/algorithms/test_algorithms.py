"""What each strategy does within one step, and what the multi-trial control proposes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autohas_api.accept.acceptance import accept
from autohas_api.space.decisions import Configuration, Role, Space
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.algorithms import TrialAlgorithm, build_algorithm, random_search
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages import build_stages
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training.guard import UpdateGuard
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.space.paired import leave_one_out_advantages
from engine_fixtures import MIXED, MemorySink, TickingClock, search, small_search
from supernet_steps import TakenStep, take_step

RATES = {"name": "learning_rate", "continuous": {"min": "0.03", "max": "0.3", "scale": "Log", "numBases": 3, "mixing": "OneHot"}}


def _state(knobs: dict[str, Any], *, learning_rate: str = "0.1") -> SearchState:
    """A search state in which a sample's rate is one of three bases."""
    document = with_change(small_search({"autoHAS": knobs}, steps=270), "spec.task.recipe.learningRate", learning_rate)
    document = with_change(document, "spec.searchSpace.hyperparameters[0].continuous.mixing", "OneHot")
    parsed, space = accept(document)
    return SearchState(SearchTask.load(parsed.spec, space, torch.device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())


def _in_window(state: SearchState) -> int:
    return round(0.1 * state.supernet_plan.schedule_steps)


def _weights(state: SearchState) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.supernet.state_dict().items()}


def test_leave_one_out_by_hand() -> None:
    """Rewards 1, 2, 6: mean 3, deviation sqrt(14/3); centred by the others -3, -1.5, 4.5."""
    deviation = math.sqrt(14 / 3)

    assert leave_one_out_advantages([1, 2, 6]) == pytest.approx([-3 / deviation, -1.5 / deviation, 4.5 / deviation])


def test_equal_rewards_teach_nothing_and_a_broken_one_is_the_worst() -> None:
    """No spread gives zeros; NaN gets the lowest advantage and counts in no mean."""
    assert leave_one_out_advantages([0.5, 0.5]) == [0.0, 0.0]
    assert leave_one_out_advantages([math.nan, 1.0, 3.0]) == [-3.0, pytest.approx(-2.0), pytest.approx(2.0)]
    assert leave_one_out_advantages([math.nan, math.inf]) == [0.0, 0.0]


@pytest.mark.parametrize("strategy", ["OneStep", "Paired"])
def test_what_was_learned_under_an_architecture_is_used_under_it(strategy: str) -> None:
    """Momentum is searched in deep networks only and learns 0 there: deep samples train with 0 although the derived network is flat."""
    momentum = {
        "name": "momentum",
        "continuous": {"min": "0", "max": "0.5", "numBases": 2, "mixing": "OneHot"},
        "when": {"decision": "depth", "values": ["3"]},
    }
    document = small_search({"autoHAS": {"strategy": strategy}}, steps=270)
    parsed, space = accept(with_change(document, "spec.searchSpace.hyperparameters", [momentum]))
    state = SearchState(SearchTask.load(parsed.spec, space, torch.device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())
    policy, learned = state.algorithm.policy, space.searched_decisions(Role.UPDATE_RULE)
    deep = next(d for d in map(policy.sample, (np.random.default_rng(n) for n in range(99))) if d.configuration.values[:2] == ("3", "0"))
    policy.update(deep, 1.0, learned)
    last = state.supernet_plan.warmup_steps - 1  # the window is over, the architecture does not learn yet
    steps = [take_step(state, last - n) for n in range(12)]
    used = {(values["depth"], values["momentum"]) for values in (space.as_mapping(step.sample) for step in steps)}
    raced = [space.as_mapping(c.configuration) for c in state.algorithm.candidates(64, np.random.default_rng(0))]

    assert space.as_mapping(policy.derive())["depth"] == "2"
    assert used == {("1", "0.9"), ("2", "0.9"), ("3", "0")}
    assert {values["momentum"] for values in raced if values["depth"] == "3"} == {"0"}


def _momentum_under_depth(knobs: dict[str, Any]) -> tuple[SearchState, Configuration]:
    """A search state whose policy has learned momentum 0 in networks of depth 3, where alone it is searched, and such a network."""
    momentum = {
        "name": "momentum",
        "continuous": {"min": "0", "max": "0.5", "numBases": 2, "mixing": "OneHot"},
        "when": {"decision": "depth", "values": ["3"]},
    }
    parsed, space = accept(with_change(small_search({"autoHAS": knobs}, steps=270), "spec.searchSpace.hyperparameters", [momentum, RATES]))
    state = SearchState(SearchTask.load(parsed.spec, space, torch.device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())
    policy, learned = state.algorithm.policy, space.searched_decisions(Role.UPDATE_RULE)
    samples = (policy.sample(np.random.default_rng(n)) for n in itertools.count())
    deep = next(d for d in samples if {"depth": "3", "momentum": "0"}.items() <= space.as_mapping(d.configuration).items())
    policy.update(deep, 1.0, learned)
    return state, deep.configuration


@pytest.mark.parametrize("place", ["in the window", "after it"])
@pytest.mark.parametrize(
    "knobs", [{"strategy": "OneStep"}, {"strategy": "Paired"}, {"strategy": "OneStep", "sharedUpdate": "Sampled"}], ids=str
)
def test_the_shared_update_uses_what_is_reported(knobs: dict[str, Any], place: str) -> None:
    """Weights and moments after a step of a deep sample equal those of a commit with its architecture and what was learned for it.

    In the window with sharedUpdate Sampled that is the sample itself; the derived network is flat, so the derived configuration as a
    whole would hold momentum at its default of 0.9.
    """
    state, deep = _momentum_under_depth(knobs)
    twin, space = _momentum_under_depth(knobs)[0], state.search_task.space
    learned = {name: space.as_mapping(deep)[name] for name in ("momentum", "learning_rate")}
    first = _in_window(state) if place == "in the window" else state.supernet_plan.warmup_steps - 12
    for number in range(first, first + 40):  # until a deep one is drawn
        before, moved = _weights(state), state.algorithm.state_dict()
        done = take_step(state, number)
        if space.as_mapping(done.sample)["depth"] == "3":
            break
        state.supernet.load_state_dict(before)
        state.algorithm.load_state_dict(moved)
    is_sampled = place == "in the window" and "sharedUpdate" in knobs
    expected = done.sample if is_sampled else space.configuration({**space.as_mapping(done.sample), **learned})
    context = SupernetStepContext(twin, number)
    context.commit(done.sample, context.gradient(done.sample, context.train_batch()), expected)

    assert space.as_mapping(state.algorithm.policy.derive())["depth"] != "3"
    assert done.learning_rate == context.learning_rate(expected)
    assert all(torch.equal(tensor, _weights(twin)[name]) for name, tensor in _weights(state).items())


def test_random_sharing_reports_the_hyperparameters_that_it_trains_with() -> None:
    """Its steps sample architectures; their hyperparameters are the default's, in the record as in the update."""
    parsed, space = accept(small_search({"name": "RandomSharing"}, steps=270))
    state = SearchState(SearchTask.load(parsed.spec, space, torch.device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())
    samples = [space.as_mapping(take_step(state, number).sample) for number in range(8)]

    assert {sample["learning_rate"] for sample in samples} == {space.as_mapping(space.default)["learning_rate"]}
    assert len({tuple(sample.items()) for sample in samples}) > 1


def test_the_window_and_the_architecture_have_a_baseline_each() -> None:
    """The average and the deviation of the window's rewards are forgotten when it closes, and those before it when it opens."""
    state = _state({"strategy": "OneStep", "warmupFraction": "0"})
    policy, total = state.algorithm.policy, state.supernet_plan.schedule_steps
    opens, closes = math.ceil(0.05 * total), math.ceil(0.2 * total)
    num_rewards = []
    for number in range(closes + 2):
        take_step(state, number)
        num_rewards.append(policy.num_rewards)

    assert num_rewards == [*range(1, opens + 1), *range(1, closes - opens + 1), 1, 2]
    assert policy.baseline == pytest.approx(0.5, abs=0.5)


def test_rewards_after_the_window_are_not_measured_by_its_baseline() -> None:
    """After a window of rewards of 0.2 and the steps of 0.6 that follow it, half of the first twenty advantages are positive."""
    state = _state({"strategy": "OneStep"})
    rewards = np.random.default_rng(0)
    total = state.supernet_plan.schedule_steps
    contexts = [SupernetStepContext(state, number) for number in range(round(0.05 * total), state.supernet_plan.warmup_steps + 40)]
    advantages = []
    for context in contexts:
        level = 0.2 if context.step < 0.2 * total else 0.6
        context.quality = lambda configuration, batch, level=level: torch.tensor(level + 0.05 * float(rewards.standard_normal()))  # type: ignore[method-assign,misc]
        done = take_step(state, context).lesson
        if context.step >= 0.2 * total and done.reward is not None:
            advantages.append(done.advantage)

    assert 4 <= sum(advantage is not None and advantage > 0 for advantage in advantages[:20]) <= 15
    assert advantages[0] == 0


@pytest.mark.parametrize(("batch_size", "step", "steps"), [("32", 1.5968, 23), ("64", 1.6493, 23), ("128", 1.7543, 21)])
def test_the_supernet_takes_the_batch_size_that_belongs_to_the_rate(batch_size: str, step: float, steps: int) -> None:
    """After a lane of 128 examples its steps take 128: fewer steps, for the trainings that were planned and to the end of the progress.

    The mean path costs `step` steps of the default, of which a supernet adds 0.65, and a reward 0.35 after a quarter of the steps: the
    44.1 steps that are planned pay for 44.1 / (step + 0.75 * 0.35).
    """
    sizes = {"name": "batch_size", "integer": {"min": 32, "max": 128, "step": 2, "scale": "Log"}}
    document = with_change(small_search(steps=54), "spec.searchSpace.hyperparameters", [sizes, RATES])
    parsed, space = accept(with_change(document, "spec.task.recipe.batchSize", 64))
    sink = MemorySink()
    state = SearchState(SearchTask.load(parsed.spec, space, torch.device("cpu")), sink, Ledger(0, TickingClock()), TickingClock())
    lane = space.configuration({**space.as_mapping(space.default), "batch_size": batch_size})
    state.best_lane = state.enter("lane 1", lane)
    state.algorithm.begin(lane)
    plan, stages, works = state.search_task.plan, build_stages(state)[1:3], state.search_task.works
    state.ledger.steps = plan.supernet_steps
    for stage in stages:
        while stage.advance():
            pass
    warmup, taken = stages[0].state_dict()["step"], sum(stage.state_dict()["step"] for stage in stages)
    samples = [space.configuration(record.sample or {}) for record in sink.steps]
    gradients = sum(works.gradient(sample, int(batch_size)) for sample in samples)
    rewards = sum(works.forward(sample, 64) for sample, record in zip(samples, sink.steps, strict=True) if record.reward is not None)
    planned = warmup * step + (taken - warmup) * (step + 0.35)

    assert SupernetStepContext(state, 0).train_batch().inputs.shape[0] == int(batch_size)
    assert taken == len(samples) == steps == int(44.1 / (step + 0.75 * 0.35))
    assert warmup == math.ceil(0.25 * steps)
    assert state.ledger.step == plan.supernet_steps
    assert state.ledger.cost == pytest.approx(gradients + rewards)
    assert 54 * state.ledger.cost == pytest.approx(planned, rel=0.05)  # the paths that were drawn are not the mean one
    assert planned <= 54 * plan.supernet_trainings + 1e-9 < planned + step + 2 * 0.35
    assert SupernetStepContext(state, 0).num_steps == taken


def test_one_step_counts_what_it_ran() -> None:
    """In the window one gradient, one reward and one look at the training loss; with an own batch two gradients."""
    shared, custom = _state({"strategy": "OneStep"}), _state({"strategy": "OneStep", "temporaryBatch": "Own"})
    one, two = take_step(shared, _in_window(shared)), take_step(custom, _in_window(custom))

    assert (one.update.num_gradients, one.update.num_reward_forwards, one.update.num_train_forwards) == (1, 1, 1)
    assert (two.update.num_gradients, two.update.num_reward_forwards, two.update.num_train_forwards) == (2, 1, 1)


def test_the_own_batch_changes_the_reward_but_not_the_shared_update() -> None:
    """Temporary weights come from another batch; the shared weights move as before."""
    shared, custom = _state({"strategy": "OneStep"}), _state({"strategy": "OneStep", "temporaryBatch": "Own"})
    custom.supernet_share = shared.supernet_share  # steps of the same schedule, although one of them costs more
    context = SupernetStepContext(custom, 30)

    assert not torch.equal(context.temporary_batch().inputs, context.train_batch().inputs)
    take_step(shared, _in_window(shared))
    take_step(custom, _in_window(custom))
    assert all(torch.equal(tensor, _weights(custom)[name]) for name, tensor in _weights(shared).items())


def test_sampled_moves_the_shared_weights_by_the_samples_rate() -> None:
    """With sharedUpdate Sampled the step equals gradient and commit under the sample; with Reference, under the derived rate."""
    for knobs in ({"strategy": "OneStep", "sharedUpdate": "Sampled"}, {"strategy": "OneStep"}):
        state, twin = _state(knobs), _state(knobs)
        number = _in_window(state)
        derived = state.algorithm.policy.most_likely()
        done = take_step(state, number)
        context = SupernetStepContext(twin, number)
        gradient = context.gradient(done.sample, context.train_batch())
        context.commit(done.sample, gradient, done.sample if "sharedUpdate" in knobs else derived)

        assert all(torch.equal(tensor, _weights(twin)[name]) for name, tensor in _weights(state).items())


def test_a_harmful_update_is_taken_back_bit_for_bit() -> None:
    """At a rate of 1e30 the loss is no number: weights and momentum stay; whom to blame is the algorithm's affair."""
    state = _state({"strategy": "OneStep", "sharedUpdate": "Sampled"}, learning_rate="1e30")
    space = state.search_task.space
    before, policy = _weights(state), state.algorithm.policy.probabilities()
    for name in space.searched_decisions(Role.UPDATE_RULE):
        assert name.name == "learning_rate"
    wild = space.configuration({**space.as_mapping(space.default), "learning_rate": "1e30"})
    context = SupernetStepContext(state, _in_window(state))
    gradient = context.gradient(wild, context.train_batch())

    assert not context.try_commit(wild, gradient, wild)
    assert all(torch.equal(tensor, before[name]) for name, tensor in _weights(state).items())
    assert state.algorithm.policy.probabilities() == policy


class _Refusing(UpdateGuard):
    """Calls every update harmful, and remembers what it judged."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.judged: list[tuple[float, float]] = []

    def judge(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        self.judged.append((float(before), float(after)))
        return torch.tensor(data=False)


def _refused_step(knobs: dict[str, Any]) -> tuple[TakenStep, float, bool]:
    """A step in the window whose update is refused: what was done, how the probability of the sample's rate moved, weights kept."""
    state = _state(knobs)
    state.guards.update = _Refusing()
    policy = state.algorithm.policy
    policy.advantage(-1.0)  # any accuracy is better than this baseline
    before, uniform = _weights(state), policy.probabilities()["learning_rate"]
    done = take_step(state, _in_window(state))
    rate = next(d for d in state.search_task.space.decisions if d.name == "learning_rate")
    index = rate.choices.index(state.search_task.space.as_mapping(done.sample)["learning_rate"])
    is_kept = all(torch.equal(tensor, before[name]) for name, tensor in _weights(state).items())
    return done, policy.probabilities()["learning_rate"][index] - uniform[index], is_kept


@pytest.mark.parametrize("batch", ["Shared", "Own"])
def test_a_rejected_update_is_blamed_on_the_sample_that_made_it(batch: str) -> None:
    """Sampled: the lowest advantage in place of a reward, and the sample's rate loses probability; the weights are what they were."""
    done, gain, is_kept = _refused_step({"strategy": "OneStep", "sharedUpdate": "Sampled", "temporaryBatch": batch})

    assert (done.is_rejected, done.lesson.advantage, done.lesson.reward, done.lesson.has_learned) == (True, -3, None, True)
    assert done.update.num_reward_forwards == 1  # queued before the device has judged
    assert gain < 0
    assert is_kept


@pytest.mark.parametrize("batch", ["Shared", "Own"])
def test_a_rejected_update_of_the_reference_is_not_blamed_on_the_sample(batch: str) -> None:
    """Reference: the sample learns from its own temporary weights, here better than the baseline, and gains probability."""
    done, gain, is_kept = _refused_step({"strategy": "OneStep", "temporaryBatch": batch})

    assert done.is_rejected
    assert done.lesson.reward is not None
    assert done.lesson.advantage == min(done.lesson.reward + 1, 3)
    assert gain > 0
    assert is_kept


@pytest.mark.parametrize(
    "model", [None, "custom_code_fixtures:Focal", "custom_code_fixtures:Plain"], ids=["smoothing", "custom loss", "dropout of its own"]
)
def test_the_guard_compares_one_loss_with_itself(model: str | None) -> None:
    """An update at rate 0 changes nothing, so before and after are equal: same smoothing, custom loss, training mode and draws."""
    document = with_change(small_search({"autoHAS": {"strategy": "OneStep"}}, steps=270), "spec.searchSpace.hyperparameters", [RATES])
    if model is None:
        document = with_change(document, "spec.task.recipe.labelSmoothing", "0.3")
    else:
        document = with_change(with_change(document, "spec.task.model", {"entrypoint": model}), "spec.searchSpace.architecture")
        document = with_change(document, "spec.task.data", {"entrypoint": "custom_code_fixtures:Data"})
    parsed, space = accept(document)
    state = SearchState(SearchTask.load(parsed.spec, space, torch.device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())
    guard = state.guards.update = _Refusing()
    still = SupernetStepContext(state, 0)  # the schedule's warm-up starts at a rate near 0
    still.learning_rate = lambda configuration: 0.0  # type: ignore[method-assign]
    still.try_commit(space.default, still.gradient(space.default, still.train_batch()), space.default)

    ((before, after),) = guard.judged
    assert before == pytest.approx(after, abs=1e-6)


def test_paired_moves_rates_once_by_k_samples_of_one_gradient() -> None:
    """K rewards for the update rule; in the warm-up the architecture's rows stay where they are."""
    state = _state({"strategy": "Paired", "pairedSamples": 5})
    before = state.algorithm.policy.probabilities()
    done = take_step(state, _in_window(state))
    after = state.algorithm.policy.probabilities()

    assert (done.update.num_gradients, done.update.num_reward_forwards, done.update.num_train_forwards) == (1, 5, 1)
    assert after["learning_rate"] != before["learning_rate"]
    assert {n: p for n, p in after.items() if n != "learning_rate"} == {n: p for n, p in before.items() if n != "learning_rate"}


def test_a_collapsed_controller_hands_over_to_the_race(tmp_path: Path) -> None:
    """Shared weights that learn nothing under a controller that decides anyway: a notice, then the race, and a result."""
    knobs = {"strategy": "OneStep", "policyLearningRate": "5", "warmupFraction": "0"}
    document = with_change(small_search({"seed": 2, "autoHAS": knobs}, steps=180), "spec.task.recipe.learningRate", "1e-9")
    document = with_change(document, "spec.searchSpace.hyperparameters", [])
    sink = MemorySink()

    outcome = search(document, tmp_path, sink)

    assert [notice.reason for notice in sink.other_notices] == ["PolicyCollapsed"]
    assert sink.info is not None
    supernet = [record for record in sink.steps if record.stage is Stage.SUPERNET]
    assert 40 <= len(supernet) < sink.info.plan.supernet_steps
    assert outcome.winner in {record.name for record in sink.candidates if record.stage is Stage.RACE and record.fraction == 1}
    assert outcome.result.default_test_score is not None


def _space() -> Space:
    return accept(small_search())[1]


def _trials(document: dict[str, Any], numbers: Iterable[int], seed: int = 0) -> list[Configuration | None]:
    """What RandomSearch proposes in a process of its own, whose first question is for the first of `numbers`."""
    parsed, space = accept(document)
    algorithm = build_algorithm(parsed.spec, space)
    assert isinstance(algorithm, TrialAlgorithm)
    return [algorithm.propose(number, seed, [], set()) for number in numbers]


def test_random_search_tries_the_default_first_and_nothing_twice() -> None:
    """Trials are distinct, the same in every process and whatever was asked before, and another seed draws others."""
    document = small_search({"name": "RandomSearch"})
    trials = _trials(document, range(12), 7)

    assert trials[0] == accept(document)[1].default
    assert None not in trials
    assert len(set(trials)) == 12
    assert trials == _trials(document, reversed(range(12)), 7)[::-1]
    assert trials != _trials(document, range(12), 8)


def test_the_initial_points_of_random_search_shift_its_draws() -> None:
    """The default and a given point come first; what Optuna draws follows in the same order, without either."""
    document = small_search({"name": "RandomSearch"})
    given = {"learning_rate": "0.25", "depth": "1"}
    plain = _trials(document, range(5))
    shifted = _trials(with_change(document, "spec.searchSpace.initialPoints", [{"values": given}]), range(6))
    space = accept(document)[1]

    assert shifted[1] == space.configuration({**space.as_mapping(space.default), **given})
    assert [shifted[0], *shifted[2:]] == plain


def test_random_search_draws_once_for_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty trials are thirty-nine draws of a range, however often they are asked for, and one more after a resume is forty."""
    drawn = _count_draws(monkeypatch)
    document = with_change(small_search({"name": "RandomSearch"}), "spec.searchSpace", {"hyperparameters": [RATES]})
    _trials(document, [*range(40), *range(40)])
    assert len(drawn) == 39
    drawn.clear()
    _trials(document, [40])
    assert len(drawn) == 40


@pytest.mark.parametrize(
    ("scale", "low", "high", "mean", "square"),
    [
        ("Log", 1e-3, 1.0, 0.999 / math.log(1e3), (1 - 1e-6) / 2 / math.log(1e3)),
        ("Linear", 0.2, 0.8, 0.5, 0.5**2 + 0.6**2 / 12),
    ],
)
def test_random_search_draws_from_the_range_itself(scale: str, low: float, high: float, mean: float, square: float) -> None:
    """The mean of 20,000 rates is that of the log-uniform, (b - a) / ln(b / a), or uniform distribution within four standard errors."""
    rate = {"name": "learning_rate", "continuous": {"min": str(low), "max": str(high), "scale": scale, "numBases": 2}}
    _, space = accept(with_change(small_search({"name": "RandomSearch"}), "spec.searchSpace", {"hyperparameters": [rate]}))
    sampler = random_search._OptunaSampler(Space(decisions=space.decisions[:1]), 5)
    values = np.array([float(sampler.draw().values[0]) for _ in range(20_000)])

    assert abs(values.mean() - mean) < 4 * math.sqrt((square - mean**2) / 20_000)
    assert low <= values.min() < low * 1.01
    assert high * 0.99 < values.max() <= high


def test_random_search_obeys_steps_choices_and_conditions() -> None:
    """Whole numbers come from their steps, choices from the choices, and a range only under its condition; all are allowed."""
    document = with_change(small_search({"name": "RandomSearch"}), "spec.searchSpace.hyperparameters", MIXED)
    _, space = accept(document)
    drawn = [space.as_mapping(trial) for trial in _trials(document, range(1, 60), 1) if trial is not None]
    default, momentum = space.as_mapping(space.default), next(d for d in space.decisions if d.name == "momentum")

    assert {values["batch_size"] for values in drawn} == {"32", "64", "128"}
    assert {values["optimizer"] for values in drawn} == {"sgd", "adam", "rmsprop"}
    assert {v["momentum"] for v in drawn if v["optimizer"] == "rmsprop"} == {default["momentum"]}
    assert len({v["momentum"] for v in drawn if v["optimizer"] != "rmsprop"}) > len(momentum.choices)
    assert all(d.allows(values[d.name]) for values in drawn for d in space.decisions)


def _count_draws(monkeypatch: pytest.MonkeyPatch) -> list[Configuration]:
    """Every configuration that Optuna draws from now on."""
    drawn: list[Configuration] = []
    original = random_search._OptunaSampler.draw

    def draw(sampler: random_search._OptunaSampler) -> Configuration:
        drawn.append(original(sampler))
        return drawn[-1]

    monkeypatch.setattr(random_search._OptunaSampler, "draw", draw)
    return drawn


def test_random_search_gives_up_where_what_is_left_is_too_unlikely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna draws the default of two configurations again and again: after 1,000 draws the search has ended."""
    document = _random_search_over_two()
    default, drawn = accept(document)[1].default, list[Configuration]()

    def draw(_: random_search._OptunaSampler) -> Configuration:
        drawn.append(default)
        return default

    monkeypatch.setattr(random_search._OptunaSampler, "draw", draw)
    assert _trials(document, [1, 2]) == [None, None]
    assert len(drawn) == 1000


def _random_search_over_two() -> dict[str, Any]:
    """RandomSearch in a space of two configurations: two widths, everything else pinned."""
    document = with_change(small_search({"name": "RandomSearch"}), "spec.searchSpace.hyperparameters", [])
    pinned = [
        {"name": "depth", "choices": ["1"]},
        {"name": "activation", "choices": ["relu"]},
        {"name": "width_1", "choices": ["16", "32"]},
    ]
    return with_change(document, "spec.searchSpace.architecture.decisions", pinned)


def test_random_search_ends_when_the_space_does() -> None:
    """Two widths and one depth leave two configurations, however many trials are paid for."""
    trials = _trials(_random_search_over_two(), range(9))

    assert len(set(trials[:2]) - {None}) == 2
    assert trials[2:] == [None] * 7


def test_random_search_does_not_draw_on_when_the_space_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A space of two configurations and a budget of 900 trials: drawing ends with the second one that is different."""
    drawn = _count_draws(monkeypatch)

    trials = _trials(_random_search_over_two(), range(900))
    assert len([trial for trial in trials if trial is not None]) == accept(_random_search_over_two())[1].size() == 2
    assert len(set(drawn)) == 2
    assert len(set(drawn[:-1])) == 1


def test_random_search_pays_for_each_trial_by_its_work(tmp_path: Path) -> None:
    """A budget of 6 pays for the first five trials, 5.26 with their comparisons; of the draws after them trial 10 is the first below 0.74.

    Each is trained to the end.
    """
    sink = MemorySink()
    document = with_change(small_search({"name": "RandomSearch"}), "spec.budget.trainings", "6")
    outcome = search(document, tmp_path, sink)
    parsed, space = accept(document)
    search_task = SearchTask.load(parsed.spec, space, torch.device("cpu"))
    trained = [space.configuration(record.values) for record in sink.candidates]
    prices = [search_task.work(trial) + search_task.comparison_work(trial, 2) for trial in trained]  # compared at the end alone

    assert [record.candidate for record in sink.steps[::27]] == ["default", "trial 1", "trial 2", "trial 3", "trial 4", "trial 10"]
    assert [record.fraction for record in sink.candidates] == [1.0] * 6
    assert sum(prices[:5]) == pytest.approx(5.26034, abs=1e-5)
    assert prices[5] == pytest.approx(0.72315, abs=1e-5)
    assert outcome.result.trainings == pytest.approx(sum(prices), abs=1e-5)


def test_random_search_passes_over_as_many_draws_as_its_planned_trials_have(tmp_path: Path) -> None:
    """Two trials are planned: of draws 1 to 9 each has a batch that makes it too dear for 1.5 trainings, and trial 10 is the second."""
    batch = {"name": "batch_size", "integer": {"min": 2, "max": 64, "step": 2, "scale": "Linear"}}
    document = with_change(small_search({"name": "RandomSearch", "seed": 7}), "spec.searchSpace", {"hyperparameters": [batch]})
    document, sink = with_change(document, "spec.budget.trainings", "2.5"), MemorySink()
    search(document, tmp_path, sink)
    parsed, space = accept(document)
    search_task = SearchTask.load(parsed.spec, space, torch.device("cpu"))
    drawn = [trial for trial in _trials(document, range(11), 7) if trial is not None]
    prices = [search_task.work(trial) + search_task.comparison_work(trial, 2) for trial in drawn]

    assert sink.info is not None
    assert sink.info.plan.num_trials == 2
    assert [number for number in range(1, 11) if prices[number] <= 2.5 - prices[0]] == [10]
    assert [record.name for record in sink.candidates] == ["default", "trial 10"]

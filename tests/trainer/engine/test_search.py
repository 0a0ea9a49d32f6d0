"""What a search does, stage by stage, on a small real problem."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import device, get_num_threads

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage, decode_termination_message, encode_termination_message
from autohas_api.wire.result import configuration_of
from autohas_trainer.engine.accounting.spending import TOLERANCE
from autohas_trainer.engine.search import Job, run
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.supernet_share import SupernetShare, limit_of_samples, price_of_whole
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import ConfigurationError, NumericalError
from autohas_trainer.events import Identity
from engine_fixtures import ALGORITHM_ROWS, LANES, STAGES, MemorySink, Stop, case, search, small_search

RATE = "spec.searchSpace.hyperparameters[0].continuous"


def _run(tmp_path: Path, algorithm: str) -> MemorySink:
    sink = MemorySink()
    search(case(algorithm), tmp_path, sink)
    return sink


def _plan_supernet(document: dict[str, Any]) -> tuple[SearchTask, StagePlan]:
    """The steps that the share of a supernet with which the search begins pays for at the work of its paths."""
    parsed, space = accept(document)
    search_task = SearchTask.load(parsed.spec, space, device("cpu"))
    share = SupernetShare(search_task)
    share.fix(search_task.plan.search_trainings, space.default, 0, None)
    return search_task, share.plan(space.default)


@pytest.mark.parametrize("algorithm", ALGORITHM_ROWS)
def test_stages_follow_each_other_and_stay_within_the_plan(algorithm: str, tmp_path: Path) -> None:
    """Stages come in the algorithm's order, and steps never exceed the plan."""
    sink = _run(tmp_path, algorithm)

    assert list(dict.fromkeys(record.stage for record in sink.steps)) == STAGES[algorithm]
    assert all(one.step <= other.step for one, other in zip(sink.steps, sink.steps[1:], strict=False))
    assert algorithm in ("Mixed lanes", "Mixed one-factor") or len({record.step for record in sink.steps}) == len(
        sink.steps
    )  # half batches: half steps
    assert sink.steps[-1].step <= sink.steps[-1].steps


@pytest.mark.parametrize("batch_size", [8, 64, 256])
@pytest.mark.parametrize("algorithm", ["Lanes", "OneStep", "Paired", "RandomSharing"])
def test_a_search_costs_what_its_plan_says(algorithm: str, batch_size: int, tmp_path: Path) -> None:
    """The cost stays within the budget, up to the 2 % by which planned candidates may exceed it, whatever a reward batch costs."""
    document = with_change(with_change(case(algorithm), "spec.task.recipe.batchSize", batch_size), "spec.training.steps", 45)
    sink = MemorySink()
    outcome = search(with_change(document, "spec.budget.trainings", "5"), tmp_path, sink)

    assert sink.info is not None
    assert outcome.result.trainings <= 5 * (1 + TOLERANCE)
    assert sink.info.plan.predicted_trainings <= 5 + 1e-9


def test_the_ten_best_samples_are_scored_again_on_the_whole_reward_split(tmp_path: Path) -> None:
    """Fifteen on four batches each, the ten best in their order on every reward example; the best of these is trained; all is paid for."""
    document = small_search({"name": "RandomSharing", "randomSharing": {"numSamples": 15}})
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)
    parsed, space = accept(document)
    search_task = SearchTask.load(parsed.spec, space, device("cpu"))
    scored = [(record.candidate, record.reward or -math.inf) for record in sink.steps if record.stage is Stage.RACE]
    first, again, examples = scored[:15], scored[15:], search_task.splits.num_reward
    samples = {record.candidate: space.configuration(dict(record.sample or {})) for record in sink.steps if record.stage is Stage.RACE}
    works, num_first = search_task.works, 4 * search_task.reward_batch_size
    counts = [(name, num_first) for name, _ in first] + [(name, examples) for name, _ in again]
    cost = sum(works.gradient(samples[name], 64) + works.forward(samples[name], number) for name, number in counts)
    limit = limit_of_samples(search_task)
    affordable = [pair for pair in first if price_of_whole(search_task, samples[pair[0]]) <= limit]

    assert 10 < len(affordable) < 15
    assert [name for name, _ in again] == [name for name, _ in sorted(affordable, key=lambda pair: -pair[1])[:10]]
    assert outcome.winner == max(again, key=lambda pair: pair[1])[0]
    assert all(examples * accuracy == pytest.approx(round(examples * accuracy), abs=1e-3) for _, accuracy in again)
    assert len({round(examples * accuracy, 2) % 1 for _, accuracy in first}) > 1  # four batches that overlap are no whole split
    assert sink.info is not None
    assert outcome.cost_by_stage[Stage.RACE] == pytest.approx(cost)
    per_example = 0.35 / 64
    steps = 15 * (1 + num_first * per_example) + 10 * (1 + examples * per_example)
    assert sink.info.plan.scoring_trainings == pytest.approx(steps / 27)
    assert outcome.result.trainings <= 6 * 1.02
    assert sink.steps[-1].step == sink.steps[-1].steps


@pytest.mark.parametrize("algorithm", ["OneStep", "Sampled", "Paired"])
def test_hyperparameters_alone_end_the_supernet_with_their_window(algorithm: str, tmp_path: Path) -> None:
    """No warm-up; what is booked is gradients, rewards and looks of the steps that are taken, at the rates of the long schedule."""
    document = with_change(with_change(case(algorithm), "spec.searchSpace.architecture"), "spec.budget.trainings", "5")
    if algorithm == "OneStep":
        document = with_change(document, f"{RATE}.mixing", "OneHot")
    sink = MemorySink()
    outcome = search(document, tmp_path, sink)
    assert sink.info is not None
    search_task, plan = _plan_supernet(document)
    step = 27 * search_task.works.gradient(search_task.space.default, 64)
    supernet = [record for record in sink.steps if record.stage is Stage.SUPERNET]
    window = plan.supernet_steps - math.ceil(0.05 * plan.schedule_steps)
    per_step_in_window = {"OneStep": 2 * 0.35, "Sampled": step + 2 * 0.35, "Paired": 4 * 0.35}[algorithm]

    assert (plan.warmup_steps, plan.supernet_steps) == (0, math.ceil(0.2 * plan.schedule_steps))
    assert len(supernet) == plan.supernet_steps
    assert outcome.cost_by_stage[Stage.SUPERNET] == pytest.approx((plan.supernet_steps * step + per_step_in_window * window) / 27)
    assert outcome.result.trainings <= 5 + 2 / 27
    assert 5 - 0.05 <= sink.info.plan.predicted_trainings <= 5 + 1e-9
    rates = [(record.sample["learning_rate"], record.learning_rate) for record in supernet[-3:] if record.sample is not None]
    if algorithm == "OneStep":  # the shared weights move at the derived rate: without mixing the default's or a basis
        rate = sink.info.space.decisions[0]
        rates = [(min((rate.default, *rate.choices), key=lambda peak: abs(used / float(peak) - 0.905)), used) for _, used in rates]
    assert all(0.85 < used / float(peak) < 1 for peak, used in rates)  # a cosine after a fifth: (1 + cos 36°) / 2 = 0.905


@pytest.mark.parametrize("has_architecture", [True, False], ids=["both", "hyperparameters only"])
@pytest.mark.parametrize("algorithm", ["OneStep", "Paired"])
def test_every_update_of_the_policy_is_reported(algorithm: str, tmp_path: Path, *, has_architecture: bool) -> None:
    """In the window from 5 to 20 % of the supernet, rewarded or compared, and with an architecture after the warm-up too."""
    document = with_change(case(algorithm), "spec.training.steps", 54)
    document = document if has_architecture else with_change(document, "spec.searchSpace.architecture")
    sink = MemorySink()
    search(document, tmp_path, sink)
    _, plan = _plan_supernet(document)
    total, warmup = plan.schedule_steps, plan.warmup_steps
    window = range(math.ceil(0.05 * total), math.ceil(0.2 * total))
    learning = sorted({*window, *(range(warmup, total) if has_architecture else ())})

    assert len(window) > 2
    assert plan.supernet_steps == (total if has_architecture else window.stop)
    assert [record.step for record in sink.policies] == [step + 1 for step in learning]


def test_a_budget_that_does_not_pay_for_the_comparisons_is_refused_before_any_step(tmp_path: Path) -> None:
    """Enough without data, too little for this selection split: the message gives the least budget, and that one is accepted."""
    document = with_change(with_change(small_search(), "spec.task.recipe.batchSize", 8), "spec.budget.trainings", "4")
    sink = MemorySink()
    with pytest.raises(ConfigurationError, match=r"spec\.budget\.trainings: 4 must be at least [0-9.]+ for this data: ") as caught:
        search(document, tmp_path / "a", sink)
    least = re.search(r"at least ([0-9.]+)", str(caught.value))
    assert least is not None
    parsed, space = accept(with_change(document, "spec.budget.trainings", str(float(least[1]) + 0.01)))

    assert sink.steps == []
    assert str(caught.value).endswith("; raise budget.trainings or training.steps, or lower task.splits.selection")
    assert 4 < float(least[1]) < 20
    assert SearchTask.load(parsed.spec, space, device("cpu")).plan.predicted_trainings <= float(least[1]) + 0.01


def test_the_result_reads_back_on_the_operators_side(tmp_path: Path) -> None:
    """Choice indices mean the configuration that was trained, and the termination message fits its limit."""
    sink = _run(tmp_path, "Lanes")
    assert sink.outcome is not None
    _, space = accept(small_search())

    word = decode_termination_message(encode_termination_message(sink.outcome.result))

    assert word.kind == "Result"
    assert space.as_mapping(configuration_of(word, space)) == sink.outcome.configuration


@pytest.mark.parametrize("algorithm", ["Lanes", "RandomSharing"])
def test_the_winner_is_finished_not_repeated(algorithm: str, tmp_path: Path) -> None:
    """The model on disk is bit for bit that of a training of the winner from scratch."""
    sink = _run(tmp_path, algorithm)
    assert sink.outcome is not None
    parsed, space = accept(case(algorithm))
    search_task = SearchTask.load(parsed.spec, space, device("cpu"))
    training = Training(search_task, space.configuration(sink.outcome.configuration))
    while not training.is_finished:
        training.step()

    saved = load_file(tmp_path / "model.safetensors")

    assert saved.keys() == training.model_tensors().keys()
    assert all(saved[name].equal(tensor) for name, tensor in training.model_tensors().items())


def test_the_default_is_a_candidate_everywhere(tmp_path: Path) -> None:
    """Lane 0, every rung of the race and the result hold the default configuration."""
    sink = _run(tmp_path, "Lanes")
    default = [record for record in sink.candidates if record.name == "default"]

    assert [(r.stage, round(r.fraction, 2)) for r in default] == [
        (Stage.LANES, 0.11),
        (Stage.RACE, 0.11),
        (Stage.RACE, 0.33),
        (Stage.RACE, 1.0),
    ]
    assert sink.outcome is not None
    assert sink.outcome.result.default_test_score is not None


def test_the_winner_beats_the_default_on_selection_or_is_it(tmp_path: Path) -> None:
    """No other configuration is returned without a higher selection score than the default's."""
    for algorithm in ("Lanes", "OneStep"):
        outcome = _run(tmp_path / algorithm, algorithm).outcome
        assert outcome is not None
        assert outcome.result.default_selection_score is not None
        assert outcome.winner == "default" or outcome.result.selection_score > outcome.result.default_selection_score


def test_another_seed_is_another_search(tmp_path: Path) -> None:
    """The seed keys every draw."""
    outcomes = []
    for seed in (0, 1):
        document = with_change(small_search(), "spec.algorithm", {"seed": seed, **LANES})
        outcomes.append(search(document, tmp_path / str(seed), MemorySink()).result.digest)

    assert outcomes[0] != outcomes[1]


def test_a_diverging_lane_loses_and_a_diverging_default_is_an_error(tmp_path: Path) -> None:
    """Rates of 1e12 ruin a lane, which is ranked last; only when the default itself diverges the search ends in an error."""
    wild = {"name": "learning_rate", "continuous": {"min": "0.1", "max": "1e12", "numBases": 2}}
    sink = MemorySink()
    search(with_change(small_search(), "spec.searchSpace.hyperparameters", [wild]), tmp_path / "lane", sink)
    lost = [record for record in sink.candidates if record.score is None]

    assert lost
    assert all(record.values["learning_rate"] == "1e+12" and not record.kept for record in lost)

    document = with_change(small_search(), "spec.task.recipe.learningRate", "1e12")
    with pytest.raises(NumericalError, match=r"default configuration diverged at step .*lower task.recipe.learningRate"):
        search(document, tmp_path / "default", MemorySink())


def test_cost_target_changes_the_objective(tmp_path: Path) -> None:
    """With a target of 5,000 parameters every score is accuracy minus 0.1 times the relative distance."""
    document = with_change(small_search(), "spec.objective", {"cost": {"target": "5000", "weight": "-0.1"}})
    sink = MemorySink()
    search(document, tmp_path, sink)
    parsed, space = accept(document)
    search_task = SearchTask.load(parsed.spec, space, device("cpu"))

    for record in sink.candidates:
        size = search_task.num_parameters(space.configuration(record.values))
        assert record.metric is not None
        assert record.score == pytest.approx(record.metric - 0.1 * abs(size / 5000 - 1))


def test_hyperparameters_alone_and_architecture_alone(tmp_path: Path) -> None:
    """Either half of the space may be absent: the other half is searched and the result names only it as changed."""
    hyperparameters = with_change(small_search(), "spec.searchSpace.architecture")
    outcome = search(hyperparameters, tmp_path / "hyperparameters", MemorySink())
    default = outcome.default
    assert all(outcome.configuration[name] == default[name] for name in default if name not in ("learning_rate", "weight_decay"))

    outcome = search(small_search(hyperparameters=False), tmp_path / "architecture", MemorySink())
    assert "learning_rate" not in outcome.configuration


def test_the_policy_moves_only_after_the_warm_up(tmp_path: Path) -> None:
    """Warm-up steps have no reward; afterwards every step has one and the entropy falls below 1."""
    sink = _run(tmp_path, "Lanes")

    assert all(record.reward is None for record in sink.steps if record.stage == Stage.WARMUP)
    assert all(record.reward is not None for record in sink.steps if record.stage == Stage.SUPERNET)
    assert sink.policies[-1].normalized_entropy < 1
    assert all(math.isclose(sum(p), 1) for p in sink.policies[-1].probabilities.values())


def test_the_run_tells_the_threads_that_it_uses(tmp_path: Path) -> None:
    """Of 2 that it may have it takes 1 for batches as small as these, and says 1."""
    parsed, space = accept(small_search())
    identity = Identity(search_uid="uid", pod_uid="pod", attempt=1)
    job = Job(search=parsed, space=space, workdir=tmp_path, identity=identity, threads=2, device="cpu")
    sink = MemorySink()
    run(job, sink, Stop())

    assert sink.info is not None
    assert (sink.info.threads, get_num_threads()) == (1, 1)

"""AutoHAS as published: both kinds of decisions learn over the whole supernet, and what is derived is trained once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from autohas_api.accept.acceptance import accept
from autohas_api.accept.plan_check import plan_lines, stage_trainings
from autohas_api.budget.steps_per_stage import minimum_trainings, plan_stages
from autohas_api.space.decisions import Role
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training import training as training_module
from autohas_trainer.engine.training.guard import UpdateGuard
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.errors import NumericalError
from engine_fixtures import MemorySink, TickingClock, search, small_search
from supernet_steps import take_step

PUBLISHED: dict[str, Any] = {"autoHAS": {"strategy": "OneStep", "preset": "Published"}}
DECAY = {"name": "weight_decay", "continuous": {"min": "1e-5", "max": "1e-2", "scale": "Log", "numBases": 4}}


def _state(algorithm: dict[str, Any]) -> SearchState:
    parsed, space = accept(small_search(algorithm, steps=270))
    return SearchState(SearchTask.load(parsed.spec, space, torch.device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())


class _Refusing(UpdateGuard):
    """Calls every update harmful."""

    def judge(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        return torch.tensor(data=False)


@pytest.mark.parametrize("number", [1, 100])
def test_a_step_samples_and_learns_everything_and_keeps_the_samples_update(number: int) -> None:
    """At any step: two gradients and a reward, all rows move, and the weights are those of a commit under the sample, whatever it does."""
    state, twin = _state(PUBLISHED), _state(PUBLISHED)
    state.guards.update = _Refusing(torch.device("cpu"))
    policy, space = state.algorithm.policy, state.search_task.space
    policy.advantage(-1.0)  # any accuracy is better than this baseline
    before = policy.probabilities()
    done = take_step(state, number)
    context = SupernetStepContext(twin, number)
    context.commit(done.sample, context.gradient(done.sample, context.train_batch()), done.sample)
    active = [d.name for d in space.searched_decisions() if space.is_active(d, space.as_mapping(done.sample))]

    assert (done.update.num_gradients, done.update.num_reward_forwards, done.update.num_train_forwards) == (2, 1, 0)
    assert not done.is_rejected
    assert {name for name, p in policy.probabilities().items() if p != before[name]} == set(active)
    assert all(torch.equal(tensor, twin.supernet.state_dict()[name]) for name, tensor in state.supernet.state_dict().items())


@pytest.mark.parametrize("strategy", ["OneStep", "Paired"])
def test_a_window_says_when_hyperparameters_are_sampled(strategy: str) -> None:
    """From half to three quarters of the steps they learn; before and after it a sample has the derived ones, and the guard is idle."""
    knobs = {"strategy": strategy, "hyperparameterWindow": {"from": "0.5", "to": "0.75"}, "warmupFraction": "0"}
    state = _state({"autoHAS": knobs})
    total = SupernetStepContext(state, 0).num_steps
    looks = {
        number: take_step(state, number).update.num_train_forwards
        for number in (0, math.ceil(total / 2) - 1, math.ceil(total / 2), math.ceil(total * 0.75) - 1, math.ceil(total * 0.75), total - 1)
    }

    assert list(looks.values()) == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("algorithm", [PUBLISHED, {"autoHAS": {"strategy": "OneStep", "result": "Argmax"}}], ids=["Published", "Argmax"])
def test_only_what_is_derived_is_trained(algorithm: dict[str, Any], tmp_path: Path) -> None:
    """One training of the policy's derived configuration; no candidate is compared, the default has no score, the budget is kept."""
    sink = MemorySink()
    outcome = search(small_search(algorithm), tmp_path, sink)
    trained = {record.candidate for record in sink.steps if record.stage is Stage.EVALUATE}

    assert trained == {outcome.winner}
    assert outcome.winner in {"argmax", "expectation"}
    assert sum(record.stage is Stage.EVALUATE for record in sink.steps) == 27
    assert {record.stage for record in sink.steps} <= {Stage.WARMUP, Stage.SUPERNET, Stage.EVALUATE}
    assert (outcome.candidates, outcome.result.default_test_score) == ((), None)
    assert outcome.result.selection_score > 0


def test_an_untaught_controller_derives_the_default_which_is_then_its_own_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was learned the default is trained under its own name, and its score is the result's."""
    monkeypatch.setattr("autohas_trainer.space.policy.Policy.advantage", lambda policy, reward: 0.0)
    outcome = search(small_search(PUBLISHED), tmp_path, MemorySink())

    assert outcome.winner == "default"
    assert outcome.result.default_test_score == outcome.result.test_score


def _diverge(monkeypatch: pytest.MonkeyPatch, *, default_too: bool) -> None:
    """Let trainings lose all sense at step 20."""
    original = Training.step

    def stepped(self: Training) -> float | None:
        if self.num_steps_done == 20 and (default_too or self.configuration != self._search_task.space.default):
            self.is_diverged = True
            return math.nan
        return original(self)

    monkeypatch.setattr(training_module.Training, "step", stepped)


def test_a_derived_configuration_that_diverges_is_replaced_by_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is trained instead, once, and a notice says so; if it diverges too, the search fails."""
    _diverge(monkeypatch, default_too=False)
    sink = MemorySink()
    outcome = search(small_search(PUBLISHED), tmp_path / "one", sink)

    assert outcome.winner == "default"
    assert [notice.reason for notice in sink.other_notices] == ["PublishedForm", "WinnerDiverged"]
    _diverge(monkeypatch, default_too=True)
    with pytest.raises(NumericalError, match="the default configuration diverged at step 20"):
        search(small_search(PUBLISHED), tmp_path / "two", MemorySink())


@pytest.mark.parametrize("strategy", ["OneStep", "Paired"])
def test_weight_decay_is_searched_with_one_notice(strategy: str, tmp_path: Path) -> None:
    """It is sampled and learned as an update rule, and one notice says how little a step sees of it; validation warns as well."""
    document = with_change(small_search({"autoHAS": {"strategy": strategy}}), "spec.searchSpace.hyperparameters", [DECAY])
    sink = MemorySink()
    search(document, tmp_path, sink)
    parsed, space = accept(document)

    assert [d.name for d in space.searched_decisions(Role.UPDATE_RULE)] == ["weight_decay"]
    assert [notice.reason for notice in sink.other_notices].count("WeakReward") == 1
    assert sum("hardly sees weight_decay" in line for line in plan_lines(parsed.spec, space)) == 1
    assert any(p.probabilities["weight_decay"] != sink.policies[0].probabilities["weight_decay"] for p in sink.policies)


def test_the_plan_is_a_supernet_and_one_training() -> None:
    """Of four trainings one is for the derived configuration and the rest for the supernet, without a warm-up; two are the least."""
    parsed, space = accept(small_search(PUBLISHED, steps=270))
    plan = plan_stages(parsed.spec, space)
    shares = stage_trainings(plan)

    assert shares.keys() == {Stage.SUPERNET, Stage.EVALUATE}
    assert shares[Stage.EVALUATE] == 1
    assert 2.9 < shares[Stage.SUPERNET] <= 3
    assert (plan.warmup_steps, plan.race_steps, plan.evaluate_steps) == (0, 0, 270)
    assert minimum_trainings(parsed.spec, space) == 2
    assert plan.supernet_steps * 2.35 == pytest.approx(shares[Stage.SUPERNET] * 270)

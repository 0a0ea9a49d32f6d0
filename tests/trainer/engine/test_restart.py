"""A supernet that diverges is restarted from its last finite state at a third of the rate, twice, before it is left to the race."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from autohas_api.space.decisions import Configuration
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms._base import Gradient
from autohas_trainer.data import TrainBatch
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.supernet import SupernetStage
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training.safety_copy import SafetyCopy
from autohas_trainer.events import StepRecord
from engine_fixtures import Killed, MemorySink, search, small_search

SUPERNET = (Stage.WARMUP, Stage.SUPERNET)


def _document(algorithm: dict[str, Any] | None = None) -> dict[str, Any]:
    """A supernet of some forty steps, so that copies are a step or two apart."""
    return with_change(small_search(algorithm, steps=72), "spec.checkpoint.periodSeconds", 25)


def _diverge(monkeypatch: pytest.MonkeyPatch, steps: Callable[[int], bool]) -> None:
    """Let the supernet's loss be no number at these of its steps, warm-up included, in every process."""
    original = SupernetStepContext.gradient

    def gradient(self: SupernetStepContext, configuration: Configuration, batch: TrainBatch) -> Gradient:
        taken = original(self, configuration, batch)
        return Gradient(loss=torch.tensor(math.nan), tensors=taken.tensors) if steps(self.step) else taken

    monkeypatch.setattr(SupernetStepContext, "gradient", gradient)


def _supernet_steps(sink: MemorySink) -> list[StepRecord]:
    return [record for record in sink.steps if record.stage in SUPERNET]


def test_a_supernet_that_diverges_once_is_restarted_and_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every planned step is taken, later ones at a third of the rate; a notice says from where, at which rate and what is lost.

    The divergence of step 5 is read when the gradient of step 6 is queued, which is taken again: half of what a step of the warm-up,
    without a reward, costs with both.
    """
    plain, sink = MemorySink(), MemorySink()
    search(_document(), tmp_path / "plain", plain)
    _diverge(monkeypatch, lambda step: step == 5)
    outcome = search(_document(), tmp_path / "restarted", sink)
    expected, steps = _supernet_steps(plain), _supernet_steps(sink)

    assert len(steps) == len(expected) > 30
    assert [record.loss for record in steps[:5]] == [record.loss for record in expected[:5]]
    assert steps[5].loss is None
    assert all(record.loss is not None for record in steps[6:])
    rates = [record.learning_rate / before.learning_rate for record, before in zip(steps, expected, strict=True)]
    assert rates == pytest.approx([1.0] * 6 + [1 / 3] * (len(steps) - 6))
    assert {record.stage for record in steps[:8]} == {Stage.WARMUP}
    text = "the supernet's loss or gradient is not finite after 6 steps of Warmup: restart 1 of 2 continues at 1/3 of the rate"
    copied = 5 - 5 % (len(expected) // 20)
    text = f"{text} from its state after {copied} steps in all"
    lost = steps[5].cost - steps[copied - 1].cost + (steps[6].cost - steps[5].cost) / 2
    assert [(n.reason, n.message) for n in sink.other_notices] == [
        ("SupernetRestarted", f"{text}; {6 - copied} steps, {lost:.2f} trainings, are lost")
    ]
    assert steps[6].cost - steps[5].cost == pytest.approx(2 * (expected[6].cost - expected[5].cost))
    assert outcome.cost_by_stage[Stage.SUPERNET] > 0
    assert any(record.stage is Stage.RACE and record.name.startswith(("argmax", "sample")) for record in sink.candidates)


def test_a_divergence_in_the_last_step_promises_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read where the supernet ends: the race takes the last finite state, and nothing continues."""
    plain, sink = MemorySink(), MemorySink()
    search(_document(), tmp_path / "plain", plain)
    last = len(_supernet_steps(plain)) - 1
    _diverge(monkeypatch, lambda step: step == last)
    search(_document(), tmp_path / "diverged", sink)

    assert len(_supernet_steps(sink)) == last + 1
    (message,) = [notice.message for notice in sink.other_notices if notice.reason == NoticeReason.SUPERNET_RESTARTED]
    assert re.search(
        r"of Supernet: no step follows, and the race takes its state after \d+ steps in all; \d+ steps, \S+ trainings", message
    )


def test_a_supernet_that_diverges_three_times_is_left_to_the_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third divergence abandons it at a ninth of the rate; the notice says what is not spent and what the restarts lost."""
    _diverge(monkeypatch, lambda step: step in (5, 14, 22))
    sink = MemorySink()
    outcome = search(_document(), tmp_path, sink)
    notices = sink.other_notices

    assert [notice.reason for notice in notices] == ["SupernetRestarted", "SupernetRestarted", "SupernetDiverged"]
    assert len(_supernet_steps(sink)) == 23
    last = re.search(r"at 1/9 of the rate: it is abandoned, and (\S+) of its (\S+) trainings are not spent; (.*)", notices[-1].message)
    assert last is not None
    spent = outcome.cost_by_stage[Stage.WARMUP] + outcome.cost_by_stage.get(Stage.SUPERNET, 0.0)
    assert float(last[1]) == pytest.approx(float(last[2]) - spent, abs=0.011)
    lost = [re.search(r"steps, (\S+) trainings, are lost", notice.message) for notice in notices[:2]]
    total = re.fullmatch(r"its 2 restarts lost (\S+) trainings", last[3])
    assert total is not None
    assert float(total[1]) == pytest.approx(sum(float(match[1]) for match in lost if match is not None), abs=0.011)
    raced = {record.name for record in sink.candidates if record.stage is Stage.RACE}
    assert raced <= {"default", *(f"lane {n}" for n in range(99))}
    assert math.isfinite(outcome.result.test_score)


def test_a_loss_that_is_never_finite_costs_three_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state that the supernet begins with is the only one: two restarts from there, then the race."""
    _diverge(monkeypatch, lambda step: True)
    sink = MemorySink()
    outcome = search(_document(), tmp_path, sink)

    assert [record.loss for record in _supernet_steps(sink)] == [None] * 3
    assert [notice.reason for notice in sink.other_notices] == ["SupernetRestarted", "SupernetRestarted", "SupernetDiverged"]
    assert "from its state after 0 steps in all; 1 steps" in sink.other_notices[0].message
    assert math.isfinite(outcome.result.test_score)


ADAM: dict[str, Any] = {"autoHAS": {"strategy": "OneStep"}}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_restart_goes_back_to_tensors_policy_and_counts_bit_for_bit(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the divergence everything is as when the copy was taken, counts of Adam's updates included."""
    document = with_change(_document(ADAM), "spec.task.recipe", {"optimizer": optimizer})
    states: dict[int, dict[str, Any]] = {}
    restored: list[dict[str, Any]] = []
    keep, restart = SupernetStage._keep_copy, SupernetStage._restart

    def look(state: SearchState) -> dict[str, Any]:
        tensors = {name: tensor.clone() for name, tensor in state.supernet.state_dict().items()}
        return {"tensors": tensors, "algorithm": state.algorithm.state_dict(), "guards": state.guards.learned_state()}

    def keep_and_look(self: SupernetStage, step: int) -> None:
        states[step] = look(self._state)
        keep(self, step)

    def restart_and_look(self: SupernetStage) -> None:
        restart(self)
        restored.append(look(self._state))

    monkeypatch.setattr(SupernetStage, "_keep_copy", keep_and_look)
    monkeypatch.setattr(SupernetStage, "_restart", restart_and_look)
    _diverge(monkeypatch, lambda step: step == 31)
    sink = MemorySink()
    search(document, tmp_path, sink)
    place = re.search(r"from its state after (\d+) steps in all", sink.other_notices[0].message)
    assert place is not None
    (state,), copied = restored, states[int(place[1])]
    tensors, expected = state.pop("tensors"), copied.pop("tensors")

    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())
    assert state == copied
    assert any(name.startswith("counts/") for name in tensors) == (optimizer == "adam")


@pytest.mark.parametrize("algorithm", [None, ADAM, {"name": "RandomSharing", "randomSharing": {"numSamples": 5}}])
def test_a_kill_around_a_restart_changes_nothing(algorithm: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Diverged at steps 11 and 20; killed right after the first and right before the second: same bits, records and costs in the end."""
    _diverge(monkeypatch, lambda step: step in (11, 20))
    whole = MemorySink()
    expected = search(_document(algorithm), tmp_path / "whole", whole)
    assert [n.reason for n in whole.other_notices].count(NoticeReason.SUPERNET_RESTARTED) == 2
    for moment in (12, 19):
        killed_at = _supernet_steps(whole)[moment]

        def kill(record: StepRecord, killed_at: StepRecord = killed_at) -> None:
            if (record.stage, record.cost) == (killed_at.stage, killed_at.cost):
                raise Killed

        folder = tmp_path / str(moment)
        with pytest.raises(Killed):
            search(_document(algorithm), folder, MemorySink(on_step=kill))
        resumed = MemorySink()
        outcome = search(_document(algorithm), folder, resumed)

        assert outcome.result.digest == expected.result.digest
        assert outcome.result.model_digest == expected.result.model_digest
        assert outcome.cost_by_stage == expected.cost_by_stage
        assert resumed.steps == whole.steps[-len(resumed.steps) :]


def _weights(value: float) -> dict[str, Tensor]:
    return {"weights/w": torch.full((3,), value), "counts/w": torch.ones(1, dtype=torch.int64)}


@pytest.mark.parametrize(
    ("losses", "weight", "is_healthy"),
    [
        ([2.0, 1.0, 3.0], 1.0, True),
        ([2.0, 3.9, 1e9], 1.0, True),
        ([2.0, 4.1, 1e9], 1.0, False),
        ([], 1.0, True),
        ([2.0, 1.0], math.nan, False),
        ([2.0, 1.0], math.inf, False),
    ],
)
def test_a_state_is_healthy_while_it_is_finite_and_losses_stay(losses: list[float], weight: float, is_healthy: bool) -> None:  # noqa: FBT001
    """The first loss is 2 and that of a constant answer 2: a median of losses up to 4 is healthy."""
    safety = SafetyCopy(constant_loss=2.0)
    for loss in losses:
        safety.record(loss)

    assert safety.is_healthy(_weights(weight)) == is_healthy


def test_losses_are_compared_with_the_lowest_level_so_far() -> None:
    """Medians of 1, 2.9 and 3.1 with a constant answer's loss of 2: the last has risen by more than that since the lowest."""
    safety = SafetyCopy(constant_loss=2.0)
    verdicts = []
    for level in (1.0, 2.9, 3.1):
        for _ in range(3):
            safety.record(level)
        verdicts.append(safety.is_healthy(_weights(1.0)))

    assert verdicts == [True, True, False]


def test_a_copy_is_due_at_every_twentieth_of_the_schedule() -> None:
    """Of 400 steps each 20th, of 7 steps each, step 0 always."""
    safety = SafetyCopy(constant_loss=1.0)

    assert [step for step in range(400) if safety.is_due(step, 400)] == list(range(0, 400, 20))
    assert all(safety.is_due(step, 7) for step in range(7))


def test_a_copy_shares_no_memory_with_what_goes_on() -> None:
    """Later updates of weights and lists do not reach it; two restarts give it back, a third does not, nor does one without a copy."""
    safety, live, state = SafetyCopy(constant_loss=1.0), _weights(1.0), {"rows": [1]}
    assert safety.restart(0.5) is None
    safety.keep(live, state)
    live["weights/w"].fill_(7.0)
    state["rows"].append(2)
    first, second, third = (safety.restart(0.5) for _ in range(3))

    assert first is not None
    assert second is not None
    assert float(first[0]["weights/w"][0]) == 1.0
    assert (first[1], second[1], third) == ({"rows": [1]}, {"rows": [1]}, None)
    assert (safety.rate_factor, safety.trainings_lost) == (1 / 9, 1.0)


def test_a_copy_takes_the_memory_of_the_one_before() -> None:
    """Where shapes are equal; a tensor of another shape has memory of its own."""
    safety = SafetyCopy(constant_loss=1.0)
    safety.keep({"weights/w": torch.ones(3), "counts/w": torch.zeros(1)}, {"step": 0})
    addresses = {name: tensor.data_ptr() for name, tensor in safety.tensors().items()}
    grown = torch.arange(2.0)
    safety.keep({"weights/w": torch.full((3,), 2.0), "counts/w": grown}, {"step": 5})

    assert safety.tensors()["weights/w"].data_ptr() == addresses["weights/w"]
    assert safety.tensors()["counts/w"].data_ptr() != grown.data_ptr()
    assert {name: tensor.tolist() for name, tensor in safety.tensors().items()} == {"weights/w": [2.0] * 3, "counts/w": [0.0, 1.0]}

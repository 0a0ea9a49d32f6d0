"""A supernet step is read when the gradient of the next one is queued: nothing waits before, and a kill in between changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from autohas_api.accept.acceptance import accept
from autohas_api.base.digest import canonical
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.algorithms import SupernetAlgorithm
from autohas_trainer.algorithms._base import Gradient
from autohas_trainer.data import RewardBatch, TrainBatch
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages import build_stages
from autohas_trainer.engine.stages.pending_step import Measurements, PendingStep
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.events import StepRecord, StepUse
from autohas_trainer.space.policy import Draw
from engine_fixtures import (
    ALGORITHM_ROWS,
    Killed,
    MemorySink,
    TickingClock,
    case,
    checkpoint_files,
    checkpoint_folders,
    search,
    small_search,
    wait_for_checkpoint,
)
from host_copies import HostCopies

SUPERNET = (Stage.WARMUP, Stage.SUPERNET)
LAGGING = ["Lanes", "OneStep", "Sampled", "Paired", "RandomSharing", "Mixed one-step"]
ONE_STEP: dict[str, Any] = {"autoHAS": {"strategy": "OneStep", "warmupFraction": "0"}}
PUBLISHED: dict[str, Any] = {"autoHAS": {"strategy": "OneStep", "preset": "Published"}}


def _state(document: dict[str, Any]) -> SearchState:
    parsed, space = accept(document)
    return SearchState(SearchTask.load(parsed.spec, space, torch.device("cpu")), MemorySink(), Ledger(0, TickingClock()), TickingClock())


def _log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The gradients on training batches and the readings of a search, in their order."""
    events: list[str] = []
    gradient, read = SupernetStepContext.gradient, Measurements.read

    def queue(self: SupernetStepContext, configuration: Any, batch: TrainBatch) -> Gradient:
        if batch is self.train_batch():
            events.append("gradient")
        return gradient(self, configuration, batch)

    def wait(self: Measurements) -> Any:
        events.append("reading")
        return read(self)

    monkeypatch.setattr(SupernetStepContext, "gradient", queue)
    monkeypatch.setattr(Measurements, "read", wait)
    return events


@pytest.mark.parametrize("algorithm", ["Lanes", "Sampled", "Paired"])
def test_a_step_is_read_after_the_gradient_of_the_next_one(algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both stages: two gradients, then a reading after each further one, and the last reading at the end of the stage."""
    events, sink = _log(monkeypatch), MemorySink()
    search(case(algorithm), tmp_path, sink)
    counts = [sum(record.stage is stage for record in sink.steps) for stage in SUPERNET]

    assert min(counts) > 1
    assert events == [event for count in counts for event in ("gradient", *["gradient", "reading"] * (count - 1), "reading")]


def test_the_published_form_reads_each_step_at_its_own_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradient and reading in turns."""
    events, sink = _log(monkeypatch), MemorySink()
    search(case("Published"), tmp_path, sink)

    assert events == ["gradient", "reading"] * sum(record.stage in SUPERNET for record in sink.steps)


@pytest.mark.parametrize(("algorithm", "num_rewards"), [(ONE_STEP, [0, 0, 1, 2, 3, 4]), (PUBLISHED, [0, 1, 2, 3, 4, 5])])
def test_a_sample_is_drawn_from_what_all_steps_but_the_one_before_have_taught(algorithm: dict[str, Any], num_rewards: list[int]) -> None:
    """Where only the architecture is searched, every step is rewarded, so the rewards that a draw knows of count the steps read."""
    state = _state(small_search(algorithm, hyperparameters=False, steps=270))
    stage = build_stages(state)[0]
    stage.begin()
    known: list[int] = []
    sample = state.algorithm.sample  # type: ignore[attr-defined]

    def draw(context: SupernetStepContext) -> Draw:
        known.append(state.algorithm.policy.num_rewards)
        drawn: Draw = sample(context)
        return drawn

    state.algorithm.sample = draw  # type: ignore[attr-defined]
    for _ in num_rewards:
        assert stage.advance()

    assert known == num_rewards


@pytest.mark.parametrize(("algorithm", "steps"), [("OneStep", 540), ("Sampled", 540), ("Paired", 540), ("RandomSharing", 180)])
def test_a_step_waits_once_and_twice_more_where_a_copy_is_due(algorithm: str, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty steps through the window and after it: one reading each but the first.

    Of a copy: whether the state is finite, and how many updates the guard has accepted.
    """
    state = _state(small_search(ALGORITHM_ROWS[algorithm], steps=steps))
    events = _log(monkeypatch)
    stage = build_stages(state)[0]
    stage.begin()
    copies = []
    for _ in range(40):
        with HostCopies() as mode:
            assert stage.advance()
        copies.append(mode.count)

    assert events.count("reading") == 39
    due = [state.guards.safety.is_due(step, state.supernet_plan.schedule_steps) for step in range(40)]
    assert 1 < sum(due) < 20
    assert copies == [2 * is_due for is_due in due]


def _pretend_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of zeros: autograd's own pass needs a driver."""
    monkeypatch.setattr(torch.autograd, "grad", lambda loss, leaves: [torch.zeros_like(leaf) for leaf in leaves])


@pytest.mark.parametrize("algorithm", ["Lanes", "OneStep", "Sampled", "Paired", "RandomSharing"])
def test_a_step_on_a_gpu_waits_for_nothing_but_its_reading(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under FakeTensorMode on device cuda a wait raises DataDependentOutputException: two steps raise nothing, the reading does.

    One step is in the window of the hyperparameters, where the guard judges, one after the warm-up. Not tried: autograd's own pass and
    draws through pinned memory.
    """
    state = _state(small_search(ALGORITHM_ROWS[algorithm], steps=270))
    contexts = [SupernetStepContext(state, round(share * state.supernet_plan.schedule_steps)) for share in (0.1, 0.5)]
    batches = [(context.train_batch(), context.temporary_batch(), context.reward_batch()) for context in contexts]
    _pretend_gradients(monkeypatch)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        monkeypatch.setattr("autohas_trainer.supernet.dense.put_on", lambda values, device: values.to(device))
        state = SearchState(
            replace(state.search_task, device=torch.device("cuda")), MemorySink(), Ledger(0, TickingClock()), TickingClock()
        )
        algorithm_at_work = state.algorithm
        assert isinstance(algorithm_at_work, SupernetAlgorithm)
        for context, held in zip(contexts, batches, strict=True):
            context._state = state
            train, temporary, reward = (_on_device(batch, mode) for batch in held)
            context._train, context._temporary, context._reward = train, temporary, reward
            draw = algorithm_at_work.sample(context)
            gradient = context.gradient(draw.configuration, train)
            measurements = Measurements.of(algorithm_at_work.train(context, draw, gradient))
            assert measurements.numbers.device.type == "cuda"
            with pytest.raises(DataDependentOutputException):
                measurements.read()


def _on_device(batch: Any, mode: FakeTensorMode) -> Any:
    kind: Callable[..., Any] = RewardBatch if isinstance(batch, RewardBatch) else TrainBatch
    return kind(inputs=mode.from_tensor(batch.inputs).to("cuda"), targets_B=mode.from_tensor(batch.targets_B).to("cuda"))


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("algorithm", LAGGING)
def test_a_kill_between_a_gradient_and_the_reading_of_the_step_before_changes_nothing(
    algorithm: str, nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint that the search continues from holds the step that was not read; a search without checkpoints gives the same bits."""
    rarely = with_change(case(algorithm), "spec.checkpoint.periodSeconds", 86400)
    often = with_change(case(algorithm), "spec.checkpoint.periodSeconds", 5)
    whole = MemorySink()
    expected = search(rarely, tmp_path / "whole", whole)
    read, to_json = Measurements.read, PendingStep.to_json
    saved: list[int] = []

    def save(self: PendingStep) -> dict[str, Any]:
        saved.append(self.number)
        return to_json(self)

    def kill(self: Measurements) -> Any:
        if len(saved) < nth:
            return read(self)
        wait_for_checkpoint()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(PendingStep, "to_json", save)
        patch.setattr(Measurements, "read", kill)
        with pytest.raises(Killed):
            search(often, tmp_path / "killed", MemorySink())
    state = json.loads(checkpoint_files(checkpoint_folders(tmp_path / "killed")[-1])["state"].read_text())
    pending = [stage["pending"] for stage in state["stages"] if stage.get("pending") is not None]
    resumed = MemorySink()
    outcome = search(often, tmp_path / "killed", resumed)

    assert [step["number"] for step in pending] == saved[-1:]
    assert resumed.steps[0].sample == dict(pending[0]["record"]["sample"])
    assert outcome.result.digest == expected.result.digest
    assert outcome.result.model_digest == expected.result.model_digest
    assert outcome.cost_by_stage == expected.cost_by_stage
    assert resumed.steps == whole.steps[-len(resumed.steps) :]
    assert [list((step.sample or {}).items()) for step in resumed.steps] == [
        list((step.sample or {}).items()) for step in whole.steps[-len(resumed.steps) :]
    ]


def test_a_supernet_that_is_left_early_has_read_all_of_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entropy below 1 ends it after its first update: as many readings and records as gradients, and what they cost is booked."""
    events, sink = _log(monkeypatch), MemorySink()
    document = with_change(small_search(steps=90), "spec.budget.earlyStopping", {"normalizedEntropyBelow": "0.9999"})
    outcome = search(document, tmp_path, sink)
    supernet = [record for record in sink.steps if record.stage is Stage.SUPERNET]
    after = next(record for record in sink.steps if record.stage is Stage.RACE)
    spent = sum(outcome.cost_by_stage.get(stage, 0.0) for stage in (Stage.LANES, *SUPERNET))

    assert sink.ended_early == "Converged"
    assert events.count("gradient") == events.count("reading") == sum(record.stage in SUPERNET for record in sink.steps)
    assert supernet[-1].cost == pytest.approx(spent)
    assert after.cost > spent


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 0.1])
def test_a_pending_step_survives_json(number: float) -> None:
    """Draws of both kinds, the record and numbers, of which those that are not finite are read as NaN with and without a checkpoint."""
    space = accept(small_search())[1]
    draw = Draw(configuration=space.default, drawn={"depth": (2,), "learning_rate": 0.1 + 0.2})
    use = StepUse(num_examples=64, flops=1e9, waited_s=0.25)
    sample = {"learning_rate": "0.1", "depth": "2"}  # no alphabetical order: the history writes it as it is
    record = StepRecord(stage=Stage.SUPERNET, step=7, steps=9, cost=0.7, loss=None, learning_rate=0.1, sample=sample, use=use)
    numbers: Tensor = torch.tensor([number, 1.0, 0.5, number], dtype=torch.float64)
    measurements = Measurements(draw=draw, rivals=(draw,), is_guarded=True, has_quality=True, numbers=numbers)
    step = PendingStep(number=12, reference=space.default, measurements=measurements, record=record)
    restored = PendingStep.from_json(json.loads(canonical(step.to_json())))
    one, other = measurements.read(), restored.measurements.read()

    assert (restored.number, restored.reference, restored.record) == (12, space.default, record)
    assert list((restored.record.sample or {}).items()) == list(sample.items())
    assert restored.record.use is not None
    assert restored.record.use.waited_s == 0.25
    assert (other.draw, other.rivals, other.is_kept, other.quality) == (draw, (draw,), True, 0.5)
    assert (one.loss, *one.rival_losses) == pytest.approx((other.loss, *other.rival_losses), nan_ok=True)
    assert math.isnan(other.loss) == (not math.isfinite(number))

"""Whatever ends a process, the search that continues ends as the undisturbed one, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer.errors import CheckpointError, Interrupted
from autohas_trainer.events import Outcome, StepRecord
from engine_fixtures import (
    ALGORITHM_ROWS,
    STAGES,
    Killed,
    MemorySink,
    Stop,
    case,
    checkpoint_files,
    checkpoint_folders,
    search,
    small_search,
)

_undisturbed: dict[str, tuple[Outcome, list[StepRecord]]] = {}


def _reference(algorithm: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, list[StepRecord]]:
    """The undisturbed run, once per algorithm."""
    if algorithm not in _undisturbed:
        sink = MemorySink()
        outcome = search(case(algorithm), tmp_path_factory.mktemp(algorithm), sink)
        _undisturbed[algorithm] = (outcome, sink.steps)
    return _undisturbed[algorithm]


CASES = [(algorithm, stage, nth) for algorithm in ALGORITHM_ROWS for stage in STAGES[algorithm] for nth in (1, 3)]


@pytest.mark.parametrize(("algorithm", "stage", "nth"), CASES)
def test_kill_in_any_stage_changes_nothing(
    algorithm: str, stage: Stage, nth: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Killed at the n-th step of a stage without a last checkpoint, the search ends with the same digest and records."""
    expected, expected_steps = _reference(algorithm, tmp_path_factory)
    seen = 0

    def kill(record: StepRecord) -> None:
        nonlocal seen
        seen += record.stage == stage
        if seen == nth:
            raise Killed

    with pytest.raises(Killed):
        search(case(algorithm), tmp_path, MemorySink(on_step=kill))
    resumed = MemorySink()
    outcome = search(case(algorithm), tmp_path, resumed)

    assert outcome.result.digest == expected.result.digest
    assert outcome.result.model_digest == expected.result.model_digest
    assert outcome.candidates == expected.candidates
    assert outcome.cost_by_stage == expected.cost_by_stage
    assert resumed.steps == expected_steps[-len(resumed.steps) :]
    assert resumed.info is not None
    assert (resumed.info.starts, resumed.info.interruptions) == (2, 1)
    assert [n.reason for n in resumed.other_notices] == ["CheckpointRestored"]


@pytest.mark.parametrize("nth", [5, 6, 8, 10])
def test_a_kill_between_the_two_stages_of_scoring_or_within_the_second_changes_nothing(
    nth: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """RandomSharing scores five samples and then these five again: killed anywhere it scores, and picks, the same."""
    expected, expected_steps = _reference("RandomSharing", tmp_path_factory)
    seen = 0

    def stop_or_kill(record: StepRecord) -> None:
        nonlocal seen
        seen += record.stage is Stage.RACE
        stop.is_requested = seen == nth - 1  # a checkpoint right before the step that kills
        if seen == nth:
            raise Killed

    stop = Stop()
    with pytest.raises(Interrupted):
        search(case("RandomSharing"), tmp_path, MemorySink(on_step=stop_or_kill), stop)
    stop = Stop()
    with pytest.raises(Killed):
        search(case("RandomSharing"), tmp_path, MemorySink(on_step=stop_or_kill), stop)
    resumed = MemorySink()
    outcome = search(case("RandomSharing"), tmp_path, resumed)

    assert outcome.result.digest == expected.result.digest
    assert outcome.cost_by_stage == expected.cost_by_stage
    assert resumed.steps == expected_steps[-len(resumed.steps) :]


@pytest.mark.parametrize("algorithm", ALGORITHM_ROWS)
def test_stopping_after_every_tenth_step_changes_nothing(algorithm: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stopped on request again and again, each process does its steps once and the end is the same."""
    expected, expected_steps = _reference(algorithm, tmp_path_factory)
    steps: list[StepRecord] = []
    outcome = None
    while outcome is None:
        stop, sink = Stop(), MemorySink()
        done = len(steps)

        def count(record: StepRecord, stop: Stop = stop, done: int = done) -> None:
            steps.append(record)
            stop.is_requested = len(steps) - done >= 10

        sink.on_step = count
        try:
            outcome = search(case(algorithm), tmp_path, sink, stop)
        except Interrupted:
            last, written = steps[-1], sink.checkpoints[-1].step
            has_lag = last.stage in (Stage.WARMUP, Stage.SUPERNET) and algorithm != "Published"
            assert written > last.step if has_lag else written == last.step  # with a lag a record is complete when the next step is queued

    assert outcome.result.digest == expected.result.digest
    assert steps == expected_steps


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the newest checkpoint cut short the one before is used, a notice says so, and the end is the same."""
    expected, _ = _reference("Lanes", tmp_path_factory)
    _kill_at(tmp_path, 60)
    tensors = checkpoint_files(checkpoint_folders(tmp_path)[-1])["training/0"]
    tensors.write_bytes(tensors.read_bytes()[:-100])

    sink = MemorySink()
    outcome = search(small_search(), tmp_path, sink)

    assert outcome.result.digest == expected.result.digest
    assert [n.reason for n in sink.other_notices] == ["RestoreFailed", "CheckpointRestored"]
    assert "torn" in sink.other_notices[0].message


@pytest.mark.parametrize("name", ["training/0", "state", "manifest.json"])
def test_no_usable_checkpoint_left_is_an_error_not_a_start_from_zero(name: str, tmp_path: Path) -> None:
    """When every checkpoint is damaged the search refuses to continue and names the folder."""
    _kill_at(tmp_path, 60)
    for folder in checkpoint_folders(tmp_path):
        checkpoint_files(folder).get(name, folder / name).write_bytes(b"garbage")

    with pytest.raises(CheckpointError, match=r"no usable checkpoint is left in .*checkpoints.*remove the folder to start again"):
        search(small_search(), tmp_path, MemorySink())


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    """The checkpoint of another search (here: another seed) is not continued."""
    _kill_at(tmp_path, 60)

    with pytest.raises(CheckpointError, match="belongs to another search"):
        search(small_search({"seed": 1, "autoHAS": {"strategy": "OneStep"}}), tmp_path, MemorySink())


def test_lost_checkpoints_are_not_a_fresh_start(tmp_path: Path) -> None:
    """A history without any checkpoint means a loss, and is said so."""
    (tmp_path / "history.jsonl").write_text("{}\n")

    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        search(small_search(), tmp_path, MemorySink())


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Half-written checkpoints have another name and are never read."""
    expected, _ = _reference("Lanes", tmp_path_factory)
    _kill_at(tmp_path, 60)
    half = tmp_path / "checkpoints" / ".writing"
    half.mkdir(exist_ok=True)
    (half / "manifest.json").write_bytes(b"half")
    (half.parent / "files" / ".writing").write_bytes(b"half")

    assert search(small_search(), tmp_path, MemorySink()).result.digest == expected.result.digest


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    """KeepLast checkpoints stay on disk, the newest ones."""
    sink = MemorySink()
    search(small_search(), tmp_path, sink)

    kept = [int(folder.name) for folder in checkpoint_folders(tmp_path)]

    assert kept == sorted({info.step for info in sink.checkpoints})[-2:]


def _kill_at(workdir: Path, step: int) -> None:
    def kill(record: StepRecord) -> None:
        if record.step == step:
            raise Killed

    with pytest.raises(Killed):
        search(small_search(), workdir, MemorySink(on_step=kill))


def test_a_resumed_process_writes_checkpoints_too(tmp_path: Path) -> None:
    """Its first period begins with the process, not at the end of the stage: else a search preempted in a long stage never gets on."""
    document = with_change(small_search(), "spec.checkpoint.periodSeconds", 5)

    def killed_after(num_steps: int) -> MemorySink:
        sink = MemorySink()

        def kill(_: StepRecord) -> None:
            if len(sink.steps) == num_steps:
                raise Killed

        sink.on_step = kill
        with pytest.raises(Killed):
            search(document, tmp_path, sink)
        return sink

    killed_after(3)
    resumed = killed_after(12)

    assert {step.stage for step in resumed.steps} == {Stage.LANES}
    assert resumed.checkpoints
    assert resumed.checkpoints[-1].step > resumed.steps[0].step

"""A disk that is full, read-only or gone during a search: files stay whole, a message says what to do, the search continues if it can."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError

from autohas_api.base.exit_codes import ExitCode
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.cli.exits import exit_of
from autohas_trainer.engine.checkpointing import tensor_file
from autohas_trainer.engine.checkpointing.tensor_file import write_tensors
from autohas_trainer.events import CheckpointFailed, StepRecord
from autohas_trainer.reporting.http.metrics import build_registry, render
from autohas_trainer.reporting.sinks.live_state import LiveState
from engine_fixtures import Killed, MemorySink, Stop, search, small_search, wait_for_checkpoint

TENSORS = {"a": torch.zeros(4)}


def test_a_read_only_file_system_is_named_by_the_file_that_the_user_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux refuses to remove a file there even where none is: the name of the temporary file would reach the user."""
    path = tmp_path / "compare.json"
    path.write_text("whole")

    def refuse(place: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(place))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(OSError, match="Read-only") as caught:
            write_atomically(path, b"new")

    assert exit_of(caught.value).sentence == f"{path}: the file system is read-only; mount it writable, then resume"
    assert path.read_text() == "whole"


class Disk:
    """Takes checkpoints and models until `fails` is set; then it is full, as the system says it and as safetensors does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self.failures = 0
        save_original, write_original = safetensors.torch.save_file, os.write

        def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
            if self.fails:
                self.failures += 1
                path.write_bytes(b"half")
                raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
            save_original(tensors, path)

        def write(descriptor: int, piece: memoryview) -> int:
            if self.fails:
                self.failures += 1
                write_original(descriptor, piece[:1])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write_original(descriptor, piece)

        monkeypatch.setattr(tensor_file, "save_file", save)
        monkeypatch.setattr(os, "write", write)


@pytest.fixture(name="disk")
def _disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def _between(disk: Disk, first: int, last: int, then: Callable[[StepRecord], None] = lambda _: None) -> Callable[[StepRecord], None]:
    def look(record: StepRecord) -> None:
        wait_for_checkpoint()
        disk.fails = first <= record.step < last
        then(record)

    return look


def test_a_full_disk_is_an_error_that_names_the_file(disk: Disk, tmp_path: Path) -> None:
    """Safetensors' own error has neither number nor file; ours has both and says what to do."""
    disk.fails = True
    with pytest.raises(OSError, match="No space left") as caught:
        write_tensors(TENSORS, tmp_path / "tensors.safetensors")

    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "tensors.safetensors"))
    end = exit_of(caught.value)
    assert (end.code, end.is_bug) == (ExitCode.BUG, False)
    assert end.sentence.startswith(f"{tmp_path / 'tensors.safetensors'}: the disk is full; free space or enlarge the volume")


def test_the_real_library_is_understood(tmp_path: Path) -> None:
    """Not a played error: a folder that is not there, as safetensors itself words it."""
    with pytest.raises(OSError, match=r"No such file|not found") as caught:
        write_tensors(TENSORS, tmp_path / "gone" / "tensors.safetensors")
    assert caught.value.errno == errno.ENOENT


def test_periodic_checkpoints_that_fail_cost_nothing_but_themselves(disk: Disk, tmp_path: Path) -> None:
    """Full from step 30 to 75: one notice, each try counted, the end as undisturbed, and no half-written folder."""
    expected = search(small_search(), tmp_path / "whole", MemorySink())
    sink = MemorySink()
    sink.on_step = _between(disk, 30, 75)
    outcome = search(small_search(), tmp_path / "full", sink)

    assert outcome.result.digest == expected.result.digest
    assert sink.failures == disk.failures > 1
    (notice,) = sink.other_notices
    assert notice.reason == "CheckpointFailed"
    assert "checkpoints/files/.writing: the disk is full; free space or enlarge the volume" in notice.message
    assert notice.message.endswith("The search continues and tries again every 40 s")
    assert not any(30 <= info.step < 75 for info in sink.checkpoints)
    assert not list((tmp_path / "full" / "checkpoints").rglob(".writing"))


def test_killed_on_a_full_disk_the_last_whole_checkpoint_serves(disk: Disk, tmp_path: Path) -> None:
    """What was written before the disk filled up resumes to the undisturbed end."""
    expected = search(small_search(), tmp_path / "whole", MemorySink())

    def kill(record: StepRecord) -> None:
        if record.step == 85:
            raise Killed

    sink = MemorySink(on_step=_between(disk, 30, 1000, kill))
    with pytest.raises(Killed):
        search(small_search(), tmp_path / "full", sink)
    disk.fails = False
    resumed = MemorySink()
    outcome = search(small_search(), tmp_path / "full", resumed)

    assert resumed.info is not None
    assert resumed.info.step == sink.checkpoints[-1].step < 30
    assert outcome.result.digest == expected.result.digest


def test_the_first_checkpoint_and_the_one_on_request_must_succeed(disk: Disk, tmp_path: Path) -> None:
    """A search that cannot write at all ends at once; one that is asked to stop does not claim a checkpoint."""
    disk.fails = True
    with pytest.raises(OSError, match="No space left"):
        search(small_search(), tmp_path / "never", MemorySink())
    disk.fails = False
    stop = Stop()

    def ask(record: StepRecord) -> None:
        stop.is_requested = record.step == 30

    with pytest.raises(OSError, match="No space left"):
        search(small_search(), tmp_path / "asked", MemorySink(on_step=_between(disk, 30, 31, ask)), stop)


def test_the_model_and_the_result_must_succeed(disk: Disk, tmp_path: Path) -> None:
    """Full at the very end: an error that names model.safetensors, never a result without its model; resumed, it ends."""
    expected = search(small_search(), tmp_path / "whole", MemorySink())
    steps = MemorySink()
    search(small_search(), tmp_path / "count", steps)
    last = steps.steps[-1].step
    with pytest.raises(OSError, match="No space left") as caught:
        search(small_search(), tmp_path / "full", MemorySink(on_step=_between(disk, last, last + 1)))

    assert caught.value.filename == str(tmp_path / "full" / "model.safetensors")
    assert not list((tmp_path / "full").glob("*.writing"))
    disk.fails = False
    assert search(small_search(), tmp_path / "full", MemorySink()).result.digest == expected.result.digest


@pytest.mark.parametrize(("number", "words"), [(errno.EROFS, "file system is read-only"), (errno.EIO, "input/output error")])
def test_other_defects_of_the_volume_are_said_in_words(number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume that turns read-only in the middle: the notice names file and hint, the search ends."""
    real = os.fsync
    is_broken = False

    def sync(descriptor: int) -> None:
        if is_broken:
            raise OSError(number, "broken")
        real(descriptor)

    def break_it(record: StepRecord) -> None:
        nonlocal is_broken
        wait_for_checkpoint()
        is_broken = 30 <= record.step < 75

    monkeypatch.setattr(os, "fsync", sync)
    sink = MemorySink(on_step=break_it)
    search(small_search(), tmp_path, sink)

    assert [notice.reason for notice in sink.other_notices] == ["CheckpointFailed"]
    assert words in sink.other_notices[0].message
    assert f"{tmp_path}" in sink.other_notices[0].message


def test_failures_are_counted_in_the_metrics() -> None:
    """`autohas_trainer_checkpoint_failures_total` is 0 from the start and grows by one with each."""
    state = LiveState(lambda: 0.0)
    registry: Any = build_registry(state.snapshot, lambda: 0.0, lambda: 0.0)
    assert b"autohas_trainer_checkpoint_failures_total 0.0" in render(registry)
    state.emit(CheckpointFailed())
    state.emit(CheckpointFailed())
    assert b"autohas_trainer_checkpoint_failures_total 2.0" in render(registry)

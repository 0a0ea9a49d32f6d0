"""Checkpoints that are written while the search continues: no bit of it depends on them, no error is lost, nothing ends half written."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from autohas_api.testing.rejections import with_change
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.checkpointing import checkpointer
from autohas_trainer.engine.checkpointing.background import THREAD_NAME, Abandoned, Background
from autohas_trainer.engine.checkpointing.checkpoint import CheckpointStore, Draft, Saved
from autohas_trainer.engine.checkpointing.checkpointer import Checkpointer, Snapshot
from autohas_trainer.engine.checkpointing.staging import Part, stage
from autohas_trainer.engine.memory_limit import MemoryLeft
from autohas_trainer.errors import ConfigurationError, Interrupted
from autohas_trainer.events import Outcome, StepRecord
from engine_fixtures import Killed, MemorySink, Stop, TickingClock, case, search, small_search, wait_for_checkpoint


def _every_step(document: dict[str, Any]) -> dict[str, Any]:
    """The clock of these searches ticks more than once per step."""
    return with_change(document, "spec.checkpoint.periodSeconds", 1)


def _is_in_thread() -> bool:
    return threading.current_thread().name == THREAD_NAME


class Bench:
    """A checkpointer of a search that is one tensor, and what it reports."""

    def __init__(self, folder: Path, *, period_seconds: int = 1) -> None:
        self.weights, self.sink, self.notices = torch.zeros(3), MemorySink(), list[tuple[NoticeReason, str]]()
        self.ledger = Ledger(0, TickingClock())
        self.store = CheckpointStore(folder, search_digest="sha256:0", keep_last=2, clock=lambda: 5.0)
        self.checkpointer = Checkpointer(
            self.store,
            lambda index: Snapshot(state={"stage": index}, parts={"training/0": Part(tensors={"w": self.weights})}, origin={}),
            self.ledger,
            self.sink,
            lambda reason, text: self.notices.append((reason, text)),
            period_seconds=period_seconds,
            clock=TickingClock(),
        )

    def step(self) -> None:
        """One step of the search, and the look after it."""
        self.ledger.step += 1
        self.weights += 1
        self.checkpointer.look(0)

    def steps_written(self) -> list[int]:
        """Steps of the checkpoints that were reported."""
        return [info.step for info in self.sink.checkpoints]


def test_steps_go_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes three steps to answer: the checkpoint is reported after them and holds the state of the step before them."""
    gate, original = threading.Event(), os.fsync

    def sync(descriptor: int) -> None:
        if _is_in_thread():
            assert gate.wait(60)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    bench = Bench(tmp_path, period_seconds=10**6)
    with bench.checkpointer:
        bench.checkpointer._period_seconds = 0
        bench.step()
        bench.checkpointer._period_seconds = 10**6
        for _ in range(3):
            bench.step()
        assert bench.steps_written() == []
        gate.set()
        wait_for_checkpoint()
        bench.step()
        assert bench.steps_written() == [1]

    found = bench.store.newest(lambda _: None)
    assert found is not None
    assert (found.info.step, found.tensors["training/0/w"].tolist()) == (1, [1.0] * 3)


def test_at_most_one_is_in_flight_and_a_second_one_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Due after every step: each is begun when the one before is durable, none is left out."""
    at_once, most = 0, 0
    original = CheckpointStore.write

    def write(self: CheckpointStore, draft: Draft, check: Callable[[], None] = lambda: None) -> Saved:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return original(self, draft, check)
        finally:
            at_once -= 1

    monkeypatch.setattr(CheckpointStore, "write", write)
    bench = Bench(tmp_path)
    with bench.checkpointer:
        for _ in range(5):
            bench.step()

    assert bench.steps_written() == [1, 2, 3, 4, 5]
    assert most == 1


def test_a_request_to_stop_when_the_period_is_over_writes_one_checkpoint(tmp_path: Path) -> None:
    """Asked to stop after a step that is due for a checkpoint, with none in flight: one checkpoint of that step, and not two."""
    stop = Stop()

    def ask(record: StepRecord) -> None:
        wait_for_checkpoint()
        stop.is_requested = record.step == 30

    sink = MemorySink(on_step=ask)
    with pytest.raises(Interrupted, match="at step 30; a checkpoint is written"):
        search(_every_step(small_search()), tmp_path, sink, stop)

    assert [info.step for info in sink.checkpoints].count(30) == 1
    assert sink.checkpoints[-1].step == 30


def test_the_end_of_a_stage_is_a_checkpoint_of_its_own(tmp_path: Path) -> None:
    """One may be in flight from before the last work of the stage: it is waited for, and is not taken for that of the end."""
    bench = Bench(tmp_path)
    with bench.checkpointer:
        bench.step()
        bench.weights += 1
        bench.checkpointer.try_to_save(1)
        assert bench.steps_written() == [1, 1]
        found = bench.store.newest(lambda _: None)

    assert found is not None
    assert (found.state["stage"], found.tensors["training/0/w"].tolist()) == (1, [2.0] * 3)


def _fail_in_thread(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    original = CheckpointStore.write

    def write(self: CheckpointStore, draft: Draft, check: Callable[[], None] = lambda: None) -> Saved:
        if _is_in_thread():
            raise error
        return original(self, draft, check)

    monkeypatch.setattr(CheckpointStore, "write", write)


def test_what_the_thread_raises_is_raised_once_at_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours is not taken for one of the disk, and not lost."""
    bench = Bench(tmp_path)
    _fail_in_thread(monkeypatch, RuntimeError("a mistake"))
    bench.step()
    wait_for_checkpoint()
    with pytest.raises(RuntimeError, match="a mistake"):
        bench.checkpointer.look(0)
    monkeypatch.undo()
    bench.step()
    wait_for_checkpoint()
    bench.checkpointer._settle(waits=True)

    assert (bench.steps_written(), bench.sink.failures, bench.notices) == ([2], 0, [])


def test_a_disk_that_fails_in_the_thread_is_one_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three failures are counted and the first is said, with the step of the checkpoint that failed; the next success ends the series."""
    bench = Bench(tmp_path)
    with bench.checkpointer:
        with monkeypatch.context() as patch:
            _fail_in_thread(patch, OSError(errno.ENOSPC, "No space left on device", "files/.writing"))
            for _ in range(3):
                bench.step()
            wait_for_checkpoint()
        bench.step()

    assert (bench.sink.failures, bench.steps_written()) == (3, [4])
    ((reason, text),) = bench.notices
    assert reason is NoticeReason.CHECKPOINT_FAILED
    assert text.startswith("no checkpoint at step 1: files/.writing: the disk is full; free space or enlarge the volume, then resume")
    assert text.endswith("the last checkpoint is whole. The search continues and tries again every 1 s")


def test_a_request_to_stop_reports_the_failure_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is asked to stop claims no checkpoint that the disk refused, in flight or not: the error ends it."""

    def write(*_: object) -> Saved:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CheckpointStore, "write", write)
    bench = Bench(tmp_path)
    bench.step()
    with pytest.raises(OSError, match="No space left"):
        bench.checkpointer.stop(0)
    assert bench.steps_written() == []


def test_a_request_to_stop_tries_again_where_the_thread_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk refused step 1 and takes step 2: the process ends with the checkpoint of step 2."""
    bench = Bench(tmp_path)
    _fail_in_thread(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    bench.step()
    bench.ledger.step += 1

    assert bench.checkpointer.stop(0) == 2
    assert (bench.steps_written(), bench.sink.failures) == ([2], 1)


def test_a_request_to_stop_during_a_save_writes_no_second_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 1 is being written when SIGTERM comes at step 3: the process waits for it, writes no other, and says which step it is."""
    gate, writes = threading.Event(), list[int]()
    original = CheckpointStore.write

    def write(self: CheckpointStore, draft: Draft, check: Callable[[], None] = lambda: None) -> Saved:
        assert gate.wait(60)
        writes.append(draft.step)
        return original(self, draft, check)

    monkeypatch.setattr(CheckpointStore, "write", write)
    bench = Bench(tmp_path, period_seconds=10**6)
    bench.checkpointer._period_seconds = 0
    bench.step()
    bench.checkpointer._period_seconds = 10**6
    bench.step()
    bench.step()
    gate.set()

    assert bench.checkpointer.stop(0) == 1
    assert writes == bench.steps_written() == [1]
    found = bench.store.newest(lambda _: None)
    assert found is not None
    assert found.info.step == 1


def test_a_checkpoint_that_was_written_before_the_request_to_stop_is_followed_by_one_of_that_step(tmp_path: Path) -> None:
    """Nothing is in flight any more: the last step is saved."""
    bench = Bench(tmp_path, period_seconds=10**6)
    bench.checkpointer._period_seconds = 0
    bench.step()
    bench.checkpointer._period_seconds = 10**6
    wait_for_checkpoint()
    bench.step()

    assert bench.checkpointer.stop(0) == 2
    assert bench.steps_written() == [1, 2]


def _end_by(bench: Bench, error: BaseException) -> None:
    """One step, and an error while its checkpoint is in flight."""
    with bench.checkpointer:
        bench.step()
        raise error


def test_an_error_of_the_search_waits_for_the_checkpoint_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the search raises is raised, also where the thread failed; the checkpoint is whole when the process ends."""
    bench = Bench(tmp_path / "whole")
    with pytest.raises(Killed):
        _end_by(bench, Killed())
    assert bench.steps_written() == [1]
    _fail_in_thread(monkeypatch, RuntimeError("a mistake"))
    other = Bench(tmp_path / "failed")
    with pytest.raises(ValueError, match="of the search"):
        _end_by(other, ValueError("of the search"))


def test_a_second_ctrl_c_gives_the_checkpoint_in_flight_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends at its next check, however much it has to write, and leaves nothing behind."""

    def endless(self: CheckpointStore, draft: Draft, check: Callable[[], None] = lambda: None) -> Saved:
        while True:
            check()

    monkeypatch.setattr(CheckpointStore, "write", endless)
    bench = Bench(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        _end_by(bench, KeyboardInterrupt())
    assert bench.steps_written() == []
    assert not [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_work_that_is_given_up_says_so() -> None:
    """A caller that still waits for it gets an error, not an endless wait."""

    def work(check: Callable[[], None]) -> None:
        while True:
            check()

    background = Background(work)
    background.abandon()
    with pytest.raises(Abandoned):
        background.result()
    assert background.is_done


def test_work_is_done_at_once_where_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of threads costs time, not the search; the refusal stands for a pod's limit of processes."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = Background(lambda _: "saved")

    assert done.is_done
    assert done.result() == "saved"


@pytest.mark.parametrize("left", [0, 10**9])
def test_a_checkpoint_without_room_for_a_copy_is_written_before_the_next_step(
    left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the search's own thread, from its own tensors: a copy must not take the memory that the steps need."""
    threads = []
    original = CheckpointStore.write

    def write(self: CheckpointStore, draft: Draft, check: Callable[[], None] = lambda: None) -> Saved:
        threads.append(_is_in_thread())
        return original(self, draft, check)

    monkeypatch.setattr(CheckpointStore, "write", write)
    monkeypatch.setattr(checkpointer, "measure_memory_left", lambda _: MemoryLeft(left=left, limit=10**9, source="a test"))
    bench = Bench(tmp_path)
    with bench.checkpointer:
        bench.step()

    assert threads == [left > 0]
    assert bench.steps_written() == [1]


TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64)


def test_a_copy_is_laid_out_as_safetensors_does() -> None:
    """Byte for byte, whatever the types, also for empty tensors, numbers, other memory formats and names that are not ASCII."""
    tensors = {f"größe {dtype}": torch.arange(6).reshape(2, 3).to(dtype) for dtype in TYPES}
    tensors |= {"empty": torch.zeros(0, 3), "number": torch.tensor(3.0)}
    tensors["channels last"] = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    content = b"".join(bytes(chunk) for chunk in stage({"part": Part(tensors=tensors)})["part"].chunks(64))

    assert content == safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})


def test_a_tensor_that_no_file_can_hold_is_refused() -> None:
    """Own training may keep anything; the sentence names the tensor and its type."""
    with pytest.raises(
        ConfigurationError,
        match=r"own/phase is a tensor of torch\.complex128, which a checkpoint cannot keep: give torch\.float32 or another type",
    ):
        stage({"part": Part(tensors={"own/phase": torch.zeros(2, dtype=torch.complex128)})})


_undisturbed: dict[str, Outcome] = {}


def _expected(name: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The end of a search with few checkpoints, once per case."""
    if name not in _undisturbed:
        _undisturbed[name] = search(case(name), tmp_path_factory.mktemp("undisturbed"), MemorySink())
    return _undisturbed[name]


@pytest.mark.parametrize("name", ["Lanes", "OneFactor", "Published", "RandomSharing", "RandomSearch"])
def test_a_checkpoint_after_every_step_changes_nothing_and_names_what_is_there(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped half way and resumed: the same end. Whatever is named again, since it has not moved, has the digest of its tensors now."""
    expected, named = _expected(name, tmp_path_factory), 0
    original = CheckpointStore.draft

    def draft(self: CheckpointStore, step: int, state: Mapping[str, Any], parts: Mapping[str, Part], origin: Mapping[str, Any]) -> Draft:
        nonlocal named
        taken = original(self, step, state, parts, origin)
        for part, content in taken.unchanged.items():
            named += 1
            digest = hashlib.sha256(b"".join(stage({part: parts[part]})[part].chunks(2**20))).hexdigest()
            assert digest == content.sha256
        return taken

    monkeypatch.setattr(CheckpointStore, "draft", draft)
    stop, steps = Stop(), MemorySink()

    def ask(record: StepRecord) -> None:
        stop.is_requested = record.step >= record.steps // 2

    steps.on_step = ask
    with pytest.raises(Interrupted):
        search(_every_step(case(name)), tmp_path, steps, stop)
    outcome = search(_every_step(case(name)), tmp_path, MemorySink())

    assert outcome.result.digest == expected.result.digest
    assert outcome.candidates == expected.candidates
    assert len(steps.checkpoints) >= len(steps.steps)
    assert named > 0 or name in ("Published", "RandomSharing")  # these train one network at a time


def test_a_search_whose_disk_is_slow_ends_with_the_same_bits(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every checkpoint is in flight during the step after it: weights move while their copy is written."""
    expected, original = _expected("Lanes", tmp_path_factory), os.fsync
    moved = threading.Semaphore(0)

    def sync(descriptor: int) -> None:
        if _is_in_thread():
            moved.acquire(timeout=0.05)  # until the search has taken a step, or waits itself
        original(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    document = with_change(small_search(), "spec.checkpoint.periodSeconds", 20)
    outcome = search(document, tmp_path, MemorySink(on_step=lambda _: moved.release()))

    assert outcome.result.digest == expected.result.digest
    assert outcome.result.model_digest == expected.result.model_digest

"""Checkpoints that were damaged are set aside, and a history that lost a part is reported."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from autohas_api.base.exit_codes import ExitCode
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import Stage
from autohas_trainer import atomic_file
from autohas_trainer.cli.exits import exit_of
from autohas_trainer.engine.checkpointing.checkpoint import CheckpointStore
from autohas_trainer.engine.checkpointing.staging import Part
from autohas_trainer.engine.checkpointing.start_counter import CHECKPOINTS, FILES, WRITING, has_begun
from autohas_trainer.errors import CheckpointError, FolderInUseError
from autohas_trainer.events import StepRecord
from engine_fixtures import NOTICES_OF_BUDGETS, Killed, MemorySink, checkpoint_files, search, small_search

BATCHES: dict[str, Any] = {"name": "batch_size", "integer": {"min": 128, "max": 256, "step": 2, "scale": "Log"}}


def _store(folder: Path) -> CheckpointStore:
    return CheckpointStore(folder, search_digest="sha256:0", keep_last=2, clock=lambda: 5.0)


def _save(store: CheckpointStore, step: int) -> None:
    store.write(store.draft(step, {"step": step}, {"net": Part(tensors={"weights": torch.full((3,), float(step))})}, {}))


def _tear(folder: Path, step: int) -> None:
    path = checkpoint_files(folder / f"{step:012d}")["net"]
    path.write_bytes(path.read_bytes()[:-4])


def test_a_torn_newest_checkpoint_does_not_push_out_good_ones(tmp_path: Path) -> None:
    """10 is read next to a torn 20; after saves at 12, 14, 16 the newest two stand, so tearing 16 leaves 14."""
    for step in (10, 20):
        _save(_store(tmp_path), step)
    _tear(tmp_path, 20)
    damage: list[str] = []
    store = _store(tmp_path)
    found = store.newest(damage.append)
    for step in (12, 14, 16):
        _save(store, step)
    _tear(tmp_path, 16)
    again = _store(tmp_path).newest(damage.append)

    assert found is not None
    assert again is not None
    assert (found.state["step"], again.state["step"]) == (10, 14)
    assert ["000000000020" in sentence for sentence in damage] == [True, False]


def test_a_search_has_begun_with_its_first_whole_checkpoint(tmp_path: Path) -> None:
    """A kill in the first one leaves a part of it, which no process can continue from; a damaged one was whole once."""
    folder = tmp_path / CHECKPOINTS
    (folder / WRITING).mkdir(parents=True)
    (folder / FILES).mkdir()
    before = has_begun(tmp_path)
    _save(_store(folder), 0)
    whole = has_begun(tmp_path)
    _tear(folder, 0)

    assert (before, whole, has_begun(tmp_path)) == (False, True, True)


def test_damage_is_reported_once_and_kept_in_bounds(tmp_path: Path) -> None:
    """A second start hears nothing of it; of many damaged checkpoints the newest two are kept for a look."""
    for step in range(10, 15):
        _save(CheckpointStore(tmp_path, search_digest="sha256:0", keep_last=9, clock=lambda: 5.0), step)
    for step in range(11, 15):
        _tear(tmp_path, step)
    damage: list[str] = []
    assert _store(tmp_path).newest(damage.append) is not None
    assert _store(tmp_path).newest(damage.append) is not None

    assert len(damage) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [".damaged-000000000013", ".damaged-000000000014", "000000000010", FILES]
    _save(_store(tmp_path), 11)
    assert len(list((tmp_path / FILES).iterdir())) == 2 * 4  # of 10, 11, 13 and 14: tensors and state


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "000000000010/manifest.json is missing"),
        ("{", "its manifest.json is damaged: Expecting property name"),
        ("[]", "its manifest.json lacks fields that a checkpoint of this version has"),
        ('{"format": 9}', "its manifest.json lacks fields that a checkpoint of this version has"),
    ],
)
def test_damage_of_a_manifest_is_said_in_words(tmp_path: Path, content: str | None, words: str) -> None:
    """Not in those of Python's exceptions."""
    _save(_store(tmp_path), 10)
    manifest = tmp_path / f"{10:012d}" / "manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)

    with pytest.raises(CheckpointError, match=re.escape(words)) as refusal:
        _store(tmp_path).newest(lambda _: None)
    assert "Errno" not in str(refusal.value)


def _unreadable(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading this file fails as a disk does that is away for a moment."""
    read_text = Path.read_text

    def read(self: Path, *arguments: Any, **keywords: Any) -> str:
        if self == path:
            raise OSError(number, os.strerror(number), str(path))
        return read_text(self, *arguments, **keywords)

    monkeypatch.setattr(Path, "read_text", read)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_disk_that_cannot_be_read_is_no_loss_of_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The only checkpoint may be whole: the error is the disk's (exit 1, repeated), not exit 66, which would end the search for good."""
    _save(_store(tmp_path), 10)
    with monkeypatch.context() as patch:
        _unreadable(tmp_path / f"{10:012d}" / "manifest.json", number, patch)
        with pytest.raises(OSError, match=os.strerror(number)):
            _store(tmp_path).newest(lambda _: None)
    found = _store(tmp_path).newest(lambda _: None)

    assert found is not None
    assert found.state["step"] == 10


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_newest_checkpoint_that_the_disk_does_not_answer_for_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The process stops with the disk's error, nothing is set aside or reported, and the next process continues from the newest one."""
    for step in (10, 20):
        _save(_store(tmp_path), step)
    damage: list[str] = []
    with monkeypatch.context() as patch:
        _unreadable(tmp_path / f"{20:012d}" / "manifest.json", number, patch)
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            _store(tmp_path).newest(damage.append)
    end = exit_of(caught.value)
    found = _store(tmp_path).newest(damage.append)

    assert (end.code, end.is_bug) == (ExitCode.BUG, False)
    assert "000000000020/manifest.json" in end.sentence
    assert found is not None
    assert (found.state["step"], damage) == (20, [])


def test_a_torn_file_is_damage_though_an_older_one_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 is torn and the disk does not answer for 10, which may be whole: nothing is set aside, and the error is the disk's."""
    for step in (10, 20):
        _save(_store(tmp_path), step)
    _tear(tmp_path, 20)
    _unreadable(tmp_path / f"{10:012d}" / "manifest.json", errno.EIO, monkeypatch)
    with pytest.raises(OSError, match="Input/output error"):
        _store(tmp_path).newest(lambda _: None)

    assert {path.name for path in tmp_path.iterdir()} == {f"{10:012d}", f"{20:012d}", FILES}


def test_a_process_stops_before_it_writes_next_to_another_one(tmp_path: Path) -> None:
    """Two processes continue from 10; the other writes 20, so this one may write neither 15 nor 30, and touches no file of the other's."""
    store, other = _store(tmp_path), _store(tmp_path)
    _save(store, 10)
    other.newest(lambda _: None)
    _save(other, 20)
    (tmp_path / FILES / "of-the-other").write_bytes(b"not named yet")
    before = sorted(tmp_path.rglob("*"))
    for step in (15, 30):
        with pytest.raises(FolderInUseError, match="another process has written checkpoint 000000000020") as caught:
            _save(store, step)

    assert sorted(tmp_path.rglob("*")) == before
    assert (exit_of(caught.value).code, exit_of(caught.value).is_bug) == (ExitCode.BUG, False)


def test_a_process_stops_where_another_one_replaced_its_checkpoint(tmp_path: Path) -> None:
    """The same step with other content: of another stage, or of a candidate that the other process left out."""
    store, other = _store(tmp_path), _store(tmp_path)
    _save(store, 10)
    other.newest(lambda _: None)
    other.write(other.draft(10, {"step": 10, "other": True}, {}, {}))

    with pytest.raises(FolderInUseError, match="000000000010"):
        _save(store, 11)


def test_a_process_knows_its_own_checkpoints_though_the_disk_failed_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest of 20 has its name when the flush of the folder fails: it is no other process's. Nor is a folder that a user removed."""
    store = _store(tmp_path)
    _save(store, 10)

    def fail(path: Path) -> None:
        if path == tmp_path:
            raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(atomic_file, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            _save(store, 20)
    shutil.rmtree(tmp_path / f"{10:012d}")
    _save(store, 30)

    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{20:012d}", f"{30:012d}", FILES]


def test_steps_never_fall_so_the_newest_checkpoint_has_the_highest_name(tmp_path: Path) -> None:
    """60 steps of 64 are 15 of 256: after 2 of those, its ninth, a lane is at unit 8 where the plan counts 7."""
    document = with_change(small_search(steps=60), "spec.searchSpace.hyperparameters[1]", BATCHES)
    sink = MemorySink()
    search(with_change(document, "spec.checkpoint.periodSeconds", 5), tmp_path, sink)
    assert sink.info is not None
    lanes = [record.step for record in sink.steps if record.stage is Stage.LANES]
    steps, named = [record.step for record in sink.steps], [info.step for info in sink.checkpoints]

    assert lanes[-1] > sink.info.plan.lane_steps
    assert steps == sorted(steps)
    assert named == sorted(named)
    assert steps[-1] <= sink.steps[-1].steps


def test_a_kill_after_a_stage_went_beyond_its_plan_repeats_one_step(tmp_path: Path) -> None:
    """With a checkpoint after every step, a kill in the second of the warm-up leaves that one to do again, and the end is the same."""
    document = with_change(small_search(steps=60), "spec.searchSpace.hyperparameters[1]", BATCHES)
    whole, resumed, seen = MemorySink(), MemorySink(), 0

    def kill(record: StepRecord) -> None:
        nonlocal seen
        seen += record.stage is Stage.WARMUP
        if seen == 2:
            raise Killed

    undisturbed = search(document, tmp_path / "whole", whole)
    with suppress(Killed):
        search(with_change(document, "spec.checkpoint.periodSeconds", 1), tmp_path / "killed", MemorySink(on_step=kill))

    assert search(document, tmp_path / "killed", resumed).result.digest == undisturbed.result.digest
    assert resumed.steps == whole.steps[[record.stage for record in whole.steps].index(Stage.WARMUP) + 1 :]


def test_notices_have_growing_ids_whatever_was_killed(tmp_path: Path) -> None:
    """Three processes, the second killed before its first checkpoint: no id comes twice, so no event is lost."""
    ids: list[int] = []
    for kill_after in (60, 1, None):
        seen = 0

        def kill(record: StepRecord, limit: int | None = kill_after) -> None:
            nonlocal seen
            seen += 1
            if limit is not None and seen >= limit:
                raise Killed

        sink = MemorySink(on_step=kill)
        with suppress(Killed):
            search(small_search(), tmp_path, sink)
        ids += [notice.id for notice in sink.other_notices]

    assert len(ids) == 2
    assert ids == sorted(set(ids))


def test_what_was_told_before_a_kill_is_shown_again(tmp_path: Path) -> None:
    """Notices of the checkpoint are handed to the sinks of the next process."""
    for kills in (True, True, False):
        sink = MemorySink()

        def kill(record: StepRecord, sink: MemorySink = sink) -> None:
            if len(sink.steps) == 60:
                raise Killed

        sink.on_step = kill if kills else lambda record: None
        with suppress(Killed):
            search(small_search(), tmp_path, sink)
    assert sink.info is not None
    assert [notice.reason for notice in sink.info.notices if notice.reason not in NOTICES_OF_BUDGETS] == ["CheckpointRestored"]


def test_a_history_that_lost_a_part_is_reported(tmp_path: Path) -> None:
    """The checkpoint remembers 500 bytes and 400 are there: RestoreFailed says that 100 are missing."""

    class Remembering(MemorySink):
        def flush(self) -> int:
            return 500

    def kill(record: StepRecord) -> None:
        raise Killed

    with suppress(Killed):
        search(small_search(), tmp_path, Remembering(on_step=kill))
    (tmp_path / "history.jsonl").write_bytes(b"x" * 400)
    sink = Remembering()
    search(small_search(), tmp_path, sink)

    assert [notice.reason for notice in sink.other_notices] == ["RestoreFailed", "CheckpointRestored"]
    assert "history.jsonl has lost 100 bytes" in sink.other_notices[0].message

"""A kill, a power cut or a full disk at any operation of a save: every manifest on disk has its files, and nothing is left over."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from autohas_trainer.engine.checkpointing.checkpoint import CheckpointStore
from autohas_trainer.engine.checkpointing.content_files import ContentFiles
from autohas_trainer.engine.checkpointing.staging import Part
from autohas_trainer.engine.checkpointing.start_counter import FILES
from autohas_trainer.errors import FolderInUseError
from disk_fixtures import CountingDisk, PowerCut
from engine_fixtures import Killed, checkpoint_files

RESTING = torch.arange(64.0)
"""The tensor of a part that never changes."""


def _store(folder: Path) -> CheckpointStore:
    return CheckpointStore(folder, search_digest="sha256:0", keep_last=2, clock=lambda: 5.0)


def _save(store: CheckpointStore, step: int, seed: int = 0) -> None:
    parts = {"training/0": Part(tensors={"w": RESTING}), "training/1": Part(tensors={"w": torch.full((64,), step + seed / 10)})}
    store.write(store.draft(step, {"step": step, "seed": seed}, parts, {}))


def _fail(reason: str) -> None:
    raise AssertionError(reason)


def _check(folder: Path) -> tuple[int, int]:
    """Step and seed of the newest checkpoint; nothing on disk is damaged."""
    found = _store(folder).newest(_fail)
    assert found is not None
    step, seed = found.state["step"], found.state["seed"]
    assert found.tensors["training/0/w"].equal(RESTING)
    assert found.tensors["training/1/w"].equal(torch.full((64,), step + seed / 10))
    for path in folder.iterdir():
        if path.name.isdigit() and (path / "manifest.json").exists():
            assert all(file.exists() for file in checkpoint_files(path).values())
    return step, seed


def _is_tidy(folder: Path) -> bool:
    """Two checkpoints, their files, and nothing else."""
    folders = sorted(path for path in folder.iterdir() if path.name != FILES)
    named = {file.name for path in folders for file in checkpoint_files(path).values()}
    return len(folders) == 2 and {path.name for path in (folder / FILES).iterdir()} == named


@pytest.fixture(name="before")
def _before(tmp_path: Path) -> Path:
    """Checkpoints of the steps 10 and 20."""
    store = _store(tmp_path / "before")
    for step in (10, 20):
        _save(store, step)
    return tmp_path / "before"


def _count(before: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[CheckpointStore], None]) -> int:
    """Operations of an undisturbed save."""
    shutil.copytree(before, folder)
    store = _store(folder)
    assert store.newest(_fail) is not None
    with monkeypatch.context() as patch:
        disk = CountingDisk(patch)
        save(store)
    return disk.count


SAVES: dict[str, tuple[Callable[[CheckpointStore], None], tuple[int, int]]] = {
    "a new step": (lambda store: _save(store, 30), (30, 0)),
    "the same step": (lambda store: _save(store, 20, seed=1), (20, 1)),
}
"""Saves after the checkpoint of step 20, with step and seed of what they write."""


@pytest.mark.parametrize("case", SAVES)
def test_a_kill_before_any_operation_loses_nothing(case: str, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before each of the operations of a save in turn: the one before or the new one is whole, and the next save tidies up."""
    save, saved = SAVES[case]
    seen = set()
    for number in range(1, _count(before, tmp_path / "count", monkeypatch, save) + 1):
        folder = tmp_path / f"killed-{number}"
        shutil.copytree(before, folder)
        store = _store(folder)
        assert store.newest(_fail) is not None

        def kill(count: int, _: str, limit: int = number) -> None:
            if count >= limit:
                raise Killed

        with monkeypatch.context() as patch, suppress(Killed):
            CountingDisk(patch).before = kill
            save(store)
        seen.add(_check(folder))
        _save(_store(folder), 40)
        assert _check(folder) == (40, 0)
        assert _is_tidy(folder)
    assert seen == {(20, 0), saved}


@pytest.mark.parametrize("case", SAVES)
def test_a_power_cut_before_any_operation_loses_nothing(case: str, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kill, but what was not flushed is gone: files come before the manifest that names them, and go after it."""
    save, saved = SAVES[case]
    seen = set()
    for number in range(1, _count(before, tmp_path / "count", monkeypatch, save) + 2):
        folder, left = tmp_path / f"cut-{number}", tmp_path / f"left-{number}"
        shutil.copytree(before, folder)
        store = _store(folder)
        assert store.newest(_fail) is not None

        def cut(count: int, _: str, limit: int = number) -> None:
            if count >= limit:
                raise Killed

        with monkeypatch.context() as patch, suppress(Killed):
            disk = CountingDisk(patch)
            power, disk.before = PowerCut(folder, disk), cut
            save(store)
        power.leave(left)
        seen.add(_check(left))
    assert seen == {(20, 0), saved}


def test_a_power_cut_after_the_first_save_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before any operation of the first save, saved by the next process, then cut: every new folder has its name in its parent."""
    (tmp_path / "count").mkdir()
    with monkeypatch.context() as patch:
        disk = CountingDisk(patch)
        _save(_store(tmp_path / "count" / "checkpoints"), 10)
    for number in range(1, disk.count + 1):
        workdir, left = tmp_path / f"first-{number}", tmp_path / f"left-{number}"
        workdir.mkdir()

        def kill(count: int, _: str, limit: int = number) -> None:
            if count == limit:
                raise Killed

        with monkeypatch.context() as patch:
            disk = CountingDisk(patch)
            power, disk.before = PowerCut(workdir, disk), kill
            with suppress(Killed):
                _save(_store(workdir / "checkpoints"), 10)
            _save(_store(workdir / "checkpoints"), 10, seed=1)
        power.leave(left)
        assert _check(left / "checkpoints") == (10, 1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("lasts", [False, True], ids=["once", "for good"])
def test_a_disk_that_refuses_any_operation_keeps_what_is_there(
    *, lasts: bool, number: int, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full, forbidden, read-only or broken from each operation on: an OSError with a file, or the whole new one; later saves work."""
    save, saved = SAVES["a new step"]
    refused: list[OSError] = []
    for limit in range(1, _count(before, tmp_path / "count", monkeypatch, save) + 1):
        folder = tmp_path / f"refused-{limit}"
        shutil.copytree(before, folder)
        store = _store(folder)
        assert store.newest(_fail) is not None

        def refuse(count: int, _: str, limit: int = limit) -> None:
            if count == limit or (lasts and count > limit):
                raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            CountingDisk(patch).before = refuse
            try:
                save(store)
            except OSError as error:
                refused.append(error)
        assert _check(folder) in ((20, 0), saved)
        if not lasts:
            assert not list(folder.rglob(".writing"))
        _save(store, 40)
        assert _check(folder) == (40, 0)
        assert _is_tidy(folder)
    assert len(refused) > 8
    assert {error.errno for error in refused} == {number}
    assert all(str(error.filename).startswith(str(tmp_path)) for error in refused)


def test_a_part_that_did_not_change_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its revision it is not even copied; without one it is hashed, and its file named again. Changed by one bit, it is written."""
    large = torch.zeros(4096)
    store = _store(tmp_path)
    written = []

    def save(step: int, revision: int | None) -> None:
        disk = CountingDisk(monkeypatch)
        draft = store.draft(step, {}, {"training/0": Part(tensors={"w": large}, revision=revision)}, {})
        assert draft.num_changed_bytes == (0 if step in (2, 3) else large.nbytes)
        store.write(draft)
        written.append(disk.bytes_written)

    for step, revision in ((1, 7), (2, 7), (3, 7), (4, None), (5, 8)):
        save(step, revision)
    large[5] = 1.0
    save(6, 9)

    assert [count > large.nbytes for count in written] == [True, False, False, False, False, True]
    assert max(written[1:5]) < 1000
    found = _store(tmp_path).newest(_fail)
    assert found is not None
    assert found.tensors["training/0/w"].equal(large)


def test_a_file_of_another_process_is_trusted_only_when_it_was_read(tmp_path: Path) -> None:
    """A torn file of a checkpoint that was passed over has the name of what is to be written: it is written again."""
    for step in (10, 20):
        _save(_store(tmp_path), step)
    torn = checkpoint_files(tmp_path / f"{20:012d}")["training/1"]
    torn.write_bytes(torn.read_bytes()[:-1])
    store, damage = _store(tmp_path), list[str]()
    found = store.newest(damage.append)
    assert found is not None
    assert (found.state["step"], len(damage)) == (10, 1)
    _save(store, 20)

    assert _check(tmp_path) == (20, 0)


def test_no_manifest_names_a_file_that_another_process_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes in one folder: one tidies up between the files and the manifest of the other, which then writes no more."""
    store, other = _store(tmp_path), _store(tmp_path)
    _save(store, 10)
    sync = ContentFiles.sync

    def sync_and_lose(files: ContentFiles) -> None:
        sync(files)
        monkeypatch.undo()
        _save(other, 15)

    monkeypatch.setattr(ContentFiles, "sync", sync_and_lose)
    with pytest.raises(FileNotFoundError, match="removed by another process"):
        _save(store, 20)

    assert _check(tmp_path) == (15, 0)
    with pytest.raises(FolderInUseError, match="another process has written checkpoint 000000000015"):
        _save(store, 30)
    assert _check(tmp_path) == (15, 0)


def test_files_of_a_manifest_that_cannot_be_read_are_kept(tmp_path: Path) -> None:
    """It is unknown what it names: nothing is removed, until the checkpoint itself is too old."""
    for step in (10, 20):
        _save(_store(tmp_path), step)
    files = set((tmp_path / FILES).iterdir())
    manifest = tmp_path / f"{20:012d}" / "manifest.json"
    content = manifest.read_bytes()
    manifest.write_bytes(b"garbage")
    _save(_store(tmp_path), 30)
    assert files < set((tmp_path / FILES).iterdir())
    manifest.write_bytes(content)
    _save(_store(tmp_path), 40)

    assert _check(tmp_path) == (40, 0)
    assert len(list((tmp_path / FILES).iterdir())) == 2 * 2 + 1


def test_a_change_after_the_copy_does_not_reach_the_file(tmp_path: Path) -> None:
    """Tensors, whole storages and the JSON state: the checkpoint is that of the moment in which it was taken."""
    weights, state = torch.arange(6.0).reshape(2, 3), {"losses": [1.0]}
    store = _store(tmp_path)
    draft = store.draft(1, state, {"training/0": Part(tensors={"w": weights, "row": weights[1], "column": weights[:, 1]})}, {}).copied()
    weights.fill_(-1.0)
    state["losses"].append(2.0)
    store.write(draft)
    found = _store(tmp_path).newest(_fail)

    assert found is not None
    assert found.state == {"losses": [1.0]}
    assert found.tensors["training/0/w"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert found.tensors["training/0/row"].tolist() == [3.0, 4.0, 5.0]
    assert found.tensors["training/0/column"].tolist() == [1.0, 4.0]

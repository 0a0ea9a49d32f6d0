"""One process at a time works in a folder, and no end of a process leaves the lock behind."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autohas_trainer.errors import FolderInUseError, Interrupted
from autohas_trainer.folder_lock import LOCK_FILE, WAIT_S, hold_folder, is_used, wait_for_folder
from engine_fixtures import Stop

HOLD = """
import os, sys, time
from pathlib import Path
from autohas_trainer.folder_lock import hold_folder
with hold_folder(Path(sys.argv[1])):
    child = os.fork() if "fork" in sys.argv else None
    if child != 0:
        print(child or 0, flush=True)
    time.sleep(600)
"""


@contextmanager
def _holder(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds a folder, and the pid of its child; both are killed when the block is left."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder), *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            yield process, child
        finally:
            process.kill()
            if child:
                os.kill(child, signal.SIGKILL)


def test_a_second_process_is_refused_and_told_which_one_works_there(tmp_path: Path) -> None:
    """Its pid, host and start are named; its end frees the folder."""
    with _holder(tmp_path) as (process, _):
        with pytest.raises(FolderInUseError) as caught, hold_folder(tmp_path):
            pass
        since = json.loads((tmp_path / LOCK_FILE).read_text())["since"]
        words = f"process {process.pid} on host {socket.gethostname()} has worked in it since {since}; wait until it ends, or stop it"
        assert str(caught.value) == f"{tmp_path} is in use: {words}"
    with hold_folder(tmp_path) as problem:
        assert problem is None
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_a_killed_process_leaves_no_lock_though_its_forked_child_lives(tmp_path: Path) -> None:
    """Kill -9 of the holder while a process that it forked (one that reads data) still runs: the folder is free at once."""
    with _holder(tmp_path, "fork") as (process, child):
        process.kill()
        process.wait()
        os.kill(child, 0)  # it runs
        with hold_folder(tmp_path) as problem:
            assert problem is None


def test_two_calls_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    """Two threads of a notebook are two searches; after the first the second may begin."""
    with hold_folder(tmp_path):
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()} "), hold_folder(tmp_path):
            pass
        with pytest.raises(FolderInUseError), hold_folder(tmp_path):  # the refused one has released nothing
            pass
    with hold_folder(tmp_path):
        pass


def test_a_folder_with_the_file_of_the_lock_alone_is_not_used(tmp_path: Path) -> None:
    """What the lock leaves behind is no result."""
    with hold_folder(tmp_path):
        pass
    assert (tmp_path / LOCK_FILE).is_file()
    assert not is_used(tmp_path)
    assert not is_used(tmp_path / "absent")
    (tmp_path / "result.json").touch()
    assert is_used(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Some mounts of object stores, NFS without its lock service."""

    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with hold_folder(tmp_path) as problem:
        assert problem == f"{tmp_path} is on a file system without locks ({os.strerror(number)}): start no second process in it"


def test_an_error_of_the_disk_names_the_file_and_one_of_the_block_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the lock is not confused with those of the search."""
    with pytest.raises(OSError, match="No such file") as caught, hold_folder(tmp_path / "gone"):
        pass
    assert caught.value.filename == str(tmp_path / "gone" / LOCK_FILE)
    with pytest.raises(OSError, match="of the block") as caught, hold_folder(tmp_path):
        raise OSError(errno.EIO, "of the block")
    assert caught.value.filename is None
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output") as caught, hold_folder(tmp_path):
        pass
    assert caught.value.filename == str(tmp_path / LOCK_FILE)


class Time:
    """A clock that moves when somebody sleeps; at `frees` the holder ends."""

    def __init__(self, holder: Iterator[object] | None = None, *, frees: float = float("inf")) -> None:
        self.now, self._holder, self._frees = 0.0, holder, frees

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._frees and self._holder is not None:
            next(self._holder, None)


def _hold(folder: Path) -> Iterator[None]:
    with hold_folder(folder):
        yield


def test_a_pod_waits_for_the_lock_of_the_one_before(tmp_path: Path) -> None:
    """The lease of a lost node ends after 90 s: the wait is said once, and then the folder is held."""
    holder, said = _hold(tmp_path), list[str]()
    next(holder)
    time = Time(holder, frees=90.0)
    with wait_for_folder(tmp_path, Stop(), said.append, clock=lambda: time.now, sleep=time.sleep) as problem:
        assert problem is None
        with pytest.raises(FolderInUseError), hold_folder(tmp_path):
            pass

    assert time.now == 90.0
    assert len(said) == 1
    assert said[0].startswith(f"{tmp_path} is in use: process {os.getpid()} on host")


def test_the_wait_for_a_folder_ends(tmp_path: Path) -> None:
    """After two minutes with the error, which the Job repeats up to backoffLimit; at once when the pod is asked to stop."""
    stop, time = Stop(), Time()
    with hold_folder(tmp_path):
        with (
            pytest.raises(FolderInUseError, match="is in use"),
            wait_for_folder(tmp_path, stop, lambda _: None, clock=lambda: time.now, sleep=time.sleep),
        ):
            pass
        assert time.now == WAIT_S
        stop.is_requested = True
        with (
            pytest.raises(Interrupted, match="stopped on request before the first step"),
            wait_for_folder(tmp_path, stop, lambda _: None, clock=lambda: time.now, sleep=time.sleep),
        ):
            pass
    assert time.now == WAIT_S

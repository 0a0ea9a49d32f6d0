"""One process at a time works in a folder: flock(2) on a file in it, which the kernel releases however the process ends.

The existence of the file means nothing. On Linux an NFS client (EFS among them) passes the lock on to its server as one of the whole
file, and CephFS to its metadata server; both release it when the lease of a lost node ends, within minutes. Locks of fcntl(2) would reach
the same servers, but any other open and close of the file in this process would release them, and two threads would share them. A file
system without locks is no reason to refuse a search: `CheckpointStore` stops when another process has written a checkpoint there.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from autohas_trainer.atomic_file import name_os_errors
from autohas_trainer.errors import FolderInUseError, Interrupted

__all__ = ["LOCK_FILE", "WAIT_S", "hold_folder", "is_used", "wait_for_folder"]

LOCK_FILE: Final = ".lock"
WAIT_S: Final = 120.0
"""Ours: the lease of an NFS client lasts 90 s by default, that of CephFS 60 s."""
_PAUSE_S: Final = 1.0
_TAKEN: Final = (errno.EWOULDBLOCK, errno.EACCES)
"""What flock gives where another process has the lock; EACCES on SMB, whose locks are mandatory."""
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class _StopRequest(Protocol):
    """As `autohas_trainer.events.StopRequest`."""

    @property
    def is_requested(self) -> bool:
        """Whether the process shall end."""


def is_used(folder: Path) -> bool:
    """Whether a folder holds anything apart from the file of the lock."""
    return folder.is_dir() and any(path.name != LOCK_FILE for path in folder.iterdir())


@contextmanager
def hold_folder(folder: Path) -> Iterator[str | None]:
    """Hold a folder that exists during the block; yields why it cannot be locked, None where it is.

    Raises:
        FolderInUseError: another process, or another call in this one, holds it; names it.
        OSError: the disk is full, read-only or gone; names the file.
    """
    path = folder / LOCK_FILE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    _HELD.add(descriptor)
    try:
        with name_os_errors(path):
            problem = _lock(descriptor, folder)
        yield problem
    finally:
        _HELD.discard(descriptor)
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> str | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise FolderInUseError(f"{folder} is in use: {_describe_holder(descriptor)}; wait until it ends, or stop it") from error
        if error.errno in _NO_LOCKS:
            return f"{folder} is on a file system without locks ({error.strerror}): start no second process in it"
        raise
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(sep=" ", timespec="seconds")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)
    os.fsync(descriptor)  # another node reads it
    return None


def _describe_holder(descriptor: int) -> str:
    """Who holds the lock, as that process wrote it; it may be about to."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on host {holder['host']} has worked in it since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process works in it"


@contextmanager
def wait_for_folder(  # noqa: PLR0913 - the last three have defaults
    folder: Path,
    stop: _StopRequest,
    on_wait: Callable[[str], None],
    *,
    seconds: float = WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str | None]:
    """As `hold_folder`, after a wait of at most `seconds`: the lock of a pod on a lost node outlives the pod.

    Args:
        folder: The folder; it exists.
        stop: Ends the wait.
        on_wait: Called once with a sentence where the folder is held.
        seconds: How long it waits.
        clock: Returns monotonic seconds.
        sleep: Waits for some seconds.

    Raises:
        FolderInUseError: it is still held.
        Interrupted: `stop` was requested.
        OSError: the disk is full, read-only or gone; names the file.
    """
    begun, has_waited = clock(), False
    with ExitStack() as stack:
        while True:
            try:
                problem = stack.enter_context(hold_folder(folder))
                break
            except FolderInUseError as error:
                if stop.is_requested:
                    raise Interrupted(f"stopped on request before the first step: {error}") from error
                if clock() - begun >= seconds:
                    raise
                if not has_waited:
                    on_wait(str(error))
                    has_waited = True
            sleep(_PAUSE_S)
        yield problem


_HELD: Final[set[int]] = set()
"""Descriptors of this process that hold a lock."""


def _leave_to_parent() -> None:
    """Close the descriptors of a forked child, which would keep the lock of a parent that was killed."""
    while _HELD:
        os.close(_HELD.pop())


os.register_at_fork(after_in_child=_leave_to_parent)

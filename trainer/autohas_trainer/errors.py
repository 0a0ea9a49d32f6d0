"""The exceptions that the trainer raises on purpose, by exit code.

    TrainerError                 exit 1: a bug of AutoHAS
    ├── ConfigurationError       exit 78: the search cannot run as written
    ├── DataError                exit 65: a data file is missing or damaged
    │   └── UnreachableError     exit 1: a store does not answer, and may later
    ├── CheckpointError          exit 66: no checkpoint is usable
    ├── FolderInUseError         exit 1: another process works in the folder; it may end
    ├── NumericalError           exit 70: the default configuration diverges
    ├── CandidateError           exit 78: one candidate cannot be trained; a search continues with the others
    │   └── DeviceError          exit 75: the device failed while it trained; the next process leaves the candidate out
    └── Interrupted              exit 75: stopped on request after a checkpoint

The message is one sentence for the user: the value, its place, and what to do. `cli.exits` alone reads the exit codes.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final

from autohas_api.base.exit_codes import ExitCode

__all__ = [
    "CandidateError",
    "CheckpointError",
    "ConfigurationError",
    "DataError",
    "DeviceError",
    "FolderInUseError",
    "Interrupted",
    "NumericalError",
    "TrainerError",
    "UnreachableError",
    "storage_sentence",
]

_STORAGE: Final = {
    errno.ENOSPC: "the disk is full; free space or enlarge the volume, then resume: the last checkpoint is whole",
    errno.EDQUOT: "the disk quota is used up; free space or raise the quota, then resume: the last checkpoint is whole",
    errno.EFBIG: "the file is larger than a limit of this process (ulimit -f) or of the file system allows; raise it, then resume",
    errno.EROFS: "the file system is read-only; mount it writable, then resume",
    errno.EACCES: "permission denied; give this user (in a pod: its fsGroup) the right to read and write there",
    errno.EPERM: "permission denied; give this user (in a pod: its fsGroup) the right to read and write there",
    errno.ENOTDIR: "a folder on this path is a file; move that file out of the way",
    errno.EEXIST: "a file is where a folder must be; move the file out of the way",
    errno.EIO: "the disk reports an input/output error; move the search to a sound one",
    errno.ESTALE: "the network file system lost the file; mount it again, then resume",
}


class TrainerError(Exception):
    """Root of the tree; raised itself only for a bug of AutoHAS."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG


class ConfigurationError(TrainerError):
    """The search cannot run as written; the sentence names the field and the offending value."""

    exit_code: ClassVar[ExitCode] = ExitCode.CONFIGURATION


class DataError(TrainerError):
    """A data file is missing or damaged; the sentence names the file, and the row where there is one."""

    exit_code: ClassVar[ExitCode] = ExitCode.DATA


class UnreachableError(DataError):
    """A store of data does not answer; the Job tries again up to backoffLimit."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG


class CheckpointError(TrainerError):
    """No checkpoint is usable, or one belongs to another search."""

    exit_code: ClassVar[ExitCode] = ExitCode.NO_CHECKPOINT


class FolderInUseError(TrainerError):
    """Another process works in the folder; the Job tries again up to backoffLimit."""


class NumericalError(TrainerError):
    """The default configuration diverged; an exact resume would diverge again."""

    exit_code: ClassVar[ExitCode] = ExitCode.NUMERICAL


class CandidateError(TrainerError):
    """One candidate cannot be trained: memory is full, or custom code raises. A search continues without the candidate."""

    exit_code: ClassVar[ExitCode] = ExitCode.CONFIGURATION

    def __init__(self, message: str, *, is_memory: bool = False) -> None:
        """`is_memory`: memory ran out, so that a smaller candidate or more memory would help."""
        super().__init__(message)
        self.is_memory = is_memory


class DeviceError(CandidateError):
    """The device failed while it trained a candidate; this process can compute nothing more."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERRUPTED

    def __init__(self, message: str, *, culprit: str) -> None:
        """`culprit`: key of the candidate in the fault file."""
        super().__init__(message)
        self.culprit = culprit


class Interrupted(TrainerError):  # noqa: N818 - a request that was obeyed, not an error
    """The process stopped on request after a checkpoint; a resume continues bit for bit."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERRUPTED


def storage_sentence(error: OSError) -> str | None:
    """Return a sentence with file, cause and remedy; None where the error is not one of storage."""
    advice = _STORAGE.get(error.errno or 0)
    return None if advice is None else f"{error.filename or 'a file'}: {advice}"

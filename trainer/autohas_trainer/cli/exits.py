"""The one place where an exception becomes an exit code and a sentence (API section 4).

A disk that is full, read-only or not ours exits 1, which the Job counts and repeats up to backoffLimit: the checkpoints are whole, space
can be freed and a volume remounted while the Job backs off, so the search is not lost; 78 would end it for good, 75 would repeat it
without end.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from autohas_api.names import ExitCode
from autohas_api.problems import SpecError
from autohas_trainer.errors import TrainerError

__all__ = ["Exit", "UsageError", "exit_of"]

_STORAGE: Final = {
    errno.ENOSPC: "the disk is full; free space or enlarge the volume, then resume: the last checkpoint is whole",
    errno.EDQUOT: "the disk quota is used up; free space or raise the quota, then resume: the last checkpoint is whole",
    errno.EROFS: "the file system is read-only; mount it writable, then resume",
    errno.EACCES: "permission denied; give this user (in a pod: its fsGroup) the right to write there",
    errno.EPERM: "permission denied; give this user (in a pod: its fsGroup) the right to write there",
    errno.ENOTDIR: "this must be a folder and is none; move the file out of the way",
    errno.EEXIST: "this must be a folder and is none; move the file out of the way",
    errno.EIO: "the disk reports an input/output error; move the search to a sound one",
    errno.ESTALE: "the network file system lost the file; mount it again, then resume",
}
_NO_SPACE_TEXT: Final = "No space left on device"


class UsageError(Exception):
    """The process was called wrongly: an argument, or a variable of the environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How the process ends, and why in one sentence; `is_bug` asks for the traceback."""

    code: ExitCode
    sentence: str
    is_bug: bool = False


def exit_of(error: BaseException) -> Exit:
    """What to do about an exception that nobody else handled."""
    end = _known(error)
    return end if end is not None else Exit(code=ExitCode.BUG, sentence=f"{type(error).__name__}: {error}", is_bug=True)


def _known(error: BaseException) -> Exit | None:
    code, text = ExitCode.BUG, str(error)
    match error:
        case TrainerError():
            code = error.exit_code
        case SpecError():
            code = ExitCode.CONFIGURATION
        case UsageError():
            code = ExitCode.USAGE
        case OSError() if error.errno in _STORAGE:
            text = f"{error.filename or 'a file'}: {_STORAGE[error.errno]}"
        case KeyboardInterrupt():
            text = "ended at once on request; the last checkpoint is kept"
        case _ if _is_out_of_memory(error):
            code = ExitCode.CONFIGURATION
            text = f"the search does not fit into the device's memory ({error}); lower task.recipe.batchSize or give it more memory"
        case _ if _NO_SPACE_TEXT in text:  # safetensors wraps the operating system's error
            text = f"a checkpoint: {_STORAGE[errno.ENOSPC]}"
        case _:
            return None
    return Exit(code=code, sentence=text, is_bug=isinstance(error, TrainerError) and code is ExitCode.BUG)


def _is_out_of_memory(error: BaseException) -> bool:
    """Also torch's own error, which must not be imported for this."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"

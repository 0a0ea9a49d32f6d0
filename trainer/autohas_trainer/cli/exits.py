"""The one place where an exception becomes an exit code and a sentence.

A disk that is full, read-only or not ours exits 1, which the Job counts and repeats up to backoffLimit: the checkpoints are whole, space
can be freed and a volume remounted while the Job backs off, so the search is not lost; 78 would end it for good, 75 would repeat it
without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autohas_api.base.install_hint import install_hint
from autohas_api.base.names import ExitCode
from autohas_api.base.spec_errors import SpecError
from autohas_api.base.text_encoding import replace_unprintable
from autohas_trainer.errors import TrainerError, storage_sentence

__all__ = ["Exit", "UsageError", "exit_of", "make_folder"]


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
    end = _classify(error)
    return (
        end if end is not None else Exit(code=ExitCode.BUG, sentence=replace_unprintable(f"{type(error).__name__}: {error}"), is_bug=True)
    )


def _classify(error: BaseException) -> Exit | None:
    code, text = ExitCode.BUG, str(error)
    match error:
        case TrainerError():
            code = error.exit_code
        case SpecError():
            code = ExitCode.CONFIGURATION
        case UsageError():
            code = ExitCode.USAGE
        case OSError() if (sentence := storage_sentence(error)) is not None:
            text = sentence
        case ModuleNotFoundError() if not (error.name or "autohas").startswith("autohas"):
            code = ExitCode.USAGE
            text = f"the package {error.name} is not installed; searches on this machine need the trainer: {install_hint('trainer')}"
        case KeyboardInterrupt():
            text = "ended at once on request; the last checkpoint is kept"
        case _ if _is_out_of_memory(error):
            code = ExitCode.CONFIGURATION
            text = f"the search does not fit into the device's memory ({error}); lower task.recipe.batchSize or give it more memory"
        case _:
            return None
    return Exit(code=code, sentence=replace_unprintable(text), is_bug=isinstance(error, TrainerError) and code is ExitCode.BUG)


def _is_out_of_memory(error: BaseException) -> bool:
    """Also torch's own error, which must not be imported for this."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def make_folder(folder: Path) -> None:
    """Make the folder of an `--out` before anything is loaded.

    Raises:
        UsageError: it cannot be made there at all (what a disk may get over is an OSError, as during the search).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if storage_sentence(error) is not None:
            raise
        raise UsageError(f"{folder}: no folder can be made here ({error.strerror or error}); choose another with --out DIR") from error

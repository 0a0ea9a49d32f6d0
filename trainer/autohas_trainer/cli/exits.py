"""Maps exceptions to exit codes and sentences, in one place.

A full, read-only or inaccessible disk exits 1, and so does a store of data that does not answer. The Job retries both up to backoffLimit:
the checkpoints are whole, and the user can free space or remount the volume while the Job backs off. Exit code 78 would end the search, 75
would retry without limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from autohas_api.base.exit_codes import ExitCode
from autohas_api.base.install_hint import install_hint
from autohas_api.base.spec_errors import SpecError
from autohas_api.base.text_encoding import replace_unprintable
from autohas_trainer.errors import TrainerError, storage_sentence

__all__ = ["Exit", "UsageError", "exit_of"]


class UsageError(Exception):
    """An argument or an environment variable is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """Exit code of the process and the reason in one sentence; `is_bug` prints the traceback."""

    code: ExitCode
    sentence: str
    is_bug: bool = False


def exit_of(error: BaseException) -> Exit:
    """Map an unhandled exception to the end of the process."""
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
        case ChildProcessError():
            pass  # a process that reads was killed: a retry continues from the checkpoint
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
    return Exit(code=code, sentence=replace_unprintable(text), is_bug=type(error) is TrainerError)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch's own error is known by name, so that torch need not be imported."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"

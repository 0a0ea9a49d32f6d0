"""The folder of `--out`: made before anything is loaded, and held by one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from autohas_trainer.cli.exits import UsageError
from autohas_trainer.errors import FolderInUseError, storage_sentence
from autohas_trainer.folder_lock import hold_folder, is_used

__all__ = ["refuse_used", "work_in"]


def refuse_used(folder: Path, command: str) -> None:
    """Refuse a folder that is not empty, so that no result is overwritten by accident. `command`: runs this search into it.

    Raises:
        UsageError: the folder holds something.
    """
    if is_used(folder):
        raise UsageError(f"{folder} is not empty. To continue the search in it:\n  {command} --resume\nor choose another with --out DIR")


@contextmanager
def work_in(folder: Path, print_line: Callable[[str], None]) -> Iterator[None]:
    """Make the folder of `--out` and hold it during the block; prints a line where the file system has no locks.

    Raises:
        UsageError: no folder can be made there, or another process works in it.
        OSError: the disk is full, read-only or inaccessible, as during the search.
    """
    _make(folder)
    with ExitStack() as stack:
        try:
            problem = stack.enter_context(hold_folder(folder))
        except FolderInUseError as error:
            raise UsageError(f"{error}, or choose another folder with --out DIR") from error
        if problem is not None:
            print_line(problem)
        yield


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if storage_sentence(error) is not None:
            raise
        raise UsageError(f"{folder}: no folder can be made here ({error.strerror or error}); choose another with --out DIR") from error

"""The one place that replaces files durably: temporary name, fsync, rename, fsync of the folder.

A reader finds the old file or the new one, never a part of one, also after a power failure. An OSError that leaves here always names
the file, so that one place (`autohas_trainer.cli.exits`) can say what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["fsync", "move_durably", "name_os_errors", "replace_file", "write_atomically", "write_durably"]


@contextmanager
def name_os_errors(path: Path) -> Iterator[None]:
    """Put `path` into every OSError of the block that names no file: write() and fsync() do not know theirs."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path for the block to write; at its end that file replaces `path` durably.

    An error of the block removes the temporary file and leaves `path` as it was.

    Raises:
        OSError: the disk is full, read-only or gone; names `path`.
    """
    temporary = path.with_name(f".{path.name}.writing")
    try:
        yield temporary
        move_durably(temporary, path)
    except OSError as error:
        _remove(temporary)
        error.filename, error.filename2 = str(path), None
        raise
    except BaseException:
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    """Remove a temporary file if the disk lets us: what has failed before is what the user must know."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably.

    Raises:
        OSError: the disk is full, read-only or gone; names `path`, whose old content is untouched.
    """
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def write_durably(path: Path, pieces: Iterable[memoryview], check: Callable[[], None] = lambda: None) -> None:
    """Write a file in pieces and flush it; its name is not durable yet. The interpreter's lock is free while a piece is written.

    `check` is called before each piece, and may raise.

    Raises:
        OSError: the disk is full, read-only or gone; names `path`.
    """
    with name_os_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            for piece in pieces:
                check()
                rest = piece
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move_durably(source: Path, target: Path) -> None:
    """Flush a file or folder, rename it to `target` on the same file system, and make the new name durable.

    Raises:
        OSError: the disk is full, read-only or gone; names a file.
    """
    fsync(source)
    source.rename(target)
    fsync(target.parent)


def fsync(path: Path) -> None:
    """Make a file's content durable, or a folder's names.

    Raises:
        OSError: the disk is full, read-only or gone; names `path`.
    """
    with name_os_errors(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

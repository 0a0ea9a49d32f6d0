"""Files that are there whole or not at all: temporary name, fsync, rename, fsync of the folder.

An OSError that leaves here always names the file, so that one place (`autohas_trainer.cli.exits`) can say what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["naming", "sync_folder", "write_whole"]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put `path` into every OSError of the block that names no file: write() and fsync() do not know theirs."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably.

    Raises:
        OSError: the disk is full, read-only or gone; the file that was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.writing")
    with naming(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

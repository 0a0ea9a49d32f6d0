"""Files that are named by the SHA-256 of their content: written once, never changed, so that many checkpoints can name one.

A file is written under another name, fsynced and renamed; `sync` makes the names durable. Only what follows a `sync` may name a file.
Hard links would do the same on fewer file systems: many claims have none.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autohas_trainer.atomic_file import fsync, name_os_errors, write_durably
from autohas_trainer.errors import CheckpointError

__all__ = ["CHUNK", "Content", "ContentFiles"]

CHUNK: Final = 2**23
"""Bytes that are hashed and written at a time. The interpreter's lock is free meanwhile."""
_TEMPORARY: Final = ".writing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of a file."""

    sha256: str
    size: int

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"sha256": self.sha256, "size": self.size}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Content:
        """Read `to_json`."""
        return cls(sha256=str(record["sha256"]), size=int(record["size"]))


class ContentFiles:
    """The files in one folder. One thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or written yet."""
        self._folder = folder
        self._whole: set[Content] = set()
        """What this process has written durably or read whole: a file that it knows nothing of may be torn."""
        self._unsynced: set[Content] = set()

    def put(self, content: Iterable[memoryview], check: Callable[[], None]) -> Content:
        """Write content, unless a file has it; not durable before `sync`.

        Args:
            content: At most CHUNK bytes each.
            check: Called between two pieces; may raise.

        Raises:
            OSError: the disk is full, read-only or gone; names a file.
        """
        pieces, digest = [*content], hashlib.sha256()
        for piece in pieces:
            check()
            digest.update(piece)
        written = Content(sha256=digest.hexdigest(), size=sum(len(piece) for piece in pieces))
        if not self.has(written):
            self._write(self.path(written), pieces, check)
            self._unsynced.add(written)
        return written

    def has(self, content: Content) -> bool:
        """Whether a file has this content, as far as this process knows."""
        if content not in self._whole and content not in self._unsynced:
            return False
        with suppress(OSError):
            return self.path(content).stat().st_size == content.size
        return False

    def _write(self, path: Path, pieces: Iterable[memoryview], check: Callable[[], None]) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir()
            fsync(self._folder.parent)
        temporary = self._folder / _TEMPORARY
        write_durably(temporary, pieces, check)
        with name_os_errors(path):
            temporary.rename(path)

    def sync(self) -> None:
        """Make the names of new files durable.

        Raises:
            OSError: the disk is full, read-only or gone.
        """
        if self._unsynced:
            fsync(self._folder)
            self._whole |= self._unsynced
            self._unsynced.clear()

    def require(self, contents: Iterable[Content]) -> None:
        """Refuse a checkpoint of which a file has gone: another process in this folder removes what it does not name itself.

        Raises:
            FileNotFoundError: names the file.
        """
        for content in contents:
            if not self.has(content):
                raise FileNotFoundError(errno.ENOENT, "removed by another process during the save", str(self.path(content)))

    def path(self, content: Content) -> Path:
        """Where content lies."""
        return self._folder / content.sha256

    def verify(self, content: Content) -> Path:
        """Return the path of a file that is whole.

        Raises:
            CheckpointError: it is torn.
            OSError: it is missing, or the disk does not answer.
        """
        path = self.path(content)
        with name_os_errors(path), path.open("rb") as file:
            size, digest = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
        if (size, digest) != (content.size, content.sha256):
            self._whole.discard(content)
            raise CheckpointError(f"{path.parent.name}/{path.name} is torn (size or SHA-256 differs from the manifest)")
        self._whole.add(content)
        return path

    def remove_unnamed(self, named: Collection[str]) -> None:
        """Remove every file whose SHA-256 is not among `named`, and what a kill left half written."""
        self._unsynced.clear()
        self._whole = {content for content in self._whole if content.sha256 in named}
        if self._folder.is_dir():
            for path in [path for path in self._folder.iterdir() if path.name not in named]:
                with suppress(OSError):
                    path.unlink()

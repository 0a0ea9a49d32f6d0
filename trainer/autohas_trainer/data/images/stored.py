"""Encoded images where they are stored: files, or other places that give their bytes one by one."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from autohas_trainer.errors import DataError

__all__ = ["EncodedImage", "ImageFile", "ImageFiles", "StoredImage", "StoredImages"]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """The bytes of an image file that is none; as text it is its place, for errors."""

    content: bytes
    place: str

    def __str__(self) -> str:
        """Return where the image lies."""
        return self.place

    def open(self) -> io.BytesIO:
        """Return the bytes as an open file."""
        return io.BytesIO(self.content)


class StoredImage(Protocol):
    """One image; it is sent to the processes that read, so it can be pickled."""

    def load(self) -> Path | EncodedImage:
        """Return the file, or the bytes.

        Raises:
            DataError: There is no image; names its place.
        """


class StoredImages(Protocol):
    """The images of a training or test split."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, row: int) -> StoredImage:
        """Return one image."""

    def choose(self, rows: npt.NDArray[np.integer]) -> StoredImages:
        """Return some of the images."""

    def check_access(self) -> None:
        """Refuse images that cannot be read one by one in any order, as batches need them.

        Raises:
            DataError: Says why.
        """

    def digest(self) -> str:
        """Return what identifies the images without reading all of them.

        Raises:
            DataError: A file has vanished.
        """


class ImageFile(NamedTuple):
    """An image that is a file."""

    path: str

    def load(self) -> Path:
        """Return the file."""
        return Path(self.path)


class ImageFiles:
    """Images that are files."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Hold the paths."""
        self._paths = paths

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._paths)

    def __getitem__(self, row: int) -> ImageFile:
        """Return one file."""
        return ImageFile(self._paths[row])

    def choose(self, rows: npt.NDArray[np.integer]) -> ImageFiles:
        """Return some of the files."""
        return ImageFiles([self._paths[row] for row in rows])

    def check_access(self) -> None:
        """Files can be read in any order."""

    def digest(self) -> str:
        """Return the SHA-256 of name and size of each file: reading all files would take as long as an epoch."""
        digest = hashlib.sha256()
        for file in self._paths:
            digest.update(f"{'/'.join(Path(file).parts[-3:])}\0{_size(file)}\0".encode(errors="surrogateescape"))
        return f"sha256:{digest.hexdigest()}"


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except FileNotFoundError as error:
        message = f"{file} has vanished since the folder was listed; put it back, or start a new search without it"
        raise DataError(message) from error

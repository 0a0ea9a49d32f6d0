"""One IDX file (MNIST's format), plain or gzipped, read with suspicion.

Header: two zero bytes, a type code, the number of dimensions, then each dimension as a big-endian 32-bit number.
Nothing is allocated on the word of a header alone; every defect ends in a `DataError` that names the file.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.files.gzip_file import explain_gzip_errors
from autohas_trainer.errors import DataError

__all__ = ["read_idx"]

_UNSIGNED_BYTE: Final = 0x08
_TYPES: Final = {0x09: "signed bytes", 0x0B: "16-bit integers", 0x0C: "32-bit integers", 0x0D: "32-bit floats", 0x0E: "64-bit floats"}
_MAX_DEFLATE_RATIO: Final = 1032
"""No deflate stream is more than this many times smaller than its content."""
_MAX_GIB: Final = 4
"""A larger file is not MNIST-like; the whole set must fit in memory four times as float32."""


def read_idx(path: Path, num_dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the content of `path`, uint8 with `num_dimensions` dimensions.

    Raises:
        DataError: The file cannot be read, is not IDX of unsigned bytes, or has not the size that its header states.
    """
    try:
        stored_bytes = path.stat().st_size
        with path.open("rb") as raw, explain_gzip_errors(path):
            zipped = path.suffix == ".gz"
            file = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if zipped else raw
            shape = _header(path, file, num_dimensions)
            _check_size(path, shape, stored_bytes * (_MAX_DEFLATE_RATIO if zipped else 1))
            return _payload(path, file, shape)
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror or error}); check the volume and its permissions"
        raise DataError(message) from error


def _header(path: Path, file: BinaryIO, num_dimensions: int) -> tuple[int, ...]:
    """Return the dimensions that the header states."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":  # noqa: PLR2004 - bytes of the magic number
        message = f"{path} does not begin as an IDX file (first bytes {magic.hex() or 'absent'}); is it the right file?"
        raise DataError(message)
    if magic[2] != _UNSIGNED_BYTE:
        kind = _TYPES.get(magic[2], "an unknown type")
        message = (
            f"{path} has IDX type code 0x{magic[2]:02x} ({kind}), only unsigned bytes (0x08) are read, since rounding would lose digits;"
            " convert it, or read it with custom code (task.data.entrypoint)"
        )
        raise DataError(message)
    if magic[3] != num_dimensions:
        message = f"{path} has {magic[3]} dimensions instead of {num_dimensions}; are images and labels swapped?"
        raise DataError(message)
    sizes = file.read(4 * num_dimensions)
    if len(sizes) < 4 * num_dimensions:
        message = f"{path} ends inside its header; copy it again"
        raise DataError(message)
    return struct.unpack(f">{num_dimensions}I", sizes)


def _check_size(path: Path, shape: tuple[int, ...], most_bytes: int) -> None:
    """Refuse a header that promises more than the file can hold, before anything is allocated."""
    promised = math.prod(shape)
    if promised == 0:
        message = f"{path} holds nothing (dimensions {shape}); replace it"
        raise DataError(message)
    if promised > _MAX_GIB << 30:
        message = f"{path} states {promised} bytes (dimensions {shape}), more than the {_MAX_GIB} GiB that are read; is the header damaged?"
        raise DataError(message)
    if promised > most_bytes:
        message = f"{path} is cut short: its header states {promised} bytes (dimensions {shape}); copy it again"
        raise DataError(message)


def _payload(path: Path, file: BinaryIO, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return the content; exactly as long as stated."""
    promised = math.prod(shape)
    content = io.BytesIO()
    while content.tell() <= promised and (block := file.read(min(1 << 20, promised + 1 - content.tell()))):
        content.write(block)
    if content.tell() != promised:
        what = "is cut short" if content.tell() < promised else "continues after its last row"
        message = f"{path} {what}: its header states {promised} bytes (dimensions {shape}); copy it again"
        raise DataError(message)
    return np.frombuffer(content.getbuffer(), dtype=np.uint8).reshape(shape)

"""Reads data frames of any library through the dataframe interchange protocol, `__dataframe__`.

Source: the Python dataframe interchange protocol of the Consortium for Python Data API Standards
(data-apis.org/dataframe-protocol). pandas and pyarrow have readers of their own; this one needs neither installed.
"""

from __future__ import annotations

import ctypes
import itertools
import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.errors import DataError

__all__ = ["read_data_frame"]

_INT, _UINT, _FLOAT, _BOOL, _STRING, _CATEGORICAL = 0, 1, 2, 20, 21, 23
"""Kinds of the protocol."""
_LETTERS: Final = {_INT: "i", _UINT: "u", _FLOAT: "f"}
_NAN, _SENTINEL, _BIT_MASK, _BYTE_MASK = 1, 2, 3, 4
"""How a column marks missing values; 0: none is missing."""
_BITS: Final = 8

Mask = npt.NDArray[np.bool_]


def read_data_frame(value: Any, wanted: Sequence[str]) -> tuple[list[str], dict[str, list[Any]]]:  # noqa: ANN401 - of any library
    """Return the names of all columns, and the values of the `wanted` ones that are there; None where a value is missing.

    Raises:
        DataError: A wanted column holds neither numbers, truth values nor text.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pandas and polars advertise the Arrow interface, which needs pyarrow here
        warnings.simplefilter("ignore", FutureWarning)
        frame = value.__dataframe__(allow_copy=True)
        names = [str(name) for name in frame.column_names()]
        chunks = list(frame.get_chunks())
        values = {
            name: [cell for chunk in chunks for cell in _cells(chunk.get_column_by_name(name), name)] for name in wanted if name in names
        }
    return names, values


def _cells(column: Any, name: str) -> list[Any]:  # noqa: ANN401 - of any library
    """Return the values of one chunk of a column."""
    size = int(column.size())
    if size == 0:
        return []
    kind, bits = int(column.dtype[0]), int(column.dtype[1])
    buffers = column.get_buffers()
    if kind == _CATEGORICAL:
        codes_N = _numbers(buffers["data"], column.offset, size)
        categories = _cells(column.describe_categorical["categories"], name)
        is_missing_N = _is_missing(column, codes_N, buffers) | (codes_N < 0)
        return [None if missing else categories[code] for code, missing in zip(codes_N.tolist(), is_missing_N, strict=True)]
    if kind == _STRING:
        texts = _texts(buffers, column.offset, size)
        return [None if missing else text for text, missing in zip(texts, _is_missing(column, None, buffers, size), strict=True)]
    if kind == _BOOL:
        values_N: npt.NDArray[Any] = _truths(buffers["data"][0], bits, column.offset, size)
    elif kind in _LETTERS:
        values_N = _numbers(buffers["data"], column.offset, size)
    else:
        message = f"the table: column {name!r} holds neither numbers nor text; write its values as training read them from the file"
        raise DataError(message)
    is_missing_N = _is_missing(column, values_N, buffers)
    return [None if missing else value for value, missing in zip(values_N.tolist(), is_missing_N, strict=True)]


def _is_missing(column: Any, values_N: npt.NDArray[Any] | None, buffers: Any, size: int = 0) -> Mask:  # noqa: ANN401 - as above
    """Return which values are missing (N,)."""
    kind, mark = column.describe_null
    number = size if values_N is None else len(values_N)
    if kind == _SENTINEL and values_N is not None:
        return np.asarray(values_N == mark)
    if kind in (_BIT_MASK, _BYTE_MASK) and buffers["validity"] is not None:
        bits = 1 if kind == _BIT_MASK else _BITS
        return np.asarray(_truths(buffers["validity"][0], bits, column.offset, number) == bool(mark))
    if kind == _NAN and values_N is not None and values_N.dtype.kind == "f":
        return np.asarray(np.isnan(values_N))
    return np.zeros(number, dtype=np.bool_)


def _bytes(buffer: Any) -> npt.NDArray[np.uint8]:  # noqa: ANN401 - of any library
    """Return a copy of the memory of a buffer."""
    if buffer.bufsize == 0:
        return np.empty(0, dtype=np.uint8)
    return np.frombuffer((ctypes.c_uint8 * buffer.bufsize).from_address(buffer.ptr), dtype=np.uint8).copy()


def _numbers(data: Any, offset: int, size: int) -> npt.NDArray[Any]:  # noqa: ANN401 - as above
    buffer, (kind, bits, *_) = data
    return _bytes(buffer).view(f"{_LETTERS[int(kind)]}{int(bits) // _BITS}")[offset : offset + size]


def _truths(buffer: Any, bits: int, offset: int, size: int) -> Mask:  # noqa: ANN401 - as above
    """Return truth values that take one bit or one byte each."""
    raw = _bytes(buffer)
    return (np.unpackbits(raw, bitorder="little") if bits == 1 else raw)[offset : offset + size].astype(np.bool_)


def _texts(buffers: Any, offset: int, size: int) -> list[str]:  # noqa: ANN401 - as above
    """Return UTF-8 texts, which lie end to end."""
    ends = _numbers(buffers["offsets"], offset, size + 1).tolist()
    raw = _bytes(buffers["data"][0]).tobytes()
    return [raw[start:end].decode("utf-8") for start, end in itertools.pairwise(ends)]

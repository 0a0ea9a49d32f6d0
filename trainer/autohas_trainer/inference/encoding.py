"""Raw examples to inputs, by the kind of data that preprocessing.json names; each kind is read by the code that read the training data."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from autohas_trainer.data.tables.columns import Categorical, Column, Numeric, encode_columns, place_columns
from autohas_trainer.data.tables.table import check_missing
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.errors import DataError
from autohas_trainer.inference.table_input import as_table
from autohas_trainer.inference.text_input import TextEncoder

__all__ = ["Encoder", "encoder_of"]

Encoder = Callable[[Any], Tensor]
"""Raw examples to inputs (N, C, ...) on the CPU."""
_MAX_SHOWN: Final = 3


def encoder_of(preprocessing: Mapping[str, Any]) -> Encoder:
    """Return the encoder of a model's kind of data.

    Raises:
        DataError: preprocessing.json has a kind of another version.
    """
    data, inputs = preprocessing["data"], preprocessing["inputs"]
    shape = tuple(inputs["shape"])
    match data.get("kind"):
        case "table":
            return _TableEncoder(data)
        case "images":
            # Pillow is imported here, since only images need it
            from autohas_trainer.inference.image_input import ImageEncoder  # noqa: PLC0415

            return ImageEncoder(data)
        case "pixels":
            return _PixelEncoder(shape, float(data["divideBy"]))
        case "text":
            return TextEncoder(shape[0], data)
        case "tokens":
            return _ArrayEncoder(shape, inputs["type"], "its own data", vocabulary=int(data["vocabulary"]))
        case "custom":
            return _ArrayEncoder(shape, inputs["type"], str(data.get("entrypoint", "its own data")))
        case kind:
            message = f"preprocessing.json has data of kind {kind!r}, which this version cannot encode; use the version that wrote it"
            raise DataError(message)


class _TableEncoder:
    """Rows of a table: words become ones and zeros, numbers stay as they are, NaN where missing."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """Read the columns of preprocessing.json."""
        self._columns: list[Column] = [_column_of(record) for record in data["columns"]]
        self._delimiter, self._has_header = data["delimiter"], bool(data["hasHeader"])
        self._refuses_missing = bool(data.get("refusesMissing", False))

    def __call__(self, examples: Any) -> Tensor:  # noqa: ANN401 - whatever the user has
        """Return float64 (N, D)."""
        table = as_table(examples, self._columns, delimiter=self._delimiter, has_header=self._has_header)
        absent = [column.name for column in self._columns if column.name not in table.columns]
        if absent:
            message = (
                f"{table.path} has no column {absent[0]!r}, which the training data had; its columns are {', '.join(table.header[:20])}"
            )
            raise DataError(message)
        if self._refuses_missing:
            check_missing(table, self._columns, "fill it in: the training data had a value in every row")
        encoded = encode_columns(table, self._columns)
        for column, part in place_columns(self._columns):
            if isinstance(column, Categorical):
                _warn_of_new_words(column, table, encoded[:, part].any(axis=1))
        return torch.from_numpy(encoded)


def _column_of(record: Mapping[str, Any]) -> Column:
    if record["type"] == "words":
        return Categorical(name=record["name"], categories=tuple(record["words"]))
    return Numeric(name=record["name"], marks_missing=bool(record["marksMissing"]))


def _warn_of_new_words(column: Categorical, table: Table, is_known_N: Any) -> None:  # noqa: ANN401 - an array of booleans
    new = dict.fromkeys(table.columns[column.name][int(row)] for row in np.flatnonzero(~is_known_N))
    if new:
        listed = ", ".join(map(repr, list(new)[:_MAX_SHOWN])) + (", ..." if len(new) > _MAX_SHOWN else "")
        number = int((~is_known_N).sum())
        message = f"{number} of {len(table)} rows have a word in column {column.name} that training never saw ({listed}): 0 in all"
        warnings.warn(message, UserWarning, stacklevel=6)


class _PixelEncoder:
    """Images of one size as arrays of levels from 0, as idx files and scikit-learn's digits hold them."""

    def __init__(self, shape: tuple[int, ...], divide_by: float) -> None:
        """`divide_by` is the level of white, 1 where inputs are used as they are."""
        self._shape, self._divide_by = shape, divide_by

    def __call__(self, examples: Any) -> Tensor:  # noqa: ANN401 - whatever the user has
        """Return float32 (N, 1, H, W), levels divided by that of white."""
        images = [_levels(example, number) for number, example in enumerate(_listed(examples))]
        encoded = np.empty((len(images), *self._shape), dtype=np.float32)
        for number, levels in enumerate(images):
            one = levels[0] if levels.ndim == len(self._shape) and len(levels) == 1 else levels
            if one.shape != self._shape[1:]:
                message = f"image {number} has shape {levels.shape}, the training images have {self._shape[1:]} (height, width)"
                raise DataError(message)
            if self._divide_by > 1 and not (levels.min() >= 0 and levels.max() <= self._divide_by):
                message = f"image {number} has levels from {levels.min():g} to {levels.max():g}, must be 0 to {self._divide_by:g}"
                raise DataError(message)
            encoded[number, 0] = one.astype(np.float32) / np.float32(self._divide_by)
        return torch.from_numpy(encoded)


def _listed(examples: Any) -> Any:  # noqa: ANN401 - as below
    """Return the examples one by one; a single path is one example."""
    if isinstance(examples, str | os.PathLike) or hasattr(examples, "getbands"):
        return [examples]
    return examples.detach().cpu().numpy() if isinstance(examples, Tensor) else examples


def _levels(example: Any, number: int) -> Any:  # noqa: ANN401 - a file, a Pillow image or an array
    """Return the levels of one image, finite numbers."""
    if isinstance(example, str | os.PathLike):
        from autohas_trainer.data.images.image_file import ImageOptions, ImageReader  # noqa: PLC0415 - as above

        reader = ImageReader(options=ImageOptions(size=None, mode="L", background="white"))
        return reader.read(Path(example), reader.size_of(Path(example)))
    levels = np.asarray(example.convert("L") if hasattr(example, "convert") else example)
    if not np.issubdtype(levels.dtype, np.number) or not np.isfinite(levels).all():
        message = f"image {number} is an array of {levels.dtype}, it must hold finite numbers"
        raise DataError(message)
    return levels


class _ArrayEncoder:
    """Arrays as an own data source gives them: nothing is known of how they were made."""

    def __init__(self, shape: tuple[int, ...], dtype: str, source: str, *, vocabulary: int | None = None) -> None:
        """`shape` of one input, `dtype` as the network takes it; integers must be below `vocabulary`."""
        self._shape, self._dtype, self._source, self._vocabulary = shape, dtype, source, vocabulary

    def __call__(self, examples: Any) -> Tensor:  # noqa: ANN401 - whatever the user has
        """Return the array as a tensor (N, ...)."""
        array = examples.detach().cpu().numpy() if isinstance(examples, Tensor) else np.asarray(examples)
        if array.shape[1:] != self._shape:
            message = f"inputs have shape {array.shape}, they must be (N, {', '.join(map(str, self._shape))}), as {self._source} gives them"
            raise DataError(message)
        is_integer = np.issubdtype(array.dtype, np.integer)
        if self._dtype == "int64" and not is_integer:
            message = f"inputs are of type {array.dtype}, they must be integers, as {self._source} gives them"
            raise DataError(message)
        encoded = array.astype(self._dtype)
        if self._vocabulary is not None and array.size and not (array.min() >= 0 and array.max() < self._vocabulary):
            message = f"inputs have tokens from {array.min()} to {array.max()}, the vocabulary has 0 to {self._vocabulary - 1}"
            raise DataError(message)
        if not np.isfinite(encoded).all():
            rows = (~np.isfinite(encoded)).reshape(len(encoded), -1).any(axis=1)
            message = f"inputs have a value that is not finite in row {int(np.argmax(rows))}; fix or drop it"
            raise DataError(message)
        return torch.from_numpy(encoded)

"""What a user holds as a table, as the text that the reader of CSV files gives: one conversion serves training and prediction."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autohas_trainer.data.arrow.arrow_file import ARROW_SUFFIXES, read_arrow_table
from autohas_trainer.data.tables.cells import match_spelling, spell_as
from autohas_trainer.data.tables.columns import Categorical, Column
from autohas_trainer.data.tables.table_file import Table, read_table
from autohas_trainer.errors import DataError
from autohas_trainer.inference.data_frame import read_data_frame

__all__ = ["as_table"]

_MISSING_TYPES = frozenset({"NAType", "NaTType"})
"""Names of pandas' types for a missing value, which need not be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MemoryTable(Table):
    """A table without a file."""

    def place(self, row: int) -> str:
        """Return the number of the row, counted from 0."""
        return f"{self.path}, row {row}"


def as_table(value: Any, columns: Sequence[Column], *, delimiter: str, has_header: bool) -> Table:  # noqa: ANN401 - whatever the user has
    """Return a CSV, Parquet or Arrow file, a mapping of columns or a data frame as a table; of all but a CSV only `columns` are read.

    Raises:
        DataError: It is none of these, or its columns have different lengths; names the column.
    """
    if isinstance(value, str | os.PathLike):
        if Path(value).suffix in ARROW_SUFFIXES:
            return _read_arrow(Path(value), columns)
        return read_table(Path(value), delimiter, has_header=has_header)
    if isinstance(value, Mapping):
        names = [str(name) for name in value]
        values = {str(name): _cells(str(name), cells) for name, cells in value.items() if str(name) in {c.name for c in columns}}
    elif hasattr(value, "__dataframe__"):
        names, values = read_data_frame(value, [column.name for column in columns])
    else:
        message = (
            "a table must be the path of a CSV or Parquet file, a mapping from column to values, or a data frame, not a"
            f" {type(value).__name__}"
        )
        raise DataError(message)
    lengths = {name: len(cells) for name, cells in values.items()}
    for name, length in lengths.items():
        if length != next(iter(lengths.values())):
            first = next(iter(lengths))
            message = f"the table: column {name!r} has {length} values, column {first!r} has {lengths[first]}"
            raise DataError(message)
    words = {column.name: column.categories if isinstance(column, Categorical) else () for column in columns}
    texts = {name: tuple(_text(cell, words[name]) for cell in cells) for name, cells in values.items()}
    rows = range(next(iter(lengths.values()), 0))
    return _MemoryTable(path=Path("the table"), header=tuple(names), columns=texts, lines=tuple(rows))


def _read_arrow(path: Path, columns: Sequence[Column]) -> Table:
    """Return a Parquet or Arrow file, with words as training spelled them."""
    table = read_arrow_table([path], only={column.name for column in columns})
    words = {column.name: column.categories for column in columns if isinstance(column, Categorical)}
    cells = {name: match_spelling(given, words[name]) if name in words else given for name, given in table.columns.items()}
    return replace(table, columns=cells)


def _cells(name: str, cells: Any) -> list[Any]:  # noqa: ANN401 - whatever the user has
    if isinstance(cells, str | bytes) or not isinstance(cells, Iterable):
        message = f"the table: column {name!r} is {cells!r}, it must be a list or an array of values"
        raise DataError(message)
    return list(cells)


def _text(cell: Any, words: Sequence[str]) -> str:  # noqa: ANN401 - whatever a table holds
    """Return a cell as a CSV file would hold it; in a column of words, a number or a truth value as training spelled it."""
    if isinstance(cell, str):
        return cell.strip()
    value = cell.item() if hasattr(cell, "item") else cell  # numpy's numbers
    if value is None or type(value).__name__ in _MISSING_TYPES or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value).strip()  # of a float: the shortest decimal that reads back as it
    if text in words or not isinstance(value, int | float):  # a truth value is an int
        return text
    spelled = spell_as(text.casefold() if isinstance(value, bool) else text, words)
    return spelled if spelled in words else text

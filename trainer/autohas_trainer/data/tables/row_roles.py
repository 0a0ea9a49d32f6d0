"""Columns that say which rows belong together or come later, and are no inputs: `task.data.arguments.group` and `order`."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Final

import numpy as np

from autohas_trainer.data.raw import Ints
from autohas_trainer.data.spellings import equal_numbers, exact_number
from autohas_trainer.data.tables.cells import Numbers, Words, distinct_words, encode_words, find_missing, first_rows
from autohas_trainer.data.tables.columns import MISSING
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.errors import DataError

__all__ = ["read_groups", "read_order"]

_Time = tuple[datetime, str]
"""A date to the microsecond, and the digits of the second after those: nanoseconds tell rows apart too."""
_FINER: Final = re.compile(r"\.\d{6}(\d+)")


def read_groups(table: Table, column: str) -> Ints:
    """Return the number (N,) of each row's group.

    Raises:
        DataError: A cell is empty, or two groups are one number in two spellings; names line and column.
    """
    cells = table.columns[column]
    _refuse_missing(table, column, "group")
    pair = equal_numbers(distinct_words(cells))
    if pair is not None:
        message = (
            f"{table.place(cells.index(pair[1]))}: group {pair[1]!r} in column {column} is the number that another row writes as"
            f" {pair[0]!r}: one group in two spellings could lie in two splits; write them alike"
        )
        raise DataError(message)
    encoded = encode_words(cells)
    numbers_N: Ints = np.unique(encoded.words, return_inverse=True)[1].astype(np.int64)[encoded.codes_N]
    return numbers_N


def read_order(table: Table, column: str) -> Ints:
    """Return the position (N,) of each row in time, equal for equal cells; every digit of a number counts.

    Raises:
        DataError: A cell is empty, or the column is neither of numbers nor of dates as ISO 8601 writes them; names line and column.
    """
    _refuse_missing(table, column, "order")
    if isinstance(given := table.columns[column], Numbers):
        positions_N: Ints = np.unique(given.values_N, return_inverse=True)[1].astype(np.int64)
        return positions_N
    cells = encode_words(given)
    numbers_W = [exact_number(word) for word in cells.words]
    times_W: list[Decimal] | list[_Time] = [value for value in numbers_W if value is not None]
    if not times_W:
        times_W = _read_dates(table, column, cells)
    elif len(times_W) < len(numbers_W):
        row = find_missing(cells, lambda word: exact_number(word) is None)
        assert row is not None  # noqa: S101 - some word is no number
        message = f"{table.place(row)}: {cells[row]!r} in column {column} is no number, and other rows are; the order must be one of both"
        raise DataError(message)
    ranks = {time: rank for rank, time in enumerate(sorted(set(times_W)))}  # type: ignore[type-var]  # all of one type
    ranks_N: Ints = np.array([ranks[time] for time in times_W], dtype=np.int64)[cells.codes_N]
    return ranks_N


def _read_dates(table: Table, column: str, cells: Words) -> list[_Time]:
    """Return the date of each word."""
    rows = first_rows(cells, range(len(cells)))
    times = {word: _date(table, column, row, word) for word, row in rows.items()}
    zones = [time.tzinfo is not None for time, _ in times.values()]
    if len(set(zones)) > 1:
        row = list(rows.values())[zones.index(not zones[0])]
        message = f"{table.place(row)}: some times in column {column} have a time zone and some have none"
        raise DataError(message)
    return [times[word] for word in cells.words]


def _date(table: Table, column: str, row: int, cell: str) -> _Time:
    finer = _FINER.search(cell)
    try:
        return datetime.fromisoformat(cell), "" if finer is None else finer[1].rstrip("0")
    except ValueError as error:
        message = (
            f"{table.place(row)}: {cell!r} in column {column} is neither a number nor a date like 2024-01-31 or 2024-01-31T12:00, so"
            " rows cannot be ordered by it"
        )
        raise DataError(message) from error


def _refuse_missing(table: Table, column: str, argument: str) -> None:
    cells = table.columns[column]
    row = find_missing(cells, MISSING.__contains__)
    if row is not None:
        message = f"{table.place(row)}: column {column} (task.data.arguments.{argument}) has no value ({cells[row]!r}); fill it in"
        raise DataError(message)

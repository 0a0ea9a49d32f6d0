"""Columns that say which rows belong together or come later, and are no inputs: `task.data.arguments.group` and `order`."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from autohas_trainer.data.raw import Ints
from autohas_trainer.data.spellings import equal_numbers, number
from autohas_trainer.data.tables.columns import MISSING
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.errors import DataError

__all__ = ["read_groups", "read_order"]


def read_groups(table: Table, column: str) -> Ints:
    """Return the number (N,) of each row's group.

    Raises:
        DataError: A cell is empty, or two groups are one number in two spellings; names line and column.
    """
    cells = table.columns[column]
    _refuse_missing(table, column, "group")
    pair = equal_numbers(dict.fromkeys(cells))
    if pair is not None:
        message = (
            f"{table.place(cells.index(pair[1]))}: group {pair[1]!r} in column {column} is the number that another row writes as"
            f" {pair[0]!r}: one group in two spellings could lie in two splits; write them alike"
        )
        raise DataError(message)
    numbers: Ints = np.unique(cells, return_inverse=True)[1].astype(np.int64)
    return numbers


def read_order(table: Table, column: str) -> Ints:
    """Return the position (N,) of each row in time, equal for equal cells.

    Raises:
        DataError: A cell is empty, or the column is neither of numbers nor of dates as ISO 8601 writes them; names line and column.
    """
    cells = table.columns[column]
    _refuse_missing(table, column, "order")
    times: list[float] | list[datetime] = [value for cell in cells if (value := number(cell)) is not None]
    if not times:
        times = [_date(table, column, row, cell) for row, cell in enumerate(cells)]
        is_aware = [time.tzinfo is not None for time in times]
        if len(set(is_aware)) > 1:
            message = f"{table.place(is_aware.index(not is_aware[0]))}: some times in column {column} have a time zone and some have none"
            raise DataError(message)
    elif len(times) < len(cells):
        row = next(row for row, cell in enumerate(cells) if number(cell) is None)
        message = f"{table.place(row)}: {cells[row]!r} in column {column} is no number, and other rows are; the order must be one of both"
        raise DataError(message)
    ranks = {time: rank for rank, time in enumerate(sorted(set(times)))}  # type: ignore[type-var]  # all of one type
    return np.array([ranks[time] for time in times], dtype=np.int64)


def _date(table: Table, column: str, row: int, cell: str) -> datetime:
    try:
        return datetime.fromisoformat(cell)
    except ValueError as error:
        message = (
            f"{table.place(row)}: {cell!r} in column {column} is neither a number nor a date like 2024-01-31 or 2024-01-31T12:00, so"
            " rows cannot be ordered by it"
        )
        raise DataError(message) from error


def _refuse_missing(table: Table, column: str, argument: str) -> None:
    for row, cell in enumerate(table.columns[column]):
        if cell in MISSING:
            message = f"{table.place(row)}: column {column} (task.data.arguments.{argument}) has no value ({cell!r}); fill it in"
            raise DataError(message)

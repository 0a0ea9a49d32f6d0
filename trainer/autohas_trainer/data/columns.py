"""From text to numbers, column by column: what a column is follows from the training file alone, the test file is read the same way.

Numeric columns are standardised later, by the train split only (`Splits`); a missing number is NaN until then and becomes the train
split's mean. Categories become one column each, 1 or 0, which is not standardised; one that training never saw is 0 in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from autohas_trainer.data.raw import Floats
from autohas_trainer.data.table_file import Table
from autohas_trainer.errors import DataError

__all__ = ["LARGEST", "MISSING", "Categorical", "Column", "Numeric", "number", "read_columns"]

MISSING: Final = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"})
"""Cells that say that a value is not known."""
MAX_CATEGORIES: Final = 256
LARGEST: Final = 1e100
"""Larger numbers (and infinity) are defects: their squares, which deviations need, would soon be infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """A number per row, and a second column, 1 where it is missing, when the training file misses some."""

    name: str
    marks_missing: bool

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Which of the encoded columns are standardised."""
        return (True, False) if self.marks_missing else (True,)

    def encode(self, table: Table) -> Floats:
        """Return (N, 1 or 2) float64, NaN where missing: a date in seconds would lose two minutes in float32.

        Raises:
            DataError: A cell is neither missing nor a finite number.
        """
        values_N = np.array([self._value(table, row, cell) for row, cell in enumerate(table.columns[self.name])], dtype=np.float64)
        return np.stack((values_N, np.isnan(values_N).astype(np.float64)), axis=1) if self.marks_missing else values_N[:, None]

    def _value(self, table: Table, row: int, cell: str) -> float:
        if cell in MISSING:
            return math.nan
        value = number(cell)
        if value is None or not abs(value) < LARGEST:
            message = (
                f"{table.place(row)}: {cell!r} in column {self.name} is no finite number, as the others are; fix it{_declare(self.name)}"
            )
            raise DataError(message)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Categorical:
    """One of a few words per row; a missing one is a category of its own, the empty word."""

    name: str
    categories: tuple[str, ...]

    @property
    def scaled(self) -> tuple[bool, ...]:
        """None of the encoded columns is standardised."""
        return (False,) * len(self.categories)

    def encode(self, table: Table) -> Floats:
        """Return (N, number of categories) float64 of zeros and ones."""
        position = {category: index for index, category in enumerate(self.categories)}
        encoded = np.zeros((len(table), len(self.categories)), dtype=np.float64)
        for row, cell in enumerate(table.columns[self.name]):
            index = position.get("" if cell in MISSING else cell)
            if index is not None:
                encoded[row, index] = 1
        return encoded


Column = Numeric | Categorical


def read_columns(table: Table, names: Sequence[str], categorical: frozenset[str]) -> list[Column]:
    """Say what each of `names` is: categorical when declared or when none of its cells is a number, else numeric.

    Raises:
        DataError: A column mixes numbers and words, has no value at all, or too many categories.
    """
    return [_categorical(table, name) if name in categorical else _inferred(table, name) for name in names]


def number(cell: str) -> float | None:
    """Return the number that a cell is, None when it is none."""
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def _inferred(table: Table, name: str) -> Column:
    cells = table.columns[name]
    known = [(row, cell) for row, cell in enumerate(cells) if cell not in MISSING]
    if not known:
        message = f"{table.path}: column {name} has no value at all; name it in task.data.arguments.ignore"
        raise DataError(message)
    words = [(row, cell) for row, cell in known if number(cell) is None]
    if len(words) == len(known):
        return _categorical(table, name)
    if words:
        row, cell = words[0]
        message = (
            f"{table.place(row)}: {cell!r} in column {name} is no number, {len(known) - len(words)} others are; fix it{_declare(name)}"
        )
        raise DataError(message)
    return Numeric(name=name, marks_missing=len(known) < len(cells))


def _categorical(table: Table, name: str) -> Categorical:
    categories = sorted({"" if cell in MISSING else cell for cell in table.columns[name]})
    if len(categories) > MAX_CATEGORIES:
        message = (
            f"{table.path}: column {name} has {len(categories)} categories in {len(table)} rows, at most {MAX_CATEGORIES} are taken;"
            " group them, or name it in task.data.arguments.ignore"
        )
        raise DataError(message)
    return Categorical(name=name, categories=tuple(categories))


def _declare(name: str) -> str:
    return f", or name {name} in task.data.arguments.categorical"

"""From text to numbers, column by column: what a column is follows from the training file alone, the test file is read the same way.

Numeric columns are standardised later, by the train split only (`Splits`); a missing number is NaN until then and becomes the train
split's mean. Categories become one column each, 1 or 0, which is not standardised; one that training never saw is 0 in all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.raw import Floats, Ints
from autohas_trainer.data.spellings import equal_numbers, equal_words, number
from autohas_trainer.data.tables.cells import Numbers, distinct_words, encode_words, first_rows, which
from autohas_trainer.data.tables.doubts import describe_notation, doubt_numbers, doubt_words
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.errors import DataError

__all__ = [
    "LARGEST",
    "MISSING",
    "MISSING_NUMBERS",
    "Categorical",
    "Column",
    "Declared",
    "Numeric",
    "encode_columns",
    "is_missing_number",
    "place_columns",
    "read_columns",
]

MISSING: Final = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"})
"""Cells that say that a value is not known."""
MISSING_NUMBERS: Final = frozenset(
    {
        "na",
        "n/a",
        "n.a.",
        "nan",
        "-nan",
        "+nan",
        "null",
        "none",
        "nil",
        "-",
        "--",
        "\u2013",
        ".",
        "*",
        "<na>",
        "#n/a",
        "#na",
        "#null!",
        "\\n",
    }
)
"""The same, in any letter case, where all other cells of the column are numbers: there they cannot be words."""
MAX_CATEGORIES: Final = 256
LARGEST: Final = 1e100
"""Larger numbers (and infinity) are defects: their squares, which deviations need, would soon be infinite."""
_MAX_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the search says of columns, by name: these are not guessed."""

    categorical: frozenset[str] = frozenset()
    numeric: frozenset[str] = frozenset()


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
        values_N = self._values(table)
        return np.stack((values_N, np.isnan(values_N).astype(np.float64)), axis=1) if self.marks_missing else values_N[:, None]

    def describe(self, table: Table) -> str:
        """Return what the column became, with its range and how many of its cells are missing."""
        values_N = self.encode(table)[:, 0]
        num_missing = int(np.isnan(values_N).sum())
        least, most = float(np.nanmin(values_N)), float(np.nanmax(values_N))
        extent = f"number, always {least:g}" if least == most else f"number from {_apart(least, most)}"
        missing = f"; {num_missing:,} of {len(table):,} are missing: they become the mean, and a column of its own marks them"
        return f"{self.name}: {extent}{missing if num_missing else ''}"

    def record(self) -> dict[str, Any]:
        """Return what preprocessing.json says of it."""
        return {"name": self.name, "type": "number", "marksMissing": self.marks_missing}

    def _values(self, table: Table) -> npt.NDArray[np.float64]:
        cells = table.columns[self.name]
        if not isinstance(cells, Numbers):
            return np.fromiter((self._value(table, row, cell) for row, cell in enumerate(cells)), dtype=np.float64, count=len(cells))
        values_N = cells.as_floats()
        is_wrong_N = np.abs(values_N) >= LARGEST  # NaN is missing
        if is_wrong_N.any():
            row = int(is_wrong_N.argmax())
            self._value(table, row, cells[row])
        return values_N

    def _value(self, table: Table, row: int, cell: str) -> float:
        if is_missing_number(cell):
            return math.nan
        value = number(cell)
        if value is None or not abs(value) < LARGEST:
            message = (
                f"{table.place(row)}: {cell!r} in column {self.name} is no finite number, as the others are{describe_notation(cell)};"
                f" fix it{_declare(self.name)}"
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
        cells = encode_words(table.columns[self.name])
        index_W = np.array([position.get("" if word in MISSING else word, -1) for word in cells.words], dtype=np.int64)
        index_N = index_W[cells.codes_N]
        encoded = np.zeros((len(table), len(self.categories)), dtype=np.float64)
        rows = np.flatnonzero(index_N >= 0)
        encoded[rows, index_N[rows]] = 1
        return encoded

    def describe(self, table: Table) -> str:
        """Return what the column became, with its first words, and two that may be one."""
        words = [word or "(missing)" for word in self.categories]
        listed = ", ".join(words[:_MAX_SHOWN]) + (", ..." if len(words) > _MAX_SHOWN else "")
        pair = equal_words(self.categories)
        alike = f"; {pair[0]!r} and {pair[1]!r} count as two words" if pair is not None else ""
        return f"{self.name}: one input for each of {len(words)} words in {len(table):,} rows ({listed}){alike}"

    def record(self) -> dict[str, Any]:
        """Return what preprocessing.json says of it."""
        return {"name": self.name, "type": "words", "words": list(self.categories)}


Column = Numeric | Categorical


def read_columns(table: Table, names: Sequence[str], declared: Declared) -> list[Column]:
    """Say what each of `names` is: as declared, else categorical when none of its cells is a number, else numeric.

    Raises:
        DataError: A column mixes numbers and words, has no value at all, or too many categories, or it is doubtful what it is: dates,
            identifiers, numbers in another notation.
    """
    return [_read_categorical(table, name) if name in declared.categorical else _infer_column(table, name, declared) for name in names]


def encode_columns(table: Table, columns: Sequence[Column]) -> Floats:
    """Return the columns as inputs (N, D) float64, one column at a time.

    Raises:
        DataError: A cell is not what the column is.
    """
    encoded = np.empty((len(table), sum(len(column.scaled) for column in columns)), dtype=np.float64)
    for column, part in place_columns(columns):
        encoded[:, part] = column.encode(table)
    return encoded


def place_columns(columns: Sequence[Column]) -> Iterator[tuple[Column, slice]]:
    """Yield each column with its place among the inputs."""
    ends = itertools.accumulate((len(column.scaled) for column in columns), initial=0)
    return ((column, slice(*part)) for column, part in zip(columns, itertools.pairwise(ends), strict=True))


def is_missing_number(cell: str) -> bool:
    """Whether a cell among numbers says that a value is not known."""
    return cell in MISSING or cell.lower() in MISSING_NUMBERS


def _infer_column(table: Table, name: str, declared: Declared) -> Column:
    cells = table.columns[name]
    if isinstance(cells, Numbers):
        number_rows = cells.known_rows
    else:
        is_number_N = which(cells, lambda cell: number(cell) is not None and not is_missing_number(cell))
        if not is_number_N.any() and name not in declared.numeric:
            return _infer_categorical(table, name)
        words = np.flatnonzero(~is_number_N & ~which(cells, is_missing_number))
        if len(words):
            raise DataError(_describe_mixed(table, name, words, int(is_number_N.sum())))
        number_rows = np.flatnonzero(is_number_N)
    _refuse_empty(table, name, len(number_rows))
    if name not in declared.numeric:
        doubt_numbers(table, name, number_rows)
    return Numeric(name=name, marks_missing=len(number_rows) < len(cells))


def _describe_mixed(table: Table, name: str, words: Ints, num_numbers: int) -> str:
    """Return the error about words, in these rows, of a column of numbers."""
    cells, row = table.columns[name], int(words[0])
    looks = describe_notation(*first_rows(cells, words))
    header = "; if line 1 names the columns, remove task.data.arguments.header" if table.is_headerless and row == 0 else ""
    others = f"{num_numbers} others are" if num_numbers else "but the column is declared as numeric"
    return f"{table.place(row)}: {cells[row]!r} in column {name} is no number, {others}{looks}; fix it{_declare(name)}{header}"


def _infer_categorical(table: Table, name: str) -> Categorical:
    rows = np.flatnonzero(~which(table.columns[name], MISSING.__contains__))
    _refuse_empty(table, name, len(rows))
    doubt_words(table, name, rows)
    return _categorical(table, name)


def _read_categorical(table: Table, name: str) -> Categorical:
    """Return the column of words; numbers among them are names, so two spellings of one number would be two names.

    Raises:
        DataError: A number is written in two ways; names both lines.
    """
    cells = table.columns[name]
    _refuse_empty(table, name, int((~which(cells, MISSING.__contains__)).sum()))
    pair = equal_numbers(distinct_words(cells))
    if pair is not None:
        first, second = (table.place(cells.index(cell)) for cell in pair)
        message = (
            f"{second}: {pair[1]!r} in column {name} is the number that {first} writes as {pair[0]!r}, and they would be two categories;"
            " write them alike"
        )
        raise DataError(message)
    return _categorical(table, name)


def _refuse_empty(table: Table, name: str, num_known: int) -> None:
    if num_known == 0:
        message = f"{table.path}: column {name} has no value at all; name it in task.data.arguments.ignore"
        raise DataError(message)


def _categorical(table: Table, name: str) -> Categorical:
    categories = sorted({"" if cell in MISSING else cell for cell in distinct_words(table.columns[name])})
    if len(categories) > MAX_CATEGORIES:
        message = (
            f"{table.path}: column {name} has {len(categories)} categories in {len(table)} rows, at most {MAX_CATEGORIES} are taken;"
            " group them, or name it in task.data.arguments.ignore"
        )
        raise DataError(message)
    return Categorical(name=name, categories=tuple(categories))


def _declare(name: str) -> str:
    return f", or name {name} in task.data.arguments.categorical"


def _apart(least: float, most: float) -> str:
    """Return both ends of a range with the digits that tell them apart, six at least."""
    digits = next(count for count in range(6, 18) if f"{least:.{count}g}" != f"{most:.{count}g}")
    return f"{least:.{digits}g} to {most:.{digits}g}"

"""What a column of a table may be in spite of what it looks like: identifiers, codes, dates, numbers in another notation.

Each of these would be learned without an error and without a use (an identifier in a sorted file even gives the class away), so each is
refused with the argument that settles it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.raw import Floats, Ints
from autohas_trainer.data.tables.cells import Numbers, first_rows
from autohas_trainer.data.tables.notation import notation
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.errors import DataError

__all__ = ["describe_notation", "doubt_numbers", "doubt_words"]

_ARGUMENTS: Final = "task.data.arguments"
_MIN_ROWS: Final = 20
"""Below this, values may all differ by chance."""
_ALMOST_ALL: Final = 0.9
_INTEGER: Final = re.compile(r"[+-]?\d+")
_LEADING_ZERO: Final = re.compile(r"[+-]?0\d+")
_NAME_OF_IDENTIFIERS: Final = re.compile(
    r"(?:.*[\W_])?(?:id|ids|uuid|guid|index|idx|key|nr|no|rownum|row|unnamed: ?\d*)|.*[a-z]I[dD]", re.ASCII
)
_COMPACT_DATE: Final = re.compile(r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_GROUPED: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})?")
_MAX_EXACT: Final = 2**53
"""float64 holds every integer up to here."""
_MIN_DISTINCT: Final = 20
_LOST_SHARE: Final = 0.5


def doubt_words(table: Table, name: str, rows: Ints) -> None:
    """Refuse a column of words, known in `rows`, that are hardly meant as words.

    Raises:
        DataError: They look like numbers or dates in some notation, or almost every row has a word of its own.
    """
    cells = table.columns[name]
    words = first_rows(cells, rows)
    looks = notation(words)
    if looks is not None:
        message = (
            f"{table.place(words[looks.example])}: column {name} looks like {looks.what} ({looks.example!r}); {looks.hint},"
            f" or name it in {_ARGUMENTS}.categorical or ignore"
        )
        raise DataError(message)
    if len(rows) >= _MIN_ROWS and len(words) >= _ALMOST_ALL * len(rows):
        message = (
            f"{table.path}: column {name} has {len(words)} different words in {len(rows)} rows ({cells[rows[0]]!r}, ...):"
            f" it looks like an identifier or free text, from which nothing is learned; name it in {_ARGUMENTS}.ignore, or in categorical"
        )
        raise DataError(message)


def doubt_numbers(table: Table, name: str, rows: Ints) -> None:
    """Refuse a column of numbers, known in `rows`, whose values are hardly amounts.

    Raises:
        DataError: They look like codes, identifiers, dates or thousands, or lose their digits as floats.
    """
    column = table.columns[name]
    if isinstance(column, Numbers):
        doubt = _doubt_about_integers(name, column.values_N[rows]) if column.are_integers else _doubt_about_floats(column.as_floats()[rows])
    else:
        cells = [column[row] for row in rows]
        doubt = _doubt_about_spelling(cells) or _doubt_about_identity(name, cells) or _doubt_about_digits(cells)
    if doubt is not None:
        index, sentence = doubt
        message = (
            f"{table.place(int(rows[index]))}: column {name} {sentence}; name it in {_ARGUMENTS}.ignore or categorical,"
            " or in numeric if it is a number all the same"
        )
        raise DataError(message)


def describe_notation(*words: str) -> str:
    """Return what the words look like as part of an error, nothing when they look like words."""
    looks = notation(words)
    return "" if looks is None else f" (it looks like {looks.what}: {looks.hint})"


def _doubt_about_spelling(cells: Sequence[str]) -> tuple[int, str] | None:
    """Codes, dates and thousands, which their digits give away."""
    for index, cell in enumerate(cells):
        if _LEADING_ZERO.fullmatch(cell):
            return index, f"looks like a code: {cell!r} begins with a zero, which a number would lose"
    if len(set(cells)) >= _MIN_ROWS and all(_COMPACT_DATE.fullmatch(cell) for cell in cells):
        return 0, _describe_dates(cells[0])
    # 987 next to 1.200: a writer of decimals keeps the zeros of all numbers or of none
    dotted = [index for index, cell in enumerate(cells) if "." in cell]
    if 0 < len(dotted) < len(cells) and any(cells[index].endswith("0") for index in dotted) and all(map(_GROUPED.fullmatch, cells)):
        index = next(index for index in dotted if cells[index].endswith("0"))
        return index, f"looks like numbers with a point between thousands ({cells[index]!r}); write them without it"
    return None


def _doubt_about_identity(name: str, cells: Sequence[str]) -> tuple[int, str] | None:
    """Numbers that count or name the rows."""
    if len(cells) < _MIN_ROWS or not all(map(_INTEGER.fullmatch, cells)):
        return None
    values = {int(cell) for cell in cells}
    return _describe_identity(name, min(values), max(values), len(values)) if len(values) == len(cells) else None


def _doubt_about_digits(cells: Sequence[str]) -> tuple[int, str] | None:
    """Integers that float64 rounds, and numbers that become equal in float32 next to a few much larger ones."""
    for index, cell in enumerate(cells):
        if _INTEGER.fullmatch(cell) and abs(int(cell)) > _MAX_EXACT and int(float(cell)) != int(cell):
            return index, _describe_digits(cell)
    return _doubt_about_range(np.array([float(cell) for cell in cells]), cells)


def _doubt_about_integers(name: str, values_N: npt.NDArray[np.integer[Any]]) -> tuple[int, str] | None:
    """The same for integers that are no text: dates, numbers of rows, identifiers."""
    different = np.unique(values_N)
    is_date = len(different) >= _MIN_ROWS and all(_COMPACT_DATE.fullmatch(str(value)) for value in different[[0, -1]])
    if is_date and all(_COMPACT_DATE.fullmatch(str(value)) for value in different.tolist()):
        return 0, _describe_dates(str(values_N[0]))
    if len(values_N) >= _MIN_ROWS and len(different) == len(values_N):
        doubt = _describe_identity(name, int(different[0]), int(different[-1]), len(different))
        if doubt is not None:
            return doubt
    large = np.flatnonzero((values_N > _MAX_EXACT) | (values_N < -_MAX_EXACT)) if values_N.dtype.itemsize == 8 else ()  # noqa: PLR2004 - bytes
    for index in large:
        value = int(values_N[index])
        if int(float(value)) != value:
            return int(index), _describe_digits(str(value))
    return _doubt_about_range(values_N.astype(np.float64), Numbers(values_N))


def _doubt_about_floats(values_N: Floats) -> tuple[int, str] | None:
    """The same for floats that are no text: they have one notation, and none is an identifier."""
    return _doubt_about_range(values_N, Numbers(values_N))


def _doubt_about_range(values_N: Floats, cells: Sequence[str]) -> tuple[int, str] | None:
    if not np.isfinite(values_N).all():
        return None  # what is infinite is refused when the column is encoded, and has no logarithm
    before = len(np.unique(values_N))
    with np.errstate(all="ignore"):
        after = len(np.unique(((values_N - values_N.mean()) / (values_N.std() or 1.0)).astype(np.float32)))
    if before >= _MIN_DISTINCT and after < _LOST_SHARE * before:
        index = int(np.abs(values_N - np.median(values_N)).argmax())
        return (
            index,
            f"has {before} different numbers, of which {after} remain in float32 next to {cells[index]}; take its logarithm or fix it",
        )
    return None


def _describe_dates(example: str) -> str:
    return f"looks like dates written as one number ({example!r})"


def _describe_digits(example: str) -> str:
    return f"looks like an identifier: {example!r} has more digits than a floating-point number keeps"


def _describe_identity(name: str, least: int, most: int, count: int) -> tuple[int, str] | None:
    """Say what `count` different integers of as many rows are; None: amounts."""
    if most - least == count - 1:
        return 0, f"looks like row numbers: every integer from {least} to {most} occurs once"
    if _NAME_OF_IDENTIFIERS.fullmatch(name) or _NAME_OF_IDENTIFIERS.fullmatch(name.lower()):
        return 0, f"looks like an identifier: its {count} integers all differ, and so it is called"
    return None

"""What a column of a table may be in spite of what it looks like: identifiers, codes, dates, numbers in another notation.

Each of these would be learned without an error and without a use (an identifier in a sorted file even gives the class away), so each is
refused with the argument that settles it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

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


def doubt_words(table: Table, name: str, rows: Sequence[int]) -> None:
    """Refuse a column of words, known in `rows`, that are hardly meant as words.

    Raises:
        DataError: They look like numbers or dates in some notation, or almost every row has a word of its own.
    """
    cells = table.columns[name]
    words: dict[str, int] = {}
    for row in rows:
        words.setdefault(cells[row], row)
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


def doubt_numbers(table: Table, name: str, rows: Sequence[int]) -> None:
    """Refuse a column of numbers, known in `rows`, whose values are hardly amounts.

    Raises:
        DataError: They look like codes, identifiers, dates or thousands, or lose their digits as floats.
    """
    cells = [table.columns[name][row] for row in rows]
    doubt = _doubt_about_spelling(cells) or _doubt_about_identity(name, cells) or _doubt_about_digits(cells)
    if doubt is not None:
        index, sentence = doubt
        message = (
            f"{table.place(rows[index])}: column {name} {sentence}; name it in {_ARGUMENTS}.ignore or categorical,"
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
        return 0, f"looks like dates written as one number ({cells[0]!r})"
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
    if len(values) < len(cells):
        return None
    if max(values) - min(values) == len(values) - 1:
        return 0, f"looks like row numbers: every integer from {min(values)} to {max(values)} occurs once"
    if _NAME_OF_IDENTIFIERS.fullmatch(name) or _NAME_OF_IDENTIFIERS.fullmatch(name.lower()):
        return 0, f"looks like an identifier: its {len(values)} integers all differ, and so it is called"
    return None


def _doubt_about_digits(cells: Sequence[str]) -> tuple[int, str] | None:
    """Integers that float64 rounds, and numbers that become equal in float32 next to a few much larger ones."""
    for index, cell in enumerate(cells):
        if _INTEGER.fullmatch(cell) and abs(int(cell)) > _MAX_EXACT and int(float(cell)) != int(cell):
            return index, f"looks like an identifier: {cell!r} has more digits than a floating-point number keeps"
    values_N = np.array([float(cell) for cell in cells])
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

"""The cells of one column, as text: what a CSV file has, and two compact forms of what a typed file has.

Every form is a sequence of words, so any check can read it cell by cell. `Words` holds each different word once and `Numbers` holds an
array, and the functions here answer what is asked of a whole column without a Python object per cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.spellings import number

__all__ = [
    "Cells",
    "Numbers",
    "Words",
    "concatenate",
    "distinct_words",
    "encode_words",
    "find_missing",
    "first_rows",
    "match_spelling",
    "spell_as",
    "which",
]

_LARGEST_EXACT: Final = 2**53
"""Integers up to it are exact in float64."""
Cells = Sequence[str]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Words(Sequence[str]):
    """Cells of few different words.

    Attributes:
        words: The different words.
        codes_N: Position of each cell's word in `words`.
    """

    words: tuple[str, ...]
    codes_N: npt.NDArray[np.integer[Any]]

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.codes_N)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Words: ...
    def __getitem__(self, row: int | slice) -> str | Words:
        """Return a cell, or some neighbours."""
        if isinstance(row, slice):
            return Words(self.words, self.codes_N[row])
        return self.words[int(self.codes_N[row])]

    @classmethod
    def of(cls, words: Iterable[str], codes_N: npt.NDArray[np.integer[Any]]) -> Words:
        """Return cells of words of which some may be equal, and some occur nowhere."""
        listed = list(words)
        position: dict[str, int] = {}
        counts_W = np.bincount(codes_N, minlength=len(listed)).tolist()
        merged = [position.setdefault(word, len(position)) if count else 0 for word, count in zip(listed, counts_W, strict=True)]
        return cls(tuple(position), np.array(merged, dtype=np.int32)[codes_N])


@dataclass(frozen=True, slots=True, eq=False)
class Numbers(Sequence[str]):
    """Cells that are numbers or missing; a missing one is the empty word.

    Attributes:
        values_N: The numbers in the type of the file, integers or floats; anything where missing.
        is_missing_N: Which are missing; None: none is.
    """

    values_N: npt.NDArray[Any]
    is_missing_N: Mask | None = None

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.values_N)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Numbers: ...
    def __getitem__(self, row: int | slice) -> str | Numbers:
        """Return a cell as the shortest text that reads back as its number, or some neighbours."""
        if isinstance(row, slice):
            return Numbers(self.values_N[row], None if self.is_missing_N is None else self.is_missing_N[row])
        if self.is_missing_N is not None and self.is_missing_N[row]:
            return ""
        return repr(self.values_N[row].item())

    @property
    def are_integers(self) -> bool:
        """Whether no number has a fraction by its type."""
        return bool(np.issubdtype(self.values_N.dtype, np.integer))

    @property
    def known_rows(self) -> npt.NDArray[np.int64]:
        """The rows that are not missing."""
        return np.arange(len(self)) if self.is_missing_N is None else np.flatnonzero(~self.is_missing_N)

    def as_floats(self) -> npt.NDArray[np.float64]:
        """Return the numbers (N,) as float64, NaN where missing."""
        values_N = self.values_N.astype(np.float64)
        if self.is_missing_N is not None:
            values_N[self.is_missing_N] = np.nan
        return values_N


def encode_words(cells: Cells) -> Words:
    """Return the cells with each different word once."""
    if isinstance(cells, Words):
        return cells
    if isinstance(cells, Numbers):
        different, codes_N = np.unique(cells.values_N, return_inverse=True)
        words = [repr(value) for value in different.tolist()]
        if cells.is_missing_N is not None:
            words.append("")
            codes_N[cells.is_missing_N] = len(words) - 1
        return Words.of(words, codes_N)
    position: dict[str, int] = {}
    codes_N = np.fromiter((position.setdefault(cell, len(position)) for cell in cells), dtype=np.int64, count=len(cells))
    return Words(tuple(position), codes_N)


def distinct_words(cells: Cells) -> tuple[str, ...]:
    """Return the different words of a column."""
    return encode_words(cells).words if isinstance(cells, Words | Numbers) else tuple(dict.fromkeys(cells))


def which(cells: Cells, is_wanted: Callable[[str], bool]) -> Mask:
    """Return which cells (N,) hold a wanted word."""
    if not isinstance(cells, Words | Numbers):
        return np.fromiter(map(is_wanted, cells), dtype=np.bool_, count=len(cells))
    encoded = encode_words(cells)
    wanted_N: Mask = np.array([is_wanted(word) for word in encoded.words], dtype=np.bool_)[encoded.codes_N]
    return wanted_N


def find_missing(cells: Cells, is_missing: Callable[[str], bool]) -> int | None:
    """Return the first row whose word says that a value is not known; None: every row has one."""
    mask_N = cells.is_missing_N if isinstance(cells, Numbers) else which(cells, is_missing)
    return None if mask_N is None or not mask_N.any() else int(mask_N.argmax())


def first_rows(cells: Cells, rows: Sequence[int] | npt.NDArray[np.int64]) -> dict[str, int]:
    """Return the different words of some rows in the order in which they appear, each with its first row."""
    if not isinstance(cells, Words):
        first: dict[str, int] = {}
        for row in rows:
            first.setdefault(cells[row], int(row))
        return first
    listed = np.asarray(rows, dtype=np.int64)
    codes, index = np.unique(cells.codes_N[listed], return_index=True)
    order = np.argsort(index)
    return {cells.words[code]: int(listed[at]) for code, at in zip(codes[order].tolist(), index[order].tolist(), strict=True)}


def concatenate(parts: Sequence[Words | Numbers]) -> Words | Numbers:
    """Return the cells of all parts, one below the other.

    Raises:
        ValueError: No type of numpy holds the numbers of all parts exactly.
    """
    if len(parts) == 1:
        return parts[0]
    numbers = [part for part in parts if isinstance(part, Numbers)]
    if len(numbers) == len(parts):
        is_known = all(part.is_missing_N is None for part in numbers)
        masks = [np.zeros(len(part), dtype=np.bool_) if part.is_missing_N is None else part.is_missing_N for part in numbers]
        return Numbers(_concatenate_exactly([part.values_N for part in numbers]), None if is_known else np.concatenate(masks))
    encoded = [encode_words(part) for part in parts]
    starts = np.cumsum([0, *(len(part.words) for part in encoded[:-1])])
    codes_N = np.concatenate([part.codes_N.astype(np.int64) + start for part, start in zip(encoded, starts, strict=True)])
    return Words.of((word for part in encoded for word in part.words), codes_N)


def _concatenate_exactly(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the numbers one below the other in a type that holds them all: numpy takes float64 for int64 with uint64.

    Raises:
        ValueError: There is none.
    """
    integers = [array for array in arrays if np.issubdtype(array.dtype, np.integer) and len(array)]
    least = min((int(array.min()) for array in integers), default=0)
    most = max((int(array.max()) for array in integers), default=0)
    if len(integers) == len(arrays):
        types = (np.result_type(*arrays), np.dtype(np.int64), np.dtype(np.uint64))
        whole = [kind for kind in types if np.issubdtype(kind, np.integer) and np.iinfo(kind).min <= least and most <= np.iinfo(kind).max]
        if whole:
            return np.concatenate([array.astype(whole[0], copy=False) for array in arrays])
    if max(-least, most) > _LARGEST_EXACT:
        message = f"integers from {least} to {most} of the types {', '.join(dict.fromkeys(str(array.dtype) for array in arrays))}"
        raise ValueError(message)
    return np.concatenate(arrays)


def match_spelling(cells: Cells, words: Sequence[str]) -> Words:
    """Return the cells with each number, and each truth value, written as `words` write it, where they do."""
    encoded = encode_words(cells)
    return Words.of((spell_as(word, words) for word in encoded.words), encoded.codes_N)


def spell_as(cell: str, words: Sequence[str]) -> str:
    """Return a number, or the truth value `true` or `false`, as one of `words` writes it; the cell itself where none does."""
    if cell in words:
        return cell
    value = number(cell)
    is_truth = cell in {"true", "false"}
    return next((word for word in words if (value is not None and number(word) == value) or (is_truth and word.casefold() == cell)), cell)

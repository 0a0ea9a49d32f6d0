"""Words that are the same thing written differently: `1` and `1.0`, `Yes` and `yes`. As text they would be two. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable, Iterable
from decimal import Decimal, InvalidOperation

__all__ = ["equal_numbers", "equal_words", "exact_number", "number"]


def number(cell: str) -> float | None:
    """Return the number that a cell is, None when it is none."""
    try:
        return float(cell) if "_" not in cell else None
    except ValueError:
        return None


def exact_number(cell: str) -> Decimal | None:
    """Return the number that a cell is with all of its digits, None when it is none or not finite."""
    if number(cell) is None:
        return None
    try:
        value = Decimal(cell)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def equal_numbers(words: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two different words that are the same number (1, 1.0, 01, 1e0, +1), compared digit by digit, not as floats."""
    return _first_pair(words, _exact)


def equal_words(words: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two different words that differ only in letter case, blanks or the way that accents are encoded.

    Single letters do not count: an alphabet has large and small ones.
    """
    return _first_pair(words, lambda word: " ".join(unicodedata.normalize("NFC", word).casefold().split()) if len(word) > 1 else word)


def _first_pair(words: Iterable[str], key: Callable[[str], Hashable]) -> tuple[str, str] | None:
    first: dict[Hashable, str] = {}
    for word in words:
        spelling = first.setdefault(key(word), word)
        if spelling != word:
            return spelling, word
    return None


def _exact(word: str) -> Hashable:
    """Return the number that a word is, exactly, or the word itself."""
    value = exact_number(word)
    return word if value is None else value

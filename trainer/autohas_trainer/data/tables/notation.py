"""Cells that a person reads as numbers or dates and `float` does not: decimal commas, thousands, units, dates, hexadecimals. Pure.

A column of such words would silently become one input per word, so it is refused with the name of the notation.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

__all__ = ["Notation", "notation"]

_SIGN: Final = r"[+\-]?\s?"
_PLAIN: Final = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+\-]?\d+)?"
_COMMA: Final = r"(?:\d*,\d+|\d{1,3}(?:\.\d{3})+,\d+)(?:[eE][+\-]?\d+)?"
_GROUPED: Final = r"\d{1,3}(?:(?:,\d{3})+|(?:\.\d{3}){2,}|(?:['\u2019 \u00a0\u202f\u2009_]\d{3})+)(?:[.,]\d+)?"
_ANY: Final = rf"(?:{_GROUPED}|{_COMMA}|{_PLAIN})"
_CURRENCY: Final = r"(?:[$€£¥₹₽₩]|USD|EUR|GBP|CHF|JPY|CNY|INR|kr)"
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s?(?:[ap]\.?m\.?)?"
_ZONE: Final = r"(?:Z|\s?[+\-]\d{2}:?\d{2})?"
_DATE: Final = (
    rf"(?:\d{{4}}[\-/.](?:0?[1-9]|1[0-2])(?:[\-/.]\d{{1,2}})?|\d{{1,2}}[\-/.]\d{{1,2}}[\-/.]\d{{2,4}}"
    rf"|\d{{1,2}}[\- .]+{_MONTH}[\- .,]+\d{{2,4}}|{_MONTH}\s\d{{1,2}},?\s\d{{4}}|{_MONTH}[\- ]\d{{4}})"
)
_UNIT: Final = r"[A-Za-z°µμ\"'][A-Za-z0-9²³/°^.\-]{0,7}"
_SHARE: Final = 0.9
"""Of the words: a few typing errors do not make words of a column of numbers."""
_MAX_UNITS: Final = 3
_MIN_AMOUNTS: Final = 10
"""`2door` and `4door` are words; more different amounts than this are measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notation:
    """What the words of a column look like: `what` for the sentence, `hint` for what to do, and one of the words."""

    what: str
    hint: str
    example: str


_AS_POINT: Final = "convert it to numbers with a decimal point"
_AS_PLAIN: Final = "convert it to plain numbers"
_AS_DURATION: Final = "convert it to numbers (days since a date, year, month, weekday, hour)"
_THOUSANDS: Final = "numbers with a separator between thousands"
_KINDS: Final[tuple[tuple[str, str, re.Pattern[str]], ...]] = tuple(
    (what, hint, re.compile(pattern, re.IGNORECASE))
    for what, hint, pattern in (
        ("numbers with a comma, decimal or between thousands,", _AS_PLAIN, rf"{_SIGN}\d{{1,3}},\d{{3}}"),
        ("numbers with a decimal comma", _AS_POINT, rf"{_SIGN}{_COMMA}"),
        (_THOUSANDS, _AS_PLAIN, rf"{_SIGN}{_GROUPED}"),
        ("percentages", _AS_PLAIN, rf"{_SIGN}{_ANY}\s?%"),
        ("amounts of money", _AS_PLAIN, rf"{_SIGN}{_CURRENCY}\s?{_SIGN}{_ANY}|{_SIGN}{_ANY}\s?{_CURRENCY}"),
        ("dates", _AS_DURATION, rf"{_DATE}(?:(?:T|\s+){_TIME}{_ZONE})?"),
        ("times", _AS_DURATION, _TIME),
        ("hexadecimal numbers", _AS_PLAIN, rf"{_SIGN}0x[0-9a-f]+"),
        ("numbers with a Fortran exponent", "convert it: e in the place of d", r"[+\-]?\d*\.?\d+\.?d[+\-]?\d+"),
        ("negative numbers in brackets", "convert it to numbers with a minus sign", rf"\({_ANY}\)"),
        ("numbers with a typographic minus sign or an apostrophe in front", _AS_PLAIN, rf"[\u2212\u2013'\u2019]\s?{_ANY}"),
    )
)
_WITH_UNIT: Final = re.compile(rf"{_SIGN}({_ANY})\s?({_UNIT})")


def notation(words: Collection[str]) -> Notation | None:
    """Return what nearly all of `words` look like, None where they look like words.

    Args:
        words: Different words of a column that are no numbers; none empty.
    """
    for what, hint, pattern in _KINDS:
        matching = [word for word in words if pattern.fullmatch(word)]
        if matching and len(matching) >= _SHARE * len(words):
            return Notation(what=what, hint=hint, example=matching[0])
    with_units = {word: match for word in words if (match := _WITH_UNIT.fullmatch(word))}
    units = {match[2] for match in with_units.values()}
    amounts = {match[1] for match in with_units.values()}
    if len(with_units) >= _SHARE * len(words) and len(units) <= _MAX_UNITS and len(amounts) > _MIN_AMOUNTS:
        return Notation(what="numbers with a unit", hint=_AS_PLAIN, example=next(iter(with_units)))
    return None

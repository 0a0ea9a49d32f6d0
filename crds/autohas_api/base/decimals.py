"""Numbers as text: rounded for people, exact for programs, or as short as a range allows. Pure."""

from __future__ import annotations

import re
from typing import Final

from autohas_api.base.model import DECIMAL_PATTERN

__all__ = ["decimal", "decimal_between", "exact_decimal", "round_digits"]

_SHOWN_DIGITS: Final = 6
_MOST_DIGITS: Final = 17
"""Significant digits at which any two doubles differ."""
_RESOLUTION: Final = 1e-4
"""Largest rounding error, as a fraction of the range: 32 bases are at least 1/31 of the range apart."""


def decimal(value: float) -> str:
    """The shortest decimal that shows six significant digits: 0.30000000000000004 is "0.3". For people: it may be another number."""
    return f"{value:.{_SHOWN_DIGITS}g}"


def exact_decimal(value: float) -> str:
    """The shortest decimal that reads back as the same number, of six digits or more: "0.123456789" stays so, "0.10" becomes "0.1"."""
    return next(text for digits in range(_SHOWN_DIGITS, _MOST_DIGITS + 1) if float(text := round_digits(value, digits)) == value)


def decimal_between(value: float, minimum: float, maximum: float) -> str:
    """The shortest decimal near `value` within a range, of six digits or more; values that are a basis apart stay different.

    Args:
        value: The number; one outside the range is replaced by the nearest end.
        minimum: Smallest number allowed.
        maximum: Largest number allowed, greater than `minimum`.
    """
    clamped = min(max(value, minimum), maximum)
    if clamped in (minimum, maximum):
        return exact_decimal(clamped)
    slack = _RESOLUTION * (maximum - minimum)
    for digits in range(_SHOWN_DIGITS, _MOST_DIGITS):
        number = float(text := round_digits(clamped, digits))
        if minimum <= number <= maximum and abs(number - clamped) <= slack:
            return text
    return exact_decimal(clamped)


def round_digits(value: float, digits: int) -> str:
    """Round to `digits` significant digits, as `%g` does, with an exponent where a plain number has too many decimal places."""
    text = f"{value:.{digits}g}"
    if re.fullmatch(DECIMAL_PATTERN, text) is not None:
        return text
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    figures = mantissa.replace(".", "").rstrip("0")
    sign, figures = ("-", figures[1:]) if figures.startswith("-") else ("", figures)
    before = max(1, len(figures) - 15)
    point = f".{figures[before:]}" if len(figures) > before else ""
    return f"{sign}{figures[:before]}{point}e{int(exponent) - (before - 1)}"

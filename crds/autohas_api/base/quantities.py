"""Quantities of Kubernetes as numbers: `500m`, `2Gi`, `1e3`. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

__all__ = ["amount"]

_SUFFIXES: Final = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_DECIMAL: Final = {suffix: Fraction(10) ** (3 * power) for power, suffix in enumerate(_SUFFIXES, start=-3)}
_BINARY: Final = {f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_PARTS: Final = re.compile(r"\+?([0-9.]+)(?:[eE]([+-]?[0-9]+)|([A-Za-z]*))")


def amount(quantity: int | str) -> Fraction:
    """The exact number that a quantity says.

    Args:
        quantity: A number, or a text that `kube_types.QUANTITY_PATTERN` accepts.
    """
    if isinstance(quantity, int):
        return Fraction(quantity)
    match = _PARTS.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is no quantity")
    number, exponent, suffix = match.groups()
    scale = Fraction(10) ** int(exponent) if exponent is not None else {**_DECIMAL, **_BINARY}[suffix]
    return Fraction(number if number[-1] != "." else number[:-1]) * scale

"""The order of a decision's choices, for samplers that model numbers as numbers and not as categories. Pure.

Neighbours in the order are one apart, whatever the distance of their values: 32, 64, 128 are 0, 1, 2.
"""

from __future__ import annotations

import re

from autohas_api.base.model import DECIMAL_PATTERN
from autohas_api.space.decisions import Decision

__all__ = ["find_place", "sort_choices"]


def sort_choices(decision: Decision) -> tuple[str, ...]:
    """The choices of an ordered decision, the smallest number first."""
    return tuple(sorted(decision.choices, key=float))


def find_place(decision: Decision, value: str) -> int | None:
    """The place of a value among the choices: in their order where they have one, otherwise in the spec's.

    A default need not be one of the choices: a number has the place of the nearest choice, another value has none.
    """
    if not decision.is_ordered:
        return decision.choices.index(value) if value in decision.choices else None
    if re.fullmatch(DECIMAL_PATTERN, value) is None:
        return None
    distances = [abs(float(choice) - float(value)) for choice in sort_choices(decision)]
    return distances.index(min(distances))

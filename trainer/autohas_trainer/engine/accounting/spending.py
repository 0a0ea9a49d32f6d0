"""How many candidates a race can pay for: what earlier stages did not spend is spent here. Pure.

A stage may cost less than its plan: a lane or the supernet diverges, a proposal equals a lane, a space has no more configurations. The
rest makes the race wider, at its beginning and again at each of its rungs, always from the trainings booked so far, which a checkpoint
holds: a resumed race is as wide as the undisturbed one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from autohas_api.algorithms.plan_request import Comparisons
from autohas_api.algorithms.stage_plan import FINALISTS

__all__ = [
    "Prices",
    "count_affordable",
    "count_affordable_ends",
    "name_range",
    "num_challengers",
    "num_finalists",
    "race_price",
    "widest_race",
]

_SLACK = 1e-9
"""Rounding of sums of prices: a candidate that costs exactly what is left is affordable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Trainings that bring one candidate to 1/9, from there to 1/3 and from there to the end, each with its comparison."""

    first: float
    second: float
    last: float

    @classmethod
    def of(cls, rungs: tuple[int, int, int], comparisons: Comparisons) -> Prices:
        """The prices where candidates are compared after `rungs` steps."""
        first, second, last = rungs
        return cls(
            first=first / last + comparisons.early,
            second=(second - first) / last + comparisons.early,
            last=(last - second) / last + comparisons.last,
        )

    def rest(self, rung: int) -> float:
        """Price of the whole way to the end for a candidate that was compared at all rungs before `rung`."""
        return sum((self.first, self.second, self.last)[rung:])


def num_finalists(num_new: int) -> int:
    """New candidates that continue to 1/3: the best third, FINALISTS at least."""
    return min(num_new, max(FINALISTS, math.ceil(num_new / 3)))


def num_challengers(finalists: int) -> int:
    """Candidates that are trained to the end next to the default: a third of those at 1/3, one at least."""
    return max(1, finalists // 3)


def widest_race(left: float, prices: Prices, least: int) -> int:
    """New candidates whose race `left` trainings pay for, `least` at least; the default's own way is not in it.

    What is left after the last of them pays for candidates that add no finalist. Where not even one new candidate can be brought to 1/3
    there are none: nothing could become of them.
    """
    most = max(least, int(left / prices.first) + 1)
    more = range(least + 1, most + 1)
    width = least + bisect_right(more, left + _SLACK, key=lambda number: race_price(number, prices))
    return width + count_affordable(left - race_price(width, prices), prices.first, 0) if width else 0


def count_affordable_ends(left: float, prices: Prices, num_new: int) -> int:
    """Challengers to set trainings aside for when `num_new` candidates were compared at 1/9: a third of the finalists, one at least."""
    ends = num_challengers(num_finalists(num_new))
    while ends > 1 and num_challengers(count_affordable(left - ends * prices.last, prices.second, 0)) < ends:
        ends -= 1
    return ends


def race_price(num_new: int, prices: Prices) -> float:
    """Trainings of a race of `num_new` candidates that all begin at 0; the default's own way is not in it."""
    finalists = num_finalists(num_new)
    return num_new * prices.first + finalists * prices.second + num_challengers(finalists) * prices.last


def name_range(names: Sequence[str]) -> str:
    """Names for a sentence: `lane 5`, `lane 5 and lane 6`, `lane 5 to lane 12 (8)`."""
    if len(names) <= 2:  # noqa: PLR2004 - both are named
        return " and ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names)})"


def count_affordable(left: float, price: float, least: int) -> int:
    """How many times `left` pays for `price`, but at least `least`."""
    return max(least, int((left + _SLACK) / price))

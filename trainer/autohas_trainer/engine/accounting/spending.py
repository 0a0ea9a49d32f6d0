"""Which candidates the trainings that are left pay for, each at its own price. Pure.

A stage enters and continues candidates in their order while their prices fit; one that does not fit is passed over. What a stage does not
spend is left for the next one, always by the trainings booked so far, which a checkpoint holds: a resumed search chooses as the
undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, TypeVar

from autohas_api.algorithms.stage_plan import FINALISTS, num_challengers

__all__ = [
    "FINALISTS_PER_CHALLENGER",
    "OVERDRAFT",
    "SLACK",
    "TOLERANCE",
    "Lanes",
    "Prices",
    "Race",
    "choose_affordable",
    "name_range",
    "num_finalists",
    "price_of_ends",
]

SLACK: Final = 1e-9
"""Rounding of sums of prices: a candidate that costs exactly what is left is affordable."""

TOLERANCE: Final = 0.02
"""Share of the budget by which what was planned may exceed it: rungs are whole steps, the plan counts with ninths and thirds."""

OVERDRAFT: Final = 0.04
"""Share of the budget by which its last training may exceed it: the first challenger, without which a race decides nothing, and the decay
of a default that takes the place of a diverged winner, without which it is no model."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Trainings that bring one candidate to 1/9, from there to 1/3 and from there to the end, each with its comparison.

    `repeats` is what its repeats with further seeds cost beyond those of the default, which the plan sets aside.
    """

    first: float
    second: float
    last: float
    repeats: float = 0.0

    def rest(self, rung: int) -> float:
        """Price of the whole way to the end for a candidate that was compared at all rungs before `rung`."""
        return sum((self.first, self.second, self.last)[rung:])


def num_finalists(num_new: int) -> int:
    """New candidates that continue to 1/3: the best third, FINALISTS at least."""
    return min(num_new, max(FINALISTS, math.ceil(num_new / 3)))


FINALISTS_PER_CHALLENGER: Final = 3
"""Of this number of candidates at 1/3 one is trained to the end next to the default, in the race after a supernet; one at least."""


def price_of_ends(candidates: Iterable[Prices], count: int) -> float:
    """Price of training the `count` most expensive of the candidates to the end, and of repeating the most expensive one."""
    candidates = list(candidates)
    ends = sorted((prices.last for prices in candidates), reverse=True)[:count]
    return sum(ends) + max((prices.repeats for prices in candidates), default=0.0)


class Lanes:
    """The lanes of a stage, entered one after another."""

    def __init__(self, share: float, in_all: float) -> None:
        """`share`: what lanes may spend; `in_all`: the same and what the end of the best of them may cost."""
        self._share, self._in_all = share, in_all
        self._entered: list[Prices] = []

    def enter(self, prices: Prices, tolerance: float = 0.0) -> bool:
        """Enter a lane if it and those before it are paid for, the best third of all to 1/3; returns whether it is."""
        lanes = [*self._entered, prices]
        cost = sum(lane.first for lane in lanes) + math.ceil(len(lanes) / 3) * fmean(lane.second for lane in lanes)
        over = max(cost - self._share, cost + price_of_ends(lanes, 1) - self._in_all)
        is_paid = over <= tolerance + SLACK
        if is_paid:
            self._entered = lanes
        return is_paid


class Race:
    """The new candidates of a race, entered one after another while what is left pays for the race of all of them."""

    def __init__(self, left: float, lane: Prices | None = None) -> None:
        """`left`: trainings without the default's own way; `lane`: the best lane, which needs only the way to the end."""
        self._left, self._lane = left, lane
        self._entered: list[Prices] = []
        self._finalists = 0

    @property
    def spare(self) -> float:
        """Trainings that the race of those entered leaves."""
        return self._left - self._price(self._entered, self._finalists)

    def enter(self, prices: Prices, tolerance: float = 0.0) -> bool:
        """Enter a candidate if it is paid for, as a further finalist or, where that costs too much, as none; returns whether it is."""
        candidates = [*self._entered, prices]
        if prices.rest(0) + prices.repeats > self._left + tolerance + SLACK:
            return False  # nothing could become of it
        for finalists in (num_finalists(len(candidates)), self._finalists):
            if finalists and self._price(candidates, finalists) <= self._left + tolerance + SLACK:
                self._entered, self._finalists = candidates, finalists
                return True
        return False

    def _price(self, candidates: Sequence[Prices], finalists: int) -> float:
        """Trainings that the race is expected to cost: who continues is not known yet, so that the mean is set aside for it."""
        end = self._lane.last + self._lane.repeats if self._lane is not None else 0.0
        if not candidates:
            return end
        seconds = finalists * fmean(prices.second for prices in candidates)
        challengers = num_challengers(finalists, FINALISTS_PER_CHALLENGER)
        ends = challengers * fmean(prices.last for prices in candidates) + fmean(prices.repeats for prices in candidates)
        return sum(prices.first for prices in candidates) + seconds + max(ends, end)


def choose_affordable(
    order: Iterable[Item], prices_of: Callable[[Item], Prices], left: float, ahead: Iterable[Prices] = (), tolerance: float = 0.0
) -> list[Item]:
    """The candidates, the best first, whose way from 1/9 to 1/3 `left` pays for next to the end of the most expensive ones.

    Args:
        order: Candidates at 1/9, the best first; one that does not fit is passed over.
        prices_of: The prices of a candidate.
        left: Trainings without the default's own way.
        ahead: Candidates that are at 1/3 already.
        tolerance: Trainings by which the first FINALISTS may exceed what is left.
    """
    ahead = list(ahead)
    chosen: list[Item] = []
    count = 1
    for candidate in order:
        prices = [prices_of(other) for other in (*chosen, candidate)]
        thirds = sum(p.second for p in prices)
        allowed = left + SLACK + (tolerance if len(prices) <= FINALISTS else 0.0)
        for ends in (num_challengers(len(prices), FINALISTS_PER_CHALLENGER), count):
            if thirds + price_of_ends([*prices, *ahead], ends) <= allowed:
                chosen.append(candidate)
                count = ends
                break
    return chosen


def name_range(names: Sequence[str]) -> str:
    """Names for a sentence: `lane 5`, `lane 5 and lane 6`, `lane 5 to lane 12 (8)`."""
    if len(names) <= 2:  # noqa: PLR2004 - both are named
        return " and ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names)})"

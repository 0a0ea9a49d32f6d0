"""Paired differences of two methods over the same seeds: mean, t, interval, wins, and the seeds that would tell them apart. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import stdtrit

__all__ = ["COVERAGE", "MIN_SEEDS", "POWER", "Paired", "deviation", "mean_interval", "pair", "seeds_needed"]

COVERAGE: Final = 0.95
"""Share of such intervals that hold the true difference, where differences are normal."""
POWER: Final = 0.8
"""Share of comparisons with `seeds_needed` seeds that would show a difference of that size."""
MIN_SEEDS: Final = 3
"""Seeds from which on t and an interval are given: two differences say too little about their own spread (the factor is 12.7)."""
_MOST_SEEDS: Final = 10_000


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Differences of two methods, seed by seed: mean, t statistic (None where nothing varies), and how often each was better."""

    mean: float
    t: float | None
    wins: int
    losses: int
    ties: int


def pair(one: Sequence[float], other: Sequence[float]) -> Paired:
    """Compare two methods on the same seeds; a win is a seed on which the first has the higher value."""
    differences = [a - b for a, b in zip(one, other, strict=True)]
    error = deviation(differences) / math.sqrt(len(differences))
    return Paired(
        mean=statistics.fmean(differences),
        t=statistics.fmean(differences) / error if error > 0 else None,
        wins=sum(d > 0 for d in differences),
        losses=sum(d < 0 for d in differences),
        ties=sum(d == 0 for d in differences),
    )


def mean_interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Student's interval of the mean with `COVERAGE`; None below `MIN_SEEDS` differences, and where nothing varies.

    Equal differences, as of an accuracy on few examples, have no spread that could be that of further seeds.
    """
    count = len(differences)
    if count < MIN_SEEDS or deviation(differences) == 0:
        return None
    mean, error = statistics.fmean(differences), deviation(differences) / math.sqrt(count)
    half = _quantile(count, (1 + COVERAGE) / 2) * error
    return mean - half, mean + half


def seeds_needed(differences: Sequence[float]) -> int | None:
    """The least number of seeds with which an interval would exclude 0 in `POWER` of comparisons, at this mean and deviation.

    Returns:
        None where the mean is 0, where nothing varies, below `MIN_SEEDS` differences, and above 10,000.
    """
    mean, spread = statistics.fmean(differences), deviation(differences)
    if len(differences) < MIN_SEEDS or mean == 0 or spread == 0:
        return None
    ratio = (spread / mean) ** 2

    def is_enough(count: int) -> bool:
        return count >= ratio * (_quantile(count, (1 + COVERAGE) / 2) + _quantile(count, POWER)) ** 2

    if not is_enough(_MOST_SEEDS):
        return None
    low, high = MIN_SEEDS - 1, _MOST_SEEDS  # not enough (or too few for an interval), enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _quantile(count: int, probability: float) -> float:
    """Of Student's t with the degrees of freedom of `count` values."""
    return float(stdtrit(count - 1, probability))

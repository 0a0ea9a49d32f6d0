"""The statistics of the tables that the product does not have: bootstrap intervals, the work to a median, the best of k draws. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

__all__ = ["Curve", "Reach", "best_of", "bootstrap", "value_at"]

Curve = Sequence[tuple[float, float]]
"""(work, value of what would be returned after it), in rising order of work; a higher value is better."""

_RESAMPLES: Final = 2000
_SEED: Final = 0


def bootstrap(count: int, statistic: Callable[[Sequence[int]], float], coverage: float) -> tuple[float, float]:
    """Percentile interval of a statistic of `count` seeds, resampled with replacement; always the same draws.

    Args:
        count: Number of seeds.
        statistic: Indices of the resampled seeds -> the statistic; infinity is allowed.
        coverage: Share of the resamples inside the interval, for example .9.
    """
    rng = np.random.default_rng(_SEED)
    values = sorted(statistic(rng.integers(count, size=count).tolist()) for _ in range(_RESAMPLES))
    outside = (1 - coverage) / 2
    return values[math.floor(outside * (_RESAMPLES - 1))], values[math.ceil((1 - outside) * (_RESAMPLES - 1))]


def value_at(curve: Curve, work: float) -> float:
    """What a method would return after some work; minus infinity before its first finished training."""
    return next((value for spent, value in reversed(curve) if spent <= work), -math.inf)


class Reach:
    """The work after which the median over seeds of what a method would return reaches a level."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        """Lay the curves, one for each seed, side by side: (moments, seeds)."""
        self._moments = sorted({spent for curve in curves for spent, _ in curve})
        self._values = np.array([[value_at(curve, work) for curve in curves] for work in self._moments])

    def work(self, level: float, seeds: Sequence[int] | None = None) -> float:
        """The least work; infinity where no work in the curves does. `seeds`: the seeds to take, all by default."""
        values = self._values if seeds is None else self._values[:, seeds]
        is_reached = np.median(values, axis=1) >= level
        return self._moments[int(is_reached.argmax())] if is_reached.any() else math.inf


def best_of(count: int, ranked: Sequence[float]) -> float:
    """Expected value of the best of `count` draws without replacement.

    Args:
        count: Number of draws, at most as many as there are values.
        ranked: Values in the order by which the best is chosen, the best first.
    """
    total = math.comb(len(ranked), count)
    return sum(value * math.comb(len(ranked) - 1 - place, count - 1) / total for place, value in enumerate(ranked))

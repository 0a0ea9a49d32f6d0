"""A Gaussian over the position of a value in its range, cut off at the range's ends. Pure.

Positions: 0 is the range's minimum, 1 its maximum, evenly spaced values between them or, on a log scale, evenly spaced exponents.
With e = (x - mean) / deviation the density is that of N(mean, deviation) over its mass in [0, 1], and

    d log p / d mean = (e - E[e]) / deviation        d log p / d log deviation = e^2 - E[e^2]

a statistic minus its mean, as onehot - p is for a categorical.

Source: ASNG, natural gradients on a Gaussian for ordered and continuous variables.
Ours: the inverse Fisher information that scales them is that of the Gaussian without ends, (deviation^2, 1/2): it is right in the middle of
the range, and bounded at its ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["CutGaussian"]

Floats = npt.NDArray[np.float64]

_STANDARD: Final = NormalDist()
_LEAST_TAIL: Final = 1e-12
"""Quantiles closer to 0 or 1 count as this: they have no finite inverse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutGaussian:
    """N(mean, deviation) given that it lies in [0, 1]. `mean` lies there too, `deviation` is above 0."""

    mean: float
    deviation: float

    def sample(self, rng: np.random.Generator) -> float:
        """A position, from one uniform number."""
        low, high = self._cdf(0.0), self._cdf(1.0)
        quantile = min(max(low + rng.random() * (high - low), _LEAST_TAIL), 1 - _LEAST_TAIL)
        return min(max(self.mean + self.deviation * _STANDARD.inv_cdf(quantile), 0.0), 1.0)

    def score(self, position: float) -> tuple[float, float]:
        """Gradient of the log density at a position with respect to mean and logarithm of the deviation."""
        standardised = (position - self.mean) / self.deviation
        first, second = self._moments()
        return (standardised - first) / self.deviation, standardised**2 - second

    def natural_gradient(self, position: float) -> Floats:
        """`score` times the inverse Fisher information: what moves mean and logarithm of the deviation."""
        by_mean, by_deviation = self.score(position)
        return np.array([self.deviation**2 * by_mean, by_deviation / 2])

    def masses(self, count: int) -> Floats:
        """The mass that lies nearest to each of `count` evenly spaced positions, both ends included; they add up to 1."""
        bounds = [0.0, *((index + 0.5) / (count - 1) for index in range(count - 1)), 1.0]
        cumulative = np.array([self._cdf(bound) for bound in bounds])
        return np.asarray(np.diff(cumulative) / (cumulative[-1] - cumulative[0]))

    def _cdf(self, position: float) -> float:
        """Of the Gaussian without ends."""
        return _STANDARD.cdf((position - self.mean) / self.deviation)

    def _moments(self) -> tuple[float, float]:
        """E[e] and E[e^2] of the standardised position."""
        low, high = -self.mean / self.deviation, (1 - self.mean) / self.deviation
        mass = _STANDARD.cdf(high) - _STANDARD.cdf(low)
        at_low, at_high = _STANDARD.pdf(low), _STANDARD.pdf(high)
        return (at_low - at_high) / mass, 1 + (low * at_low - high * at_high) / mass

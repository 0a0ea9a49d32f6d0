"""A kernel density over configurations, as points of a unit cube, with a Gaussian kernel per number and a category's own kernel. Pure.

Source: Falkner et al. (2018), "BOHB", and its public code HpBandSter, which uses statsmodels: a product of kernels at each point,
bandwidths by the rule of thumb 1.06 * deviation * n^(-1 / (4 + d)), the kernel of Aitchison and Aitken for a category.
Ours: a category's kernel spreads over all its choices, not over those that occur, and its bandwidth ends at (k - 1) / k, where all k
choices are as likely; densities are logarithms, because a product of twenty small numbers and more may underflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_BANDWIDTH", "KernelDensity"]

MIN_BANDWIDTH: Final = 1e-3
"""HpBandSter's default: points that agree in a dimension leave it some width."""
_RULE_OF_THUMB: Final = 1.06

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelDensity:
    """The mean of one product kernel per point.

    Attributes:
        points_ND: One row per configuration: a number from 0 to 1, or the index of a category's choice.
        bandwidths_D: Standard deviation of a number's kernel; for a category, the probability of the other choices together.
        sizes: Choices of a category; 0 for a number.
    """

    points_ND: Points
    bandwidths_D: Points
    sizes: tuple[int, ...]

    @classmethod
    def fit(cls, points_ND: Points, sizes: tuple[int, ...]) -> Self:
        """The density of some points, at least one, with bandwidths by the rule of thumb."""
        num_points, num_dimensions = points_ND.shape
        bandwidths_D = _RULE_OF_THUMB * points_ND.std(axis=0) * num_points ** (-1 / (4 + num_dimensions))
        most_D = np.array([(size - 1) / size if size else math.inf for size in sizes])
        return cls(points_ND=points_ND, bandwidths_D=np.clip(bandwidths_D, MIN_BANDWIDTH, most_D), sizes=sizes)

    def log_density(self, point_D: Points) -> float:
        """The logarithm of the density at a point; of numbers it is not cut off at the ends of the cube."""
        log_kernels_N = np.zeros(len(self.points_ND))
        for dimension, size in enumerate(self.sizes):
            bandwidth = self.bandwidths_D[dimension]
            distances_N = self.points_ND[:, dimension] - point_D[dimension]
            if size:
                log_kernels_N += np.where(distances_N == 0, math.log1p(-bandwidth), math.log(bandwidth / (size - 1)))
            else:
                log_kernels_N -= 0.5 * (distances_N / bandwidth) ** 2 + math.log(bandwidth * math.sqrt(2 * math.pi))
        largest = float(log_kernels_N.max())
        return largest + math.log(float(np.exp(log_kernels_N - largest).mean()))

    def sample(self, rng: np.random.Generator, widening: float) -> Points:
        """A point near one of the points: numbers from its kernel, `widening` times as wide and cut off at 0 and 1, or another choice."""
        centre_D = self.points_ND[int(rng.integers(len(self.points_ND)))]
        return np.array([self._sample_near(float(centre_D[d]), d, rng, widening) for d in range(len(self.sizes))])

    def _sample_near(self, centre: float, dimension: int, rng: np.random.Generator, widening: float) -> float:
        size, bandwidth = self.sizes[dimension], float(self.bandwidths_D[dimension])
        if size:
            return centre if rng.random() >= bandwidth else float(rng.integers(size))
        while True:  # at least a fifth of the kernel lies inside: it is at most 1.6 wide and its centre is inside
            value = float(rng.normal(centre, widening * bandwidth))
            if 0 <= value <= 1:
                return value

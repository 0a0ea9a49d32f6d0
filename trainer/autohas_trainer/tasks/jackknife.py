"""Standard errors of metrics that are no mean over examples, by groups of examples. Pure.

Source: Tukey's jackknife with groups. With G groups, the whole metric T and T_g without group g, the pseudo-values G·T - (G - 1)·T_g are
nearly independent, and the variance of T is that of their mean. Two networks on the same groups have paired pseudo-values. The metric of
each group by itself (batch means) agrees with its pseudo-value to first order in the size of the groups, and exactly where T is a mean and
the groups are equally large: it needs one pass over the examples where the jackknife needs G.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.tasks._base import Floats

__all__ = ["NUM_GROUPS", "contribute_groups", "contribute_without_groups", "jackknife"]

NUM_GROUPS: Final = 20
"""Ours: the standard error is known to a sixth (1 / sqrt(2·19)), at 21 computations of the metric."""


def jackknife(metric_of: Callable[[npt.NDArray[np.int64]], float], num_examples: int) -> tuple[float, Floats]:
    """Return the metric of all examples and what each of G groups contributes (G,), whose mean is the metric.

    The standard error of the mean of these contributions, with the population's deviation, is that of the jackknife.

    Args:
        metric_of: The metric of the examples at these places, ascending.
        num_examples: N, at least 2; with fewer than 20, each is a group.
    """
    places_N = np.arange(num_examples)
    value = metric_of(places_N)
    groups = np.array_split(places_N, min(NUM_GROUPS, num_examples))
    return value, contribute_without_groups(value, [metric_of(np.setdiff1d(places_N, group)) for group in groups])


def contribute_without_groups(value: float, metrics_G: Sequence[float]) -> Floats:
    """Return what each of at least two groups contributes, from the metric of all examples and that without each group."""
    number = len(metrics_G)
    return contribute_groups(value, [number * value - (number - 1) * metric for metric in metrics_G])


def contribute_groups(value: float, metrics_G: Sequence[float]) -> Floats:
    """Return what each of at least two groups contributes, from the metric of all examples and that of each group by itself."""
    parts_G, number = np.asarray(metrics_G, dtype=np.float64), len(metrics_G)
    contributions_G: Floats = value + (parts_G - parts_G.mean()) * math.sqrt(number / (number - 1))
    return contributions_G

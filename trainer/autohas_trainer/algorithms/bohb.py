"""BOHB: Hyperband whose configurations come from two kernel densities, of the good and of the bad configurations. The sampler.

Source: Falkner et al. (2018), "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", and its public code HpBandSter:

    which rung     the latest one with enough trials: two more than the fewest points of a density, which are d + 1
    good, bad      the best 15 % and the others, but no fewer than d + 1 each; of few trials some are both
    a draw         a third are uniform; otherwise the best of 64 samples of the good density by good / bad
    a condition    an inactive decision has the value of a random configuration in which it is active, or any value

Ours: choices that are numbers are numbers, as HpBandSter asks for integers in their place. HpBandSter's code waits for 2 (d + 1) trials,
so that none is both good and bad; the paper does not. An inactive decision is filled in at each draw. `_kde` has the densities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autohas_api.algorithms.bohb import BOHB, count_points, count_trials
from autohas_api.space.decisions import Configuration, Decision, Space, initial_points
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._kde import KernelDensity
from autohas_trainer.algorithms._order import find_place, sort_choices
from autohas_trainer.algorithms._proposer import TrialRecord
from autohas_trainer.algorithms.multi_trial import MultiTrial
from autohas_trainer.algorithms.uniform import draw_uniformly

__all__ = ["DensitySampler", "build_bohb"]

GOOD_PERCENT: Final = 15
"""Of the trials at a rung, those whose density is sampled."""
NUM_SAMPLES: Final = 64
"""Samples of the good density, of which one is proposed."""
UNIFORM_SHARE: Final = 1 / 3
"""Of the draws: what Hyperband promises holds for these."""
WIDENING: Final = 3.0
"""Factor of the bandwidths with which the good density is sampled."""


class DensitySampler:
    """Proposes where good configurations are dense and bad ones are not."""

    def __init__(self, space: Space) -> None:
        """Draw from `space`."""
        self._space = space
        self._decisions = space.searched_decisions()
        self._sizes = tuple(0 if decision.range or decision.is_ordered else len(decision.choices) for decision in self._decisions)
        self._fewest = count_points(len(self._decisions))

    def draw(self, history: Sequence[TrialRecord], rng: np.random.Generator) -> Configuration:
        """One configuration; a uniform one as long as no rung has enough trials."""
        records = self._find_rung(history)
        if not records or rng.random() < UNIFORM_SHARE:
            return draw_uniformly(self._space, rng)
        records.sort(key=attrgetter("key"), reverse=True)
        num_good = max(self._fewest, GOOD_PERCENT * len(records) // 100)
        num_bad = max(self._fewest, len(records) - num_good)
        good, bad = self._fit(records[:num_good], rng), self._fit(records[-num_bad:], rng)
        samples = [good.sample(rng, WIDENING) for _ in range(NUM_SAMPLES)]
        return self._decode(max(samples, key=lambda point_D: good.log_density(point_D) - bad.log_density(point_D)))

    def _find_rung(self, history: Sequence[TrialRecord]) -> list[TrialRecord]:
        """The records of the latest rung that has enough of them, by trial; none where no rung has."""
        for rung in sorted({record.rung for record in history}, reverse=True):
            records = [record for record in history if record.rung == rung]
            if len(records) >= count_trials(len(self._decisions)):
                return records
        return []

    def _fit(self, records: Sequence[TrialRecord], rng: np.random.Generator) -> KernelDensity:
        points_ND = np.array([self._encode(record.configuration) for record in records])
        return KernelDensity.fit(self._fill_in(points_ND, rng), self._sizes)

    def _encode(self, configuration: Configuration) -> list[float]:
        """One number per searched decision; NaN where it is inactive, and for a default that is no choice of a category."""
        values = self._space.as_mapping(configuration)
        return [self._encode_value(d, values[d.name]) if self._space.is_active(d, values) else math.nan for d in self._decisions]

    @staticmethod
    def _encode_value(decision: Decision, value: str) -> float:
        if decision.range is not None:
            return decision.range.position(float(value))
        place = find_place(decision, value)
        if place is None:
            return math.nan
        return (place + 0.5) / len(decision.choices) if decision.is_ordered else place

    def _fill_in(self, points_ND: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """The points without NaN: all that are missing from a random point which has the first of them, until none is."""
        filled_ND = points_ND.copy()
        for point_D in filled_ND:
            while (missing := np.flatnonzero(np.isnan(point_D))).size:
                first = missing[0]
                donors = np.flatnonzero(~np.isnan(points_ND[:, first]))
                if donors.size:
                    point_D[missing] = points_ND[int(rng.choice(donors)), missing]
                else:
                    point_D[first] = rng.integers(self._sizes[first]) if self._sizes[first] else rng.random()
        return filled_ND

    def _decode(self, point_D: NDArray[np.float64]) -> Configuration:
        values = {decision.name: decision.fixed for decision in self._space.decisions}
        for decision, coordinate in zip(self._decisions, point_D.tolist(), strict=True):
            values[decision.name] = _decode_value(decision, coordinate)
        return self._space.configuration(values)


def _decode_value(decision: Decision, coordinate: float) -> str:
    if decision.range is not None:
        return decision.range.write(decision.range.at(coordinate))
    if decision.is_ordered:
        ordered = sort_choices(decision)
        return ordered[min(int(coordinate * len(ordered)), len(ordered) - 1)]
    return decision.choices[int(coordinate)]


def build_bohb(spec: Spec, space: Space) -> MultiTrial:
    """The algorithm of a search, at its start."""
    knobs = spec.algorithm.knobs_as(BOHB)
    return MultiTrial(space, DensitySampler(space), initial=initial_points(spec, space), parallel_trials=knobs.parallel_trials)

"""What the comparisons of a search say about its rungs: their names, and how well one predicts another. Pure.

Spearman's rank correlation of the scores of the candidates that reached both rungs. Candidates that fell behind were not trained on, so the
correlation of a pair is that of survivors, which differ less than all candidates do: what it would be for all of them is unknown, as a rule
higher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.events import CandidateRecord

__all__ = ["RungCorrelation", "correlate_rungs", "share_text"]

_FEWEST: Final = 3
"""Two candidates have a correlation of 1 or -1."""
_ROUNDING: Final = 0.05
"""Steps are whole, so that 1/9 of a training is not exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungCorrelation:
    """How the order of candidates at one rung agrees with that at a later one."""

    early: float
    """Fraction of a training of the earlier rung."""
    late: float
    num_candidates: int
    """Candidates with a score at both."""
    spearman: float
    """From -1 to 1; ties share their mean rank."""


def correlate_rungs(records: Sequence[CandidateRecord]) -> tuple[RungCorrelation, ...]:
    """Every pair of rungs that at least three candidates reached with scores that differ, by the earlier and then by the later rung."""
    scores: dict[float, dict[str, float]] = {}
    for record in records:
        if record.score is not None:
            scores.setdefault(record.fraction, {}).setdefault(record.name, record.score)
    correlations = []
    for early, late in combinations(sorted(scores), 2):
        names = [name for name in scores[early] if name in scores[late]]
        ranks = [_rank(np.array([scores[rung][name] for name in names])) for rung in (early, late)]
        if len(names) >= _FEWEST and all(ranks_N.std() > 0 for ranks_N in ranks):
            spearman = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
            correlations.append(RungCorrelation(early=early, late=late, num_candidates=len(names), spearman=spearman))
    return tuple(correlations)


def _rank(scores_N: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 0, equal scores with their mean rank."""
    _, places_N, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts + 1) / 2
    ranks_N: npt.NDArray[np.float64] = means[places_N]
    return ranks_N


def share_text(fraction: float, eta: int) -> str:
    """A rung as text, where lengths differ by a factor of `eta`: 1/9, 1/3, 1."""
    divisor = eta ** round(math.log(1 / fraction, eta))
    if divisor > 1 and abs(fraction * divisor - 1) < _ROUNDING:
        return f"1/{divisor}"
    return f"{fraction:.2g}"

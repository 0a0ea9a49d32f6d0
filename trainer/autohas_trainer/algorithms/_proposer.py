"""What a multi-trial algorithm is: a sampler of configurations inside a schedule of rungs. Pure.

    sampler    which configuration is tried next, from the results so far
    schedule   how far a trial is trained, and which trials continue (`autohas_api.algorithms.brackets`)

The two know nothing of each other: TPE, BOHB and regularized evolution are samplers, halving and Hyperband are schedules. A sampler keeps
no generator and no state: its draw is a function of the history, which is in every checkpoint, and of a generator that is keyed by
the seed and the number of the trial. So a search that continues from a checkpoint proposes what it would have proposed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autohas_api.space.decisions import Configuration

__all__ = ["Sampler", "TrialRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """What is known of a trial at one rung.

    Attributes:
        number: Of the trial. 0 is the default; the initial points follow; then come the draws of the sampler.
        configuration: What was trained.
        rung: From 0; the last one is the end of a training. A trial has a record for each rung that it was compared at.
        score: Higher is better; comparable at one rung only. None: the trial failed or diverged, which is worse than every score.
    """

    number: int
    configuration: Configuration
    rung: int
    score: float | None

    @property
    def key(self) -> float:
        """What trials at one rung are ordered by: the score, or less than every score."""
        return -math.inf if self.score is None else self.score


class Sampler(Protocol):
    """Where the next configuration comes from."""

    def draw(self, history: Sequence[TrialRecord], rng: np.random.Generator) -> Configuration:
        """One configuration of the space, canonical (`Space.configuration`). It may be one that was a trial already.

        Such a draw is repeated with the same generator, whose state has moved on; a sampler that does not use it may repeat itself.

        Args:
            history: Records by trial number, then by rung; with parallel trials without those that would still be in training.
            rng: Keyed by the seed and the number of the trial.
        """

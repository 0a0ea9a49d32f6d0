"""The methods of `algorithm.compare`, and what each reached: a row of the termination message."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import ConfigDict

from autohas_api.base.model import Model
from autohas_api.wire.fields import Count, NotNegative, Score

MAX_COMPARED: Final = 16
"""Methods of a comparison in a termination message and in status."""


class MethodName(StrEnum):
    """Methods that `algorithm.compare` runs; each is the name of a folder too."""

    SEARCH = "search"
    """The user's own search."""
    RANDOM_HALVING = "random-halving"
    TPE_HALVING = "tpe-halving"
    DEFAULT_AS_LONG = "default-as-long"


class MethodOutcome(Model):
    """What a method of `algorithm.compare` reached, over its seeds: test scores, and the user's search minus this method, seed by seed.

    A positive difference means that the user's search is better. Of the user's search itself, everything about differences is absent.
    """

    model_config = ConfigDict(extra="ignore", strict=False)

    method: MethodName
    test: Score | None = None
    """Mean test score of the runs that have one; None where every run failed."""
    deviation: NotNegative | None = None
    """Sample standard deviation of the same; None below two."""
    runs: Count
    """Runs with a score."""
    failed: Count = 0
    """Runs without one: their default diverged."""
    difference: Score | None = None
    """Mean over the seeds; None where a run of either failed."""
    low: Score | None = None
    """Lower end of the 95 % interval of the mean; None below three seeds."""
    high: Score | None = None
    t: Score | None = None
    wins: Count | None = None
    """Seeds on which the user's search has the better score."""
    ties: Count | None = None
    losses: Count | None = None

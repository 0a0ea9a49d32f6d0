"""RegularizedEvolution: children of a population whose oldest member dies (Source: Real et al.)."""

from __future__ import annotations

import math
from typing import ClassVar, Final

from pydantic import Field

from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.learning_trials import LearningTrials, build_learning_row
from autohas_api.algorithms.plan_request import PlanRequest
from autohas_api.base.expressions import field
from autohas_api.base.model import Rule
from autohas_api.base.rules import rule

__all__ = ["EVOLUTION_ROW", "RegularizedEvolution"]

_SHARE: Final = 4
"""The paper trains its AmoebaNet-A with a population of 100 and samples of 25."""
_MIN_SAMPLE: Final = 2


class RegularizedEvolution(LearningTrials):
    """Settings of algorithm RegularizedEvolution, aging evolution (Real et al. 2019)."""

    population: int = Field(
        default=100,
        ge=2,
        le=10000,
        description="Number of members of the population. The default and random trials fill it before the first child.",
    )
    given_sample: int | None = Field(
        default=None,
        alias="sample",
        ge=_MIN_SAMPLE,
        le=10000,
        description="Number of random members of which the best is the parent of the next trial; at most population. If not set, a"
        " quarter of population, at least 2.",
    )
    aging: bool = Field(
        default=True,
        description="Whether a child replaces the oldest member. If false, it replaces the worst of the sample.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(~field("sample").is_given | (field("sample") <= field("population")), "sample must be at most population", at=".sample"),
    )

    @property
    def sample(self) -> int:
        """Members of a sample: as given, or the share that the paper recommends."""
        return max(_MIN_SAMPLE, math.ceil(self.population / _SHARE)) if self.given_sample is None else self.given_sample


def _population(request: PlanRequest) -> int:
    return request.knobs_as(RegularizedEvolution).population


def _fewest(request: PlanRequest) -> str:
    return f"a population of {_population(request)} (regularizedEvolution.population) and one child of it"


EVOLUTION_ROW: Final = build_learning_row(
    Schedule.FULL,
    name="RegularizedEvolution",
    description="children of the best of a population whose oldest member dies, each trained to the end.",
    knobs=RegularizedEvolution,
    num_known=_population,
    fewest=_fewest,
    trial_text="a configuration that was drawn at random, or later a copy of its parent with one decision changed, in their order",
    stage_texts={"Race": "the default, then random trials until the population is complete, then children of its members, each to the end"},
)

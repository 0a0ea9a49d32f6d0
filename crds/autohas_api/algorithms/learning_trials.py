"""Rows of the multi-trial algorithms whose sampler learns: TPE, BOHB, RegularizedEvolution.

A sampler draws uniformly until it knows the results of enough trials. A budget that ends before is refused: the search would be
one of uniform trials under another name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from pydantic import Field

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec
from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.multi_trial import TrialPlan, build_row
from autohas_api.algorithms.plan_request import PlanRequest
from autohas_api.base.model import Model

__all__ = ["LearningTrials", "build_learning_row"]


class LearningTrials(Model):
    """Setting of every algorithm whose trials are proposed from the results of earlier ones."""

    parallel_trials: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Number of trials that are open at a time: each is proposed without the results of the parallelTrials - 1 before it. "
        "They are trained one after another all the same.",
    )


def build_learning_row(  # noqa: PLR0913 - what a row consists of, except for what the schedule says
    schedule: Schedule,
    *,
    name: str,
    description: str,
    knobs: type[LearningTrials],
    num_known: Callable[[PlanRequest], int],
    fewest: Callable[[PlanRequest], str],
    refine: Callable[[AlgorithmSpec, Model | None], AlgorithmSpec] = lambda row, _: row,
    stage_texts: Mapping[str, str],
    trial_text: str,
) -> AlgorithmSpec:
    """The row of a multi-trial algorithm whose sampler learns.

    Args:
        schedule: How trials are cut short.
        name: Value of `spec.algorithm.name`.
        description: What `kubectl explain` says about it.
        knobs: Its settings.
        num_known: Trials whose results the sampler must know before it uses them.
        fewest: What the smallest budget pays for, for a sentence.
        refine: The row for given knobs.
        stage_texts: What the report says about a stage.
        trial_text: What the report says about trials.
    """
    row = build_row(schedule, name=name, description=description, knobs=knobs, refine=refine, stage_texts=stage_texts)
    minimum = partial(_minimum, schedule, row.minimum, num_known)
    return replace(row, minimum=minimum, fewest=partial(_fewest, fewest, row.block), candidate_texts={"trial": trial_text})


def _fewest(of_sampler: Callable[[PlanRequest], str], block: str, request: PlanRequest) -> str:
    """What the smallest budget pays for, with the trials that are open at the time of the last one."""
    text, num_open = of_sampler(request), request.knobs_as(LearningTrials).parallel_trials
    if num_open == 1:
        return text
    others = "trial" if num_open - 1 == 1 else f"{num_open - 1} trials"
    return f"{text} without the results of the {others} before it ({block}.parallelTrials)"


def _minimum(
    schedule: Schedule,
    of_any_trials: Callable[[PlanRequest], float],
    num_known: Callable[[PlanRequest], int],
    request: PlanRequest,
) -> float:
    """The default, the trials that must be known, and one that is proposed from them; without the results of those open at its time."""
    trial_plan = TrialPlan(schedule, request.ladder, request.steps, request.comparison)
    num_new = num_known(request) + request.knobs_as(LearningTrials).parallel_trials - 1
    return max(of_any_trials(request), trial_plan.default_price + trial_plan.price_of_trials(num_new))

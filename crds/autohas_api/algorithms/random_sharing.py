"""RandomSharing: random search with weight sharing, the one-shot control (Source: Li & Talwalkar)."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec, Race, SpecProblem
from autohas_api.algorithms.plan_request import FORWARD_SHARE, MIN_SUPERNET_TRAININGS, PlanRequest, SupernetSteps
from autohas_api.algorithms.stage_plan import StagePlan, num_rescored
from autohas_api.base.model import Model

__all__ = ["RANDOM_SHARING", "SCORE_BATCHES", "RandomSharing"]

SCORE_BATCHES: Final = 4
"""Reward batches on which one sample is scored."""


class RandomSharing(Model):
    """Settings of algorithm RandomSharing, random search with weight sharing (Li and Talwalkar 2019)."""

    num_samples: int = Field(
        default=100,
        ge=2,
        le=10000,
        description="Number of random configurations that are scored with the shared weights on a part of the reward "
        "split. The ten best are scored on the whole split, and the best of these is trained.",
    )


def _num_samples(request: PlanRequest) -> int:
    return request.knobs_as(RandomSharing).num_samples


def _scoring_cost(request: PlanRequest) -> float:
    """Trainings to score the samples: a gradient for the temporary update and SCORE_BATCHES forward passes each.

    The best ones once more, on the whole reward split, which is one batch at least.
    """
    whole = max(FORWARD_SHARE * request.num_reward / request.batch_size, request.reward_forward)
    first = _num_samples(request) * (1 + SCORE_BATCHES * request.reward_forward)
    again = num_rescored(_num_samples(request)) * (1 + whole)
    return (first + again) / request.steps


def _plan(request: PlanRequest, trainings: float) -> StagePlan:
    scoring, last = _scoring_cost(request), request.comparison.last
    supernet = _supernet(request, trainings - 1 - last - scoring)
    return StagePlan(
        rungs=request.rungs,
        supernet_steps=supernet.steps,
        schedule_steps=supernet.schedule,
        num_candidates=1,
        num_samples=_num_samples(request),
        scoring_trainings=scoring,
        supernet_trainings=supernet.trainings,
        predicted_trainings=1 + last + scoring + supernet.trainings,
    )


def _supernet(request: PlanRequest, trainings: float) -> SupernetSteps:
    steps = max(1, int(trainings * request.steps))
    return SupernetSteps(schedule=steps, steps=steps, warmup=0, trainings=steps / request.steps)


def _check(request: PlanRequest) -> SpecProblem | None:
    if request.num_initial > _num_samples(request):
        return SpecProblem(knob="numSamples", message="must be at least the number of initialPoints")
    return None


RANDOM_SHARING: Final = AlgorithmSpec(
    name="RandomSharing",
    description="the one-shot control, which samples uniformly and scores with shared weights.",
    knobs=RandomSharing,
    plan=_plan,
    supernet=_supernet,
    minimum=lambda request: 1 + request.comparison.last + MIN_SUPERNET_TRAININGS + _scoring_cost(request),
    race=Race.SAMPLES,
    check=_check,
    stage_texts={
        "Supernet": "shared weights, uniformly sampled networks",
        "Race": "samples scored on the shared weights",
        "Evaluate": "the best sample trained in full, one look at the test split",
    },
    candidate_texts={"sample": "a network drawn at random and scored on the shared weights; its number says which one it was"},
)

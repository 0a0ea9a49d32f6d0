"""DefaultOnly: no search. The default configuration is trained once, which is what every search is to be compared with."""

from __future__ import annotations

from typing import Final

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec, Race
from autohas_api.algorithms.plan_request import PlanRequest
from autohas_api.algorithms.stage_plan import StagePlan

__all__ = ["DEFAULT_ONLY"]


def _plan(request: PlanRequest, trainings: float) -> StagePlan:  # noqa: ARG001 - it costs 1: `unused_trainings` names the rest
    return StagePlan(rungs=request.rungs, trains_derived=True, predicted_trainings=1 + request.comparison.last)


DEFAULT_ONLY: Final = AlgorithmSpec(
    name="DefaultOnly",
    description="no search, the default configuration is trained once, whatever budget.trainings is.",
    plan=_plan,
    minimum=lambda _: 1.0,  # the one comparison chooses nothing: it gives the selection score
    searches_training_hyperparameters=True,
    is_search=False,
    race=Race.NONE,
    stage_texts={"Evaluate": "the default configuration trained in full, one look at the test split"},
)

"""RandomSearch: the multi-trial control. Every trial is a full training of its own (Source: Bergstra & Bengio)."""

from __future__ import annotations

from typing import Final

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec, Race
from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.plan_request import PlanRequest
from autohas_api.algorithms.stage_plan import StagePlan

__all__ = ["RANDOM_SEARCH"]

MIN_TRIALS: Final = 2
"""The default and one other."""


def _fewest_trials(request: PlanRequest) -> int:
    return max(MIN_TRIALS, 1 + request.num_initial)


def _plan(request: PlanRequest, trainings: float) -> StagePlan:
    price = 1 + request.comparison.last
    num_trials = max(_fewest_trials(request), int(trainings / price))
    return StagePlan(rungs=request.rungs, num_trials=num_trials, predicted_trainings=num_trials * price)


RANDOM_SEARCH: Final = AlgorithmSpec(
    name="RandomSearch",
    description="the multi-trial control, one full training per trial.",
    plan=_plan,
    minimum=lambda request: _fewest_trials(request) * (1 + request.comparison.last),
    searches_training_hyperparameters=True,
    race=Race.TRIALS,
    schedule=Schedule.FULL,
)

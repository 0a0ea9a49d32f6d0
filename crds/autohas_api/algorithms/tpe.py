"""TPE: trials from Optuna's tree-structured Parzen estimator, cut short by halving (Source: Bergstra et al.)."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec
from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.learning_trials import LearningTrials, build_learning_row
from autohas_api.algorithms.plan_request import PlanRequest
from autohas_api.base.model import Model

__all__ = ["TPE", "TPE_ROW"]


class TPE(LearningTrials):
    """Settings of algorithm TPE, the tree-structured Parzen estimator (Bergstra et al. 2011)."""

    startup_trials: int = Field(
        default=10,
        ge=1,
        le=10000,
        description="Number of trials whose results are known before the estimator proposes one: the default and random trials.",
    )
    halving: bool = Field(
        default=True,
        description="Whether trials are cut short by successive halving over budget.rungs. If false, each is trained to the end.",
    )


def _num_known(request: PlanRequest) -> int:
    return request.knobs_as(TPE).startup_trials


def _fewest(request: PlanRequest) -> str:
    number = _num_known(request)
    others = {1: "", 2: " and 1 other trial"}.get(number, f" and {number - 1} other trials")
    return f"the default{others} (tpe.startupTrials: {number}), and one trial that the estimator proposes"


def _refine(row: AlgorithmSpec, knobs: Model | None) -> AlgorithmSpec:
    return row if not isinstance(knobs, TPE) or knobs.halving else _FULL


def _build(schedule: Schedule, text: str) -> AlgorithmSpec:
    return build_learning_row(
        schedule,
        name="TPE",
        description="trials from a tree-structured Parzen estimator, cut short by successive halving.",
        knobs=TPE,
        num_known=_num_known,
        fewest=_fewest,
        refine=_refine,
        stage_texts={"Race": text},
        trial_text="a configuration that was drawn at random, or later proposed by the Parzen estimator, numbered in their order",
    )


_FULL: Final = _build(Schedule.FULL, "the default, then random trials, then trials that the Parzen estimator proposes, each to the end")
TPE_ROW: Final = _build(
    Schedule.HALVING,
    "the default, then random trials, then trials that the Parzen estimator proposes; the best of each bracket continue from rung to rung",
)

"""AutoHAS, strategy OneFactor, with budget.for Model: the winner continues with all that is left. Constants of the rule, plan and row.

Ours. Every lane is the beginning of one training as long as the whole budget, the default's first. A step of search is taken only while
it is worth more than a step of training, both by the curve of the default.
"""

from __future__ import annotations

import math
from typing import Final

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec, Race
from autohas_api.algorithms.auto_has import DESCRIPTION, AutoHAS
from autohas_api.algorithms.plan_request import PlanRequest
from autohas_api.algorithms.rungs import Rungs
from autohas_api.algorithms.stage_plan import StagePlan

__all__ = [
    "BEST_MODEL",
    "CREDIT",
    "CURVE_RUNG",
    "DECAY_FRACTION",
    "FEWEST_STEPS",
    "FLOOR_SHARE",
    "LANE_RUNG",
    "MODEL_RUNGS",
    "MOST_CHALLENGERS",
    "MOST_SEARCH",
    "PRIOR_CHANGES",
    "PRIOR_GAIN",
    "RELIABILITY",
    "longest_steps",
]

MODEL_RUNGS: Final = Rungs(eta=3, count=5)
"""1/81, 1/27, 1/9, 1/3 and all of the longest training that the budget pays for."""
LANE_RUNG: Final = 1
"""Rung at which lanes are compared: 1/27 of the longest training."""
CURVE_RUNG: Final = 2
"""Rung to which the default is trained before anything else, and to which challengers are trained: 1/9 of the longest training.

The default's comparisons there and at the two rungs before it give the curve. If the default wins, none of this was search."""
FLOOR_SHARE: Final = 0.5
"""Share that the curve takes of the floor through its three points: with all of it every early curve ends too soon, with none of it no
curve ever flattens."""
PRIOR_GAIN: Final = 0.01
"""Expected gain of one change before any was tried, as a logarithm of the error."""
PRIOR_CHANGES: Final = 2
"""Weight of that expectation, in changes: after as many changes without a gain the expectation is halved."""
RELIABILITY: Final = 0.7
"""Share of a predicted gain that is expected at the end: rank correlations of 1/9 with the end were 0.72 to 0.88 on three tables."""
CREDIT: Final = 0.5
"""Share of what the curve says that a slower configuration will catch up, which it gets before it has done so."""
MOST_SEARCH: Final = 0.5
"""Share of the budget that lanes and their comparisons take at most; the race is not part of it, nor is the default's training."""
MOST_CHALLENGERS: Final = 2
"""Lanes that are trained to 1/9 of the longest training at most."""
DECAY_FRACTION: Final = 0.5
"""Share of the winner's training in which the rate of WSD falls, where the recipe gives none: a fifth, as elsewhere, costs a default with
the whole budget more (docs/decisions/algorithms.md has the measurement)."""
FEWEST_STEPS: Final = 810
"""Steps of the longest training at least: the first rung is at 10 of them."""


def longest_steps(steps: int, trainings: float) -> int:
    """Steps of a training that takes the whole budget, of a configuration whose full training has `steps`."""
    return math.ceil(steps * trainings - 1e-9)


def _minimum(request: PlanRequest) -> float:
    """One training of the default, its comparisons, and the beginning of one other lane."""
    return 1 + (CURVE_RUNG + 1) * request.comparison.early + request.comparison.last


def _plan(request: PlanRequest, trainings: float) -> StagePlan:
    longest = longest_steps(request.steps, trainings)
    rungs = tuple(request.ladder.steps(longest, number) for number in range(request.ladder.count))
    curve = rungs[CURVE_RUNG] / request.steps + (CURVE_RUNG + 1) * request.comparison.early
    return StagePlan(
        rungs=rungs,
        full_steps=request.steps,
        num_lanes=1,
        default_steps=rungs[CURVE_RUNG],
        num_finalists=MOST_CHALLENGERS,
        num_challengers=1,
        trains_derived=True,
        lane_trainings=curve,
        predicted_trainings=trainings,
    )


def _name_fewest(_: PlanRequest) -> str:
    return "one training of the default with its comparisons, and a model is at least that"


BEST_MODEL: Final = AlgorithmSpec(
    name="AutoHAS",
    description=DESCRIPTION,
    strategy="OneFactor",
    knobs=AutoHAS,
    plan=_plan,
    minimum=_minimum,
    fewest=_name_fewest,
    searches_training_hyperparameters=True,
    race=Race.MODEL,
    stage_texts={
        "Lanes": "the default to 1/9 of the longest training; then one decision changed at a time, and combinations of what helped, each to"
        " 1/27 of it, as long as that is worth more than to train",
        "Race": "the best lanes to 1/9 of the longest training, compared with the default there",
        "Evaluate": "the winner's training continued with all that was left of the budget, then the test",
    },
)

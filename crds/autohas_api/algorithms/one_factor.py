"""AutoHAS, strategy OneFactor: one decision is changed at a time, then what helped is combined. The constants of the rule, plan and row.

Ours. All lanes begin with the same weights and see the same batches, so the difference of two lanes at 1/9 of a training has little
noise; and the default is what a person knows already, so that better configurations lie near it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec, Race
from autohas_api.algorithms.auto_has import DESCRIPTION, AutoHAS
from autohas_api.algorithms.best_model import BEST_MODEL
from autohas_api.algorithms.plan_request import PlanRequest
from autohas_api.algorithms.stage_plan import StagePlan, num_challengers

__all__ = [
    "EFFECT_WIDTH",
    "KEPT_PER_FINALIST",
    "LANES_PER_CHALLENGER",
    "MIN_NEIGHBOURS",
    "NEIGHBOUR_SHARE",
    "ONE_FACTOR",
    "REFINEMENTS_PER_ROUND",
]

NEIGHBOUR_SHARE: Final = 0.5
"""Share of what the lanes have left at the beginning of a round that pays for neighbours; combinations and refinements get the rest."""
EFFECT_WIDTH: Final = 0.0
"""Standard errors of the paired difference by which a change must help to be combined. 0: a combination is tried anyway."""
REFINEMENTS_PER_ROUND: Final = 6
"""Refinements of the best lane before its own neighbours are a new round; without a new round they take all that is left."""
FINALISTS_PER_TRAINING: Final = 0.75
"""Lanes that continue to 1/3 next to the default, per training of the budget: 2 of 3, 4 of 5.5, 8 of 11, 16 of 22."""
LANES_PER_CHALLENGER: Final = 4
"""Of this number of lanes at 1/3 one is trained to the end next to the default; one at least."""
KEPT_PER_FINALIST: Final = 2
"""Lanes, the best ones, whose trainings are kept for the race, per planned finalist: a race may be wider than planned."""
MIN_NEIGHBOURS: Final = 3
"""Lanes next to the default and the initial points that the smallest budget pays for."""
_SLACK: Final = 1e-9


def _lane_price(request: PlanRequest) -> float:
    first, _, last = request.rungs
    return first / last + request.comparison.early


def _race_price(request: PlanRequest, finalists: int) -> float:
    """Trainings that bring the default and the finalists from 1/9 to 1/3, and the default and the challengers from there to the end."""
    first, second, last = request.rungs
    to_third = (second - first) / last + request.comparison.early
    to_end = (last - second) / last + request.comparison.last
    return (1 + finalists) * to_third + (1 + num_challengers(finalists, LANES_PER_CHALLENGER)) * to_end


def _fewest_lanes(request: PlanRequest) -> int:
    return 1 + request.num_initial + MIN_NEIGHBOURS


def _minimum(request: PlanRequest) -> float:
    return _fewest_lanes(request) * _lane_price(request) + _race_price(request, 1)


def _num_finalists(request: PlanRequest, trainings: float) -> int:
    """As many as the budget is meant to have, but no more than it pays for next to the fewest lanes."""
    wanted = range(2, int(trainings * FINALISTS_PER_TRAINING) + 1)
    paid = trainings - _fewest_lanes(request) * _lane_price(request) + _SLACK
    return 1 + bisect_right(wanted, paid, key=lambda number: _race_price(request, number))


def _plan(request: PlanRequest, trainings: float) -> StagePlan:
    finalists = _num_finalists(request, trainings)
    race, lane = _race_price(request, finalists), _lane_price(request)
    num_lanes = max(_fewest_lanes(request), int((trainings - race + _SLACK) / lane))
    return StagePlan(
        rungs=request.rungs,
        num_lanes=num_lanes,
        num_finalists=finalists,
        num_challengers=num_challengers(finalists, LANES_PER_CHALLENGER),
        lane_trainings=num_lanes * lane,
        predicted_trainings=num_lanes * lane + race,
    )


ONE_FACTOR: Final = AlgorithmSpec(
    name="AutoHAS",
    description=DESCRIPTION,
    strategy="OneFactor",
    knobs=AutoHAS,
    plan=_plan,
    minimum=_minimum,
    searches_training_hyperparameters=True,
    race=Race.LEADERS,
    for_model=BEST_MODEL,
    stage_texts={
        "Lanes": "the default, then one decision changed at a time, then combinations of what helped, each to 1/9 of a training",
        "Race": "the best lanes and the default to 1/3 of a training, the best of these and the default to the end",
    },
)

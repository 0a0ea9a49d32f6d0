"""AutoHAS, the strategies with a learned controller: plans and rows of Lanes, OneStep and Paired.

Ours: the stage shares. With Lanes about a third of the default budget goes to lanes, a quarter to the supernet, the rest to the race.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace
from typing import Final

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec, Race, SpecProblem
from autohas_api.algorithms.auto_has_knobs import AutoHAS
from autohas_api.algorithms.plan_request import (
    FORWARD_SHARE,
    MAX_NEW_CANDIDATES,
    MIN_SUPERNET_TRAININGS,
    Comparisons,
    PlanRequest,
    SupernetSteps,
    finalists_cost,
    race_cost,
)
from autohas_api.algorithms.stage_plan import FINALISTS, StagePlan
from autohas_api.base.model import Model

__all__ = ["DESCRIPTION", "LANES", "ONE_STEP", "PAIRED", "AutoHAS"]

MIN_LANES: Final = 3
LANE_SHARE: Final = 0.55
"""Share of what the race leaves that pays for lanes when an architecture is searched too."""
_LANE_COSTS_AT_LEAST: Final = 5 / 27
"""A ninth, and of every third lane two ninths."""
MIN_ARGMAX_TRAININGS: Final = 2.0
"""With result Argmax: one for the derived configuration and one for the supernet that it is derived from (Ours)."""
_ROUNDING_STEPS: Final = 100
"""More steps than the rounding of warm-up and window can be worth: at most 35 rewards, in units of at least 0.3 rewards a step."""


def _knobs(request: PlanRequest) -> AutoHAS:
    return request.knobs_as(AutoHAS)


def _fewest_lanes(request: PlanRequest) -> int:
    return max(MIN_LANES, 1 + request.num_initial)


def _num_survivors(num_lanes: int) -> int:
    return math.ceil(num_lanes / 3)


def _lanes_cost(num_lanes: int, comparison: Comparisons) -> float:
    """Trainings for `num_lanes` to 1/9 and the best third of them to 1/3."""
    survivors = _num_survivors(num_lanes)
    return num_lanes / 9 + survivors * 2 / 9 + (num_lanes + survivors) * comparison.early


def _most_lanes(request: PlanRequest, trainings: float) -> int:
    fewest = _fewest_lanes(request)
    more = range(fewest + 1, max(fewest, math.ceil(trainings / _LANE_COSTS_AT_LEAST)) + 2)
    return fewest + bisect_right(more, trainings, key=lambda number: _lanes_cost(number, request.comparison))


def _lanes_race_cost(request: PlanRequest) -> float:
    """Trainings of the race after lanes: with new candidates where an architecture is searched, else of the best lane and the default."""
    if not request.searches_architecture:
        return race_cost(0, 1, request.comparison)
    return race_cost(MAX_NEW_CANDIDATES, FINALISTS + 1, request.comparison)


def _minimum_lanes(request: PlanRequest) -> float:
    lanes = _lanes_cost(_fewest_lanes(request), request.comparison)
    return lanes + _lanes_race_cost(request) + (MIN_SUPERNET_TRAININGS if request.searches_architecture else 0.0)


def _plan_lanes(request: PlanRequest, trainings: float) -> StagePlan:
    race = _lanes_race_cost(request)
    rest = trainings - race
    share = min(rest * LANE_SHARE, rest - MIN_SUPERNET_TRAININGS) if request.searches_architecture else rest
    num_lanes = _most_lanes(request, share)
    lanes = _lanes_cost(num_lanes, request.comparison)
    steps, warmup, supernet = _supernet_steps(request, rest - lanes) if request.searches_architecture else (0, 0, 0.0)
    return StagePlan(
        rungs=request.rungs,
        num_lanes=num_lanes,
        num_survivors=_num_survivors(num_lanes),
        warmup_steps=warmup,
        supernet_steps=steps,
        schedule_steps=steps,
        num_candidates=MAX_NEW_CANDIDATES if request.searches_architecture else 0,
        lane_trainings=lanes,
        supernet_trainings=supernet,
        predicted_trainings=race + lanes + supernet,
    )


def _supernet_steps(request: PlanRequest, trainings: float) -> tuple[int, int, float]:
    """(steps, of which uniform, trainings they cost): warm-up steps are not rewarded."""
    fraction, forward = _knobs(request).uniform_share, request.reward_forward
    steps = max(1, int(max(trainings, MIN_SUPERNET_TRAININGS) * request.steps / (1 + forward * (1 - fraction))))
    warmup = math.ceil(steps * fraction)
    return steps, warmup, (warmup + (steps - warmup) * (1 + forward)) / request.steps


def _lanes_supernet(request: PlanRequest, trainings: float) -> SupernetSteps:
    steps, warmup, cost = _supernet_steps(request, trainings)
    return SupernetSteps(schedule=steps, steps=steps, warmup=warmup, trainings=cost)


def _window(request: PlanRequest, schedule: int) -> tuple[int, int]:
    """(first step, step after the last) in which hyperparameters are learned."""
    first, last = (math.ceil(schedule * bound) for bound in _knobs(request).window)
    return (first, last) if request.searches_update_rule else (0, 0)


def _steps_of_schedule(request: PlanRequest, schedule: int) -> tuple[int, int]:
    """(steps taken, of which uniform): all of them for an architecture; for hyperparameters alone no more than their window needs."""
    if not request.searches_architecture:
        return _window(request, schedule)[1], 0
    return schedule, math.ceil(schedule * _knobs(request).uniform_share)


def _cost_of_schedule(request: PlanRequest, schedule: int) -> float:
    """Training steps that a supernet stage of OneStep or Paired costs.

    Inside the window: one reward per update rule, a look at the training loss if the guard takes one, perhaps a gradient of its own;
    outside it one reward of the architecture once the warm-up is over. Paired rewards the architecture in addition to its update rules.
    """
    knobs = _knobs(request)
    steps, warmup = _steps_of_schedule(request, schedule)
    first, last = _window(request, schedule)
    window = last - first
    taught, taught_in_window = (steps - warmup, max(last - max(first, warmup), 0)) if request.searches_architecture else (0, 0)
    rewards_in_window = knobs.num_paired * window + taught_in_window if knobs.strategy == "Paired" else window
    rewards = taught - taught_in_window + rewards_in_window
    gradients = steps + (window if knobs.has_own_batch else 0)
    return gradients + request.reward_forward * rewards + (FORWARD_SHARE * window if knobs.has_guard else 0)


def _one_step_schedule(request: PlanRequest, trainings: float) -> tuple[int, float]:
    """(steps of the schedule, trainings that what is taken of it costs): as many as the trainings pay for."""
    paid = max(trainings, MIN_SUPERNET_TRAININGS) * request.steps
    most = max(1, int(paid * 1000 / _cost_of_schedule(request, 1000)) + 1)
    # The cost is linear except for the rounding of its bounds: scaled from a schedule this close, it is right to a few steps.
    schedule = min(most, int(paid * most / _cost_of_schedule(request, most)) + _ROUNDING_STEPS)
    while schedule > 1 and _cost_of_schedule(request, schedule) > paid:
        schedule -= 1
    return schedule, _cost_of_schedule(request, schedule) / request.steps


def _one_step_supernet(request: PlanRequest, trainings: float) -> SupernetSteps:
    schedule, cost = _one_step_schedule(request, trainings)
    steps, warmup = _steps_of_schedule(request, schedule)
    return SupernetSteps(schedule=schedule, steps=steps, warmup=warmup, trainings=cost)


def _minimum_one_step(request: PlanRequest) -> float:
    return finalists_cost(request) + MIN_SUPERNET_TRAININGS


def _plan_one_step(request: PlanRequest, trainings: float) -> StagePlan:
    race = finalists_cost(request)
    schedule, supernet = _one_step_schedule(request, trainings - race)
    steps, warmup = _steps_of_schedule(request, schedule)
    return StagePlan(
        rungs=request.rungs,
        warmup_steps=warmup,
        supernet_steps=steps,
        schedule_steps=schedule,
        num_candidates=request.num_candidates,
        supernet_trainings=supernet,
        predicted_trainings=race + supernet,
    )


def _reward_architecture(request: PlanRequest, plan: StagePlan) -> int:
    return plan.supernet_steps - plan.warmup_steps if request.searches_architecture else 0


def _minimum_argmax(request: PlanRequest) -> float:
    return max(MIN_ARGMAX_TRAININGS, 1 + request.comparison.last + MIN_SUPERNET_TRAININGS)


def _plan_argmax(request: PlanRequest, trainings: float) -> StagePlan:
    """Of the budget one training and its comparison are set aside; the supernet gets the rest."""
    last = 1 + request.comparison.last
    schedule, supernet = _one_step_schedule(request, trainings - last)
    steps, warmup = _steps_of_schedule(request, schedule)
    return StagePlan(
        rungs=request.rungs,
        warmup_steps=warmup,
        supernet_steps=steps,
        schedule_steps=schedule,
        trains_derived=True,
        supernet_trainings=supernet,
        predicted_trainings=last + supernet,
    )


def _check_argmax(request: PlanRequest) -> SpecProblem | None:
    if request.num_initial:
        message = "Argmax compares nothing, so initialPoints would have no effect: remove them, or take Race"
        return SpecProblem(knob="preset" if _knobs(request).is_published else "result", message=message)
    return None


def _reward_both(request: PlanRequest, plan: StagePlan) -> int:
    """OneStep forgets its average where the window of the hyperparameters opens and closes: those after the last of these count."""
    edges = [edge for edge in _window(request, plan.schedule_steps) if edge < plan.supernet_steps]
    return plan.supernet_steps - max(plan.warmup_steps, *edges, 0)


def _policy_learning_rate(knobs: Model | None) -> float:
    assert isinstance(knobs, AutoHAS)  # noqa: S101 - the rows below say so
    return knobs.controller_rate


_MEASURED: Final = (
    "preset Published is the paper's form, for comparison: it returns what its controller derived without comparing it. On the UCI protein"
    " table (ten seeds, 5.5 trainings, 2026-11-30) its mean rmse is 0.609, where the default alone has 0.578 and strategy OneFactor 0.569"
)


def _refine(row: AlgorithmSpec, knobs: Model | None) -> AlgorithmSpec:
    """The row with what follows from `result` and `preset`."""
    assert isinstance(knobs, AutoHAS)  # noqa: S101 - the rows below say so
    if knobs.has_race:
        return row
    return replace(
        row,
        plan=_plan_argmax,
        minimum=_minimum_argmax,
        check=_check_argmax,
        race=Race.NONE,
        mixing="TopK" if knobs.is_published else row.mixing,
        notice=_MEASURED if knobs.is_published else None,
        stage_texts={
            "Supernet": "shared weights, the controller learns hyperparameters and architecture from rewards",
            "Evaluate": "the derived configuration trained in full, one look at the test split",
        },
    )


DESCRIPTION: Final = "single changes of the default or a learned controller, by its strategy."

LANES: Final = AlgorithmSpec(
    name="AutoHAS",
    description=DESCRIPTION,
    strategy="Lanes",
    knobs=AutoHAS,
    plan=_plan_lanes,
    supernet=_lanes_supernet,
    minimum=_minimum_lanes,
    searches_training_hyperparameters=True,
    rewards_controller=_reward_architecture,
    policy_learning_rate=_policy_learning_rate,
)
ONE_STEP: Final = AlgorithmSpec(
    name="AutoHAS",
    description=DESCRIPTION,
    strategy="OneStep",
    knobs=AutoHAS,
    plan=_plan_one_step,
    supernet=_one_step_supernet,
    minimum=_minimum_one_step,
    learns_hyperparameters=True,
    mixing="Gaussian",
    rewards_controller=_reward_both,
    policy_learning_rate=_policy_learning_rate,
    refine=_refine,
)
PAIRED: Final = AlgorithmSpec(
    name="AutoHAS",
    description=DESCRIPTION,
    strategy="Paired",
    knobs=AutoHAS,
    plan=_plan_one_step,
    supernet=_one_step_supernet,
    minimum=_minimum_one_step,
    learns_hyperparameters=True,
    mixing="Gaussian",
    rewards_controller=_reward_architecture,
    policy_learning_rate=_policy_learning_rate,
    refine=_refine,
)

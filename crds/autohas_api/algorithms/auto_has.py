"""AutoHAS: a learned controller, by three strategies (Lanes, OneStep, Paired). Knobs, plans and rows.

Ours: the stage shares. About a third of the default budget goes to lanes, a quarter to the supernet, the rest to the race.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec
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
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.rules import between, more_than, only_with

__all__ = ["DESCRIPTION", "HYPERPARAMETER_WINDOW", "LANES", "ONE_STEP", "PAIRED", "PAIRED_SAMPLES", "AutoHAS"]

MIN_LANES: Final = 3
LANE_SHARE: Final = 0.55
"""Share of what the race leaves that pays for lanes when an architecture is searched too."""
_LANE_COSTS_AT_LEAST: Final = 5 / 27
"""A ninth, and of every third lane two ninths."""
HYPERPARAMETER_WINDOW: Final = (0.05, 0.20)
"""Share of the supernet steps in which OneStep and Paired sample and learn hyperparameters; then they are frozen.

Ours: rewards one step ahead prefer too large rates before the window and, after it, rates that are 10 to 100 times too small
(measured, docs/algorithm.md). Where no architecture is searched, nothing is learned afterwards: the supernet ends with the window, and its
budget pays for a longer schedule."""
PAIRED_SAMPLES: Final = 4
_ROUNDING_STEPS: Final = 100
"""More steps than the rounding of warm-up and window can be worth: at most 35 rewards, in units of at least 0.3 rewards a step."""


class AutoHAS(Model):
    """Settings of algorithm AutoHAS."""

    strategy: Literal["OneFactor", "Lanes", "OneStep", "Paired"] = Field(
        default="OneFactor",
        description="How configurations are searched. OneFactor: one decision of the default changed at a time, then what helped "
        "combined, each for 1/9 of a training; no shared weights and no controller. Lanes: successive halving over the first "
        "parts of full trainings, then REINFORCE for the architecture. OneStep: REINFORCE for hyperparameters and architecture "
        "together, rewarded after one step of temporary weights. Paired: as OneStep, with several update "
        "rules compared on one gradient and one reward batch.",
    )
    policy_learning_rate: Decimal = Field(
        default="0.1", description="Learning rate of Adam for the controller's logits, a decimal greater than 0."
    )
    warmup_fraction: Decimal = Field(
        default="0.25",
        description="Fraction of the supernet's steps that sample uniformly before the controller learns, a decimal from 0 to 0.9.",
    )
    shared_update: Literal["Reference", "Sampled"] | None = Field(
        default=None,
        description="Hyperparameters that update the shared weights; only with strategy OneStep. Reference: those that "
        "the controller derives for the sampled architecture. Sampled: the sampled ones. If not set, "
        "Reference.",
    )
    temporary_batch: Literal["Shared", "Own"] | None = Field(
        default=None,
        description="Training batch that produces the temporary weights; only with strategy OneStep or Paired. Shared: "
        "the batch of the step. Own: a second batch, which costs a second gradient. If not set, Shared.",
    )
    paired_samples: Annotated[int, Field(ge=2, le=32)] | None = Field(
        default=None, description="Number of update rules that are compared on one gradient; only with strategy Paired. If not set, 4."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        only_with("sharedUpdate", "strategy", "OneStep"),
        only_with("temporaryBatch", "strategy", "OneStep", "Paired"),
        only_with("pairedSamples", "strategy", "Paired"),
        more_than("policyLearningRate", 0),
        between("warmupFraction", 0, 0.9),
    )


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
        warmup_fraction=float(_knobs(request).warmup_fraction),
        lane_trainings=lanes,
        supernet_trainings=supernet,
        predicted_trainings=race + lanes + supernet,
    )


def _supernet_steps(request: PlanRequest, trainings: float) -> tuple[int, int, float]:
    """(steps, of which uniform, trainings they cost): warm-up steps are not rewarded."""
    fraction, forward = float(_knobs(request).warmup_fraction), request.reward_forward
    steps = max(1, int(max(trainings, MIN_SUPERNET_TRAININGS) * request.steps / (1 + forward * (1 - fraction))))
    warmup = math.ceil(steps * fraction)
    return steps, warmup, (warmup + (steps - warmup) * (1 + forward)) / request.steps


def _lanes_supernet(request: PlanRequest, trainings: float) -> SupernetSteps:
    steps, warmup, cost = _supernet_steps(request, trainings)
    return SupernetSteps(schedule=steps, steps=steps, warmup=warmup, trainings=cost)


def _window(request: PlanRequest, schedule: int) -> tuple[int, int]:
    """(first step, step after the last) in which hyperparameters are learned."""
    first, last = (math.ceil(schedule * bound) for bound in HYPERPARAMETER_WINDOW)
    return (first, last) if request.searches_update_rule else (0, 0)


def _steps_of_schedule(request: PlanRequest, schedule: int) -> tuple[int, int]:
    """(steps taken, of which uniform): all of them for an architecture; for hyperparameters alone no more than their window needs."""
    if not request.searches_architecture:
        return _window(request, schedule)[1], 0
    return schedule, math.ceil(schedule * float(_knobs(request).warmup_fraction))


def _cost_of_schedule(request: PlanRequest, schedule: int) -> float:
    """Training steps that a supernet stage of OneStep or Paired costs.

    Inside the window: one reward per update rule, a look at the training loss after the update, perhaps a gradient of its own;
    outside it one reward of the architecture once the warm-up is over. Paired rewards the architecture in addition to its update rules.
    """
    knobs = _knobs(request)
    steps, warmup = _steps_of_schedule(request, schedule)
    first, last = _window(request, schedule)
    window = last - first
    taught, taught_in_window = (steps - warmup, max(last - max(first, warmup), 0)) if request.searches_architecture else (0, 0)
    rewards_in_window = num_paired(knobs) * window + taught_in_window if knobs.strategy == "Paired" else window
    rewards = taught - taught_in_window + rewards_in_window
    gradients = steps + (window if knobs.temporary_batch == "Own" else 0)
    return gradients + request.reward_forward * rewards + FORWARD_SHARE * window


def _one_step_schedule(request: PlanRequest, trainings: float) -> tuple[int, float]:
    """(steps of the schedule, trainings that what is taken of it costs): as many as the trainings pay for."""
    paid = max(trainings, MIN_SUPERNET_TRAININGS) * request.steps
    most = max(1, int(paid * 1000 / _cost_of_schedule(request, 1000)) + 1)
    # The cost is linear except for the rounding of its bounds: scaled from a schedule this close, it is right to a few steps.
    schedule = min(most, int(paid * most / _cost_of_schedule(request, most)) + _ROUNDING_STEPS)
    while schedule > 1 and _cost_of_schedule(request, schedule) > paid:
        schedule -= 1
    return schedule, _cost_of_schedule(request, schedule) / request.steps


def num_paired(knobs: AutoHAS) -> int:
    """Update rules that Paired compares on one gradient."""
    return knobs.paired_samples or PAIRED_SAMPLES


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
        warmup_fraction=float(_knobs(request).warmup_fraction),
        supernet_trainings=supernet,
        predicted_trainings=race + supernet,
    )


def _reward_architecture(request: PlanRequest, plan: StagePlan) -> int:
    return plan.supernet_steps - plan.warmup_steps if request.searches_architecture else 0


def _reward_both(request: PlanRequest, plan: StagePlan) -> int:
    """OneStep forgets its average where the window of the hyperparameters closes, if that is later than the end of the warm-up."""
    first, last = (math.ceil(plan.schedule_steps * bound) for bound in HYPERPARAMETER_WINDOW)
    if not request.searches_architecture:
        return plan.supernet_steps - first
    return plan.supernet_steps - max(plan.warmup_steps, last if request.searches_update_rule else 0)


def _policy_learning_rate(knobs: Model | None) -> float:
    assert isinstance(knobs, AutoHAS)  # noqa: S101 - the rows below say so
    return float(knobs.policy_learning_rate)


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
    rewards_controller=_reward_both,
    policy_learning_rate=_policy_learning_rate,
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
    rewards_controller=_reward_architecture,
    policy_learning_rate=_policy_learning_rate,
)

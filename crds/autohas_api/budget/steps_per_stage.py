"""How a budget in trainings becomes steps per stage: pure arithmetic, the same for dry run, acceptance and search.

The unit is one full training of the default configuration, and every candidate counts as one. Each file in `autohas_api.algorithms` divides
the budget for one algorithm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from autohas_api.algorithms.plan_request import FORWARD_SHARE, Comparisons, PlanRequest, SupernetPrices
from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.space.decisions import Role, Space
from autohas_api.spec.search import Spec

__all__ = [
    "EARLY_EXAMPLES",
    "PLATEAU_FILLING_REWARDS",
    "make_request",
    "minimum_trainings",
    "plan_stages",
    "plan_supernet",
    "price_comparisons",
]

EARLY_EXAMPLES: Final = 1024
"""Examples of the selection split, always the same ones, on which candidates are compared before the end of their training.

Ours: the loss differences of two candidates, in units of a constant answer's loss, had standard deviations of 0.16 to 0.52 over the
examples (protein and Fashion-MNIST, mlp-small, at 1/9 and 1/3), so that 1,024 examples give a standard error of 0.005 to 0.016; candidates
at 1/9 lay 0.03 to 0.04 apart (one standard deviation). The end of a training, which decides on the winner, takes the whole split."""
PLATEAU_FILLING_REWARDS: Final = 20
"""Rewards that only initialise the mean of budget.earlyStopping.plateauSteps: its window is 1/(1 - 0.95) = 20."""


def make_request(spec: Spec, space: Space, num_selection: int = 0, num_reward: int = 0) -> PlanRequest:
    """The numbers that the algorithm's plan depends on.

    Args:
        spec: The search.
        space: Its space.
        num_selection: Examples of the selection split, once the data is known: comparisons are paid for too.
        num_reward: Examples of the reward split, on all of which the best samples of a race of samples are scored again.
    """
    return PlanRequest(
        knobs=spec.algorithm.knobs,
        steps=spec.training.steps,
        batch_size=spec.task.recipe.batch_size,
        num_initial=len(spec.search_space.initial_points),
        num_decisions=len(space.searched_decisions()),
        searches_architecture=bool(space.searched_decisions(Role.ARCHITECTURE)),
        searches_update_rule=bool(space.searched_decisions(Role.UPDATE_RULE)),
        comparison=price_comparisons(spec, num_selection),
        num_reward=num_reward,
        ladder=spec.budget.rungs_of_training,
    )


def plan_stages(spec: Spec, space: Space, num_selection: int = 0, num_reward: int = 0) -> StagePlan:
    """Steps per stage for a valid spec; arguments as for `make_request`."""
    num_repeats = spec.training.seeds - 1
    trainings = max(float(spec.budget.trainings), minimum_trainings(spec, space, num_selection, num_reward)) - num_repeats
    plan = spec.row.plan(make_request(spec, space, num_selection, num_reward), trainings)
    predicted = plan.predicted_trainings + num_repeats
    return replace(plan, num_repeats=num_repeats, search_trainings=trainings, predicted_trainings=predicted)


def price_comparisons(spec: Spec, num_selection: int) -> Comparisons:
    """Forward passes over `num_selection` examples at the end, over EARLY_EXAMPLES of them at most before it."""
    example = FORWARD_SHARE / spec.task.recipe.batch_size / spec.training.steps
    return Comparisons(early=min(num_selection, EARLY_EXAMPLES) * example, last=num_selection * example)


def minimum_trainings(spec: Spec, space: Space, num_selection: int = 0, num_reward: int = 0) -> float:
    """The smallest budget, in trainings, with which every stage of the algorithm can do its work, repeats of the winner included.

    Arguments as for `make_request`.
    """
    return spec.row.minimum(make_request(spec, space, num_selection, num_reward)) + spec.training.seeds - 1


def plan_supernet(spec: Spec, request: PlanRequest, plan: StagePlan, trainings: float, prices: SupernetPrices) -> StagePlan:
    """The plan with the supernet steps that `trainings` pay for at `prices`; a plan without a supernet stays as it is."""
    row = spec.row
    if row.supernet is None or not plan.supernet_steps:
        return plan
    paid = row.supernet(replace(request, reward_price=prices.reward / prices.step), trainings / prices.step)
    return replace(
        plan,
        supernet_steps=paid.steps,
        schedule_steps=paid.schedule,
        warmup_steps=paid.warmup,
        supernet_trainings=paid.trainings * prices.step,
    )

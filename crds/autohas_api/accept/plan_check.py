"""Share of each stage in a plan, and warnings about shares that are too small; for `validate`, the dry run and the search. Pure."""

from __future__ import annotations

import math
from typing import Final

from autohas_api.accept.volume_check import unmounted_volumes
from autohas_api.algorithms.multi_trial import describe_brackets
from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.budget.epochs import assume_steps, few_epochs_of_spec
from autohas_api.budget.steps_per_stage import minimum_trainings, plan_stages
from autohas_api.space.decisions import Role, Space
from autohas_api.space.rates import shared_rate
from autohas_api.spec.algorithm import name_algorithms
from autohas_api.spec.search import BY_TRAININGS, Spec
from autohas_api.wire.messages import Stage

__all__ = [
    "REWARDS_PER_DECISION",
    "hardly_seen",
    "largest_selection",
    "plan_lines",
    "short_supernet",
    "stage_trainings",
    "unused_trainings",
]

REWARDS_PER_DECISION: Final = 10
"""Rewarded steps of the supernet per searched architecture decision below which a notice warns.

Chosen here: a decision of three choices then samples each about three times, in the noise of all other decisions."""
_LEAST_SELECTION: Final = 2
"""Examples that a comparison needs."""
_DIGITS: Final = 5000
"""Images of the built-in data set outside its test split, in its larger variant."""


def stage_trainings(plan: StagePlan) -> dict[Stage, float]:
    """Trainings of each stage, comparisons included; stages without work are left out."""
    last = plan.training_steps
    warmup, evaluate = plan.warmup_steps / last, plan.evaluate_steps / last
    if plan.trains_derived:
        evaluate = plan.predicted_trainings - plan.supernet_trainings - plan.lane_trainings
    planned = {
        Stage.LANES: plan.lane_trainings,
        Stage.WARMUP: warmup,
        Stage.SUPERNET: plan.supernet_trainings - warmup,
        Stage.RACE: plan.predicted_trainings - plan.lane_trainings - plan.supernet_trainings - evaluate,
        Stage.EVALUATE: evaluate,
    }
    return {stage: trainings for stage, trainings in planned.items() if trainings > 0}


def _trial_lines(spec: Spec, space: Space, plan: StagePlan) -> list[str]:
    """Lines about the trials of a multi-trial algorithm: their number, their brackets, and a warning if the space has fewer."""
    schedule, number = spec.row.schedule, plan.num_trials
    if schedule is None:
        return []
    lines = [f"trials: {number:,} with the default, if each costs as much as it"]
    if schedule.cuts_short:
        lines.append(f"a bracket trains {describe_brackets(schedule, spec.budget.rungs_of_training)}")
    if (size := space.size()) < number and all(decision.range is None for decision in space.searched_decisions()):
        lines.append(
            f"warning: the space has {size:,} configurations, and the budget pays for {number:,} trials: the search ends when each was"
            " tried; lower budget.trainings, or train longer"
        )
    return lines


def short_supernet(spec: Spec, space: Space, plan: StagePlan) -> str | None:
    """A warning if the supernet has too few rewarded steps for its decisions; None otherwise."""
    num_decisions = len(space.searched_decisions(Role.ARCHITECTURE))
    rewarded, needed = plan.supernet_steps - plan.warmup_steps, REWARDS_PER_DECISION * num_decisions
    if spec.row.rewards_controller is None or rewarded >= needed:
        return None
    return (
        f"the supernet gets {rewarded} rewarded steps for {num_decisions} architecture decisions, and below {needed}"
        f" ({REWARDS_PER_DECISION} each) its proposals are little better than chance: raise budget.trainings or training.steps, or search"
        " fewer decisions"
    )


def hardly_seen(spec: Spec, space: Space) -> str | None:
    """A warning if rewards one step ahead are to judge a weight decay; None otherwise."""
    if spec.row.searches_training_hyperparameters or all(d.name != "weight_decay" for d in space.searched_decisions()):
        return None
    return (
        "a reward one step ahead hardly sees weight_decay: a step multiplies the weights by 1 - rate * weight_decay, 0.9999 for 0.1 and"
        f" 0.001; algorithm {name_algorithms(BY_TRAININGS)} compares it by trainings"
    )


def unused_trainings(spec: Spec, plan: StagePlan) -> str | None:
    """A warning if an algorithm that does not search leaves a part of its budget; None otherwise."""
    budget, spent = spec.budget.trainings, plan.predicted_trainings
    if spec.algorithm.row.is_search or float(budget) - spent < plan.rungs[0] / plan.rungs[-1]:
        return None
    return (
        f"{spec.algorithm.name} trains the default once and spends {spent:.3g} of the {budget} trainings of budget.trainings: raise"
        " training.steps or training.epochs for a longer training"
    )


def largest_selection(spec: Spec, space: Space) -> int | None:
    """Largest selection split, in examples, whose comparisons the budget pays for; None if that is more than a thousand million."""
    budget, most = float(spec.budget.trainings), 1_000_000_000
    if minimum_trainings(spec, space, most) <= budget:
        return None
    low, high = 0, most  # affordable, not affordable
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if minimum_trainings(spec, space, middle) <= budget else (low, middle)
    return low


def plan_lines(spec: Spec, space: Space) -> list[str]:
    """Lines about the plan that do not need the data: the share of each stage, what depends on the data, and warnings."""
    length_of_spec = spec.training
    few_epochs, spec = few_epochs_of_spec(spec), assume_steps(spec)
    plan = plan_stages(spec, space)
    shares = ", ".join(f"{stage} {trainings:.2f}" for stage, trainings in stage_trainings(plan).items())
    lines = [f"trainings per stage: {shares}; comparisons, whose price the data decide, take their part of it"]
    lines += _trial_lines(spec, space, plan)
    warnings = [
        spec.row.notice,
        hardly_seen(spec, space),
        short_supernet(spec, space, plan),
        unused_trainings(spec, plan),
        shared_rate(spec),
        few_epochs,
        unmounted_volumes(spec.trainer),
    ]
    most, bound = largest_selection(spec, space), _max_selection(spec)
    if length_of_spec.given_steps is None:
        lines.append("the number of steps follows from training.epochs when the data is read, and the plan is checked again")
    elif most is not None and most < _LEAST_SELECTION:
        lines.append(
            "warning: the budget pays for no comparison of candidates: the search is refused when the data is read; raise"
            " budget.trainings or training.steps"
        )
    elif most is not None and (bound is None or bound > most):
        lines.append(
            f"the budget pays for the comparisons of a selection split of {most:,} examples at most"
            f" ({most / float(spec.task.splits.selection):,.0f} training examples): with more the search is refused when the data is read"
        )
    lines += [f"warning: {warning}" for warning in warnings if warning is not None]
    return lines


def _max_selection(spec: Spec) -> int | None:
    """Upper bound of the selection split in examples, if the spec implies one."""
    data = spec.task.data
    limit = _DIGITS if data.name == "digits" else data.arguments.get("trainLimit")
    return None if limit is None else math.ceil(int(limit) * float(spec.task.splits.selection)) + 1

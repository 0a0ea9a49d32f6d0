"""Checks of budget.for Model: what needs a length that is known before the training begins, or an end before the budget's. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from autohas_api.algorithms.algorithm_spec import Race
from autohas_api.algorithms.best_model import CURVE_RUNG, FEWEST_STEPS, MODEL_RUNGS, longest_steps
from autohas_api.algorithms.table import ALGORITHM_ROWS
from autohas_api.base.rules import join_names
from autohas_api.base.spec_errors import FieldError
from autohas_api.spec.algorithm import name_algorithms
from autohas_api.spec.budget import MAX_STEPS
from autohas_api.spec.hyperparameters import MAX_WARMUP
from autohas_api.spec.search import Spec

__all__ = ["PREFIX_SCHEDULES", "find_wrong_model_budget"]

PREFIX_SCHEDULES: Final = ("WSD", "Constant")
"""Schedules whose beginning does not depend on the length of the training; the warm-up takes its steps from training.steps."""
_WHY: Final = "which with budget.for Model is not known before the search has ended"


def find_wrong_model_budget(spec: Spec) -> Iterator[FieldError]:
    """Whatever a training of open length, which takes the whole budget, cannot have."""
    if not spec.budget.is_for_model:
        return
    yield from _other_algorithm(spec)
    yield from _schedules_without_prefix(spec)
    yield from _ends_before_the_budget(spec)
    if spec.training.seeds > 1:
        yield FieldError(
            path="spec.training.seeds",
            message=f"Invalid value: {spec.training.seeds}: must be 1 with budget.for Model, whose one training takes the whole budget:"
            " remove seeds, and repeat the winner by autohas retrain",
        )
    if spec.task.training is not None:
        yield FieldError(
            path="spec.task.training",
            message=f"own code is given the length of the training as `steps`, {_WHY}: remove for, or take a built-in training",
        )
    if spec.objective.cost is not None and spec.objective.cost.form == "Soft":
        yield FieldError(
            path="spec.objective.cost.form",
            message='Invalid value: "Soft": makes a cheap network better than a perfect one, so that no error is left to fall: with'
            " budget.for Model take Hard or Absolute",
        )
    yield from _too_long_warmup(spec)
    yield from _wrong_length(spec)


def _other_algorithm(spec: Spec) -> Iterator[FieldError]:
    if spec.row.race is not Race.MODEL:
        row, able = spec.algorithm.row, [row for row in ALGORITHM_ROWS if row.for_model is not None]
        label = row.name if row.strategy is None else f"{row.name} (strategy {row.strategy})"
        yield FieldError(
            path="spec.budget.for",
            message=f'Invalid value: "Model": {label} trains every candidate to an end that is known before: remove for, or take algorithm'
            f" {name_algorithms(able)}",
        )


def _schedules_without_prefix(spec: Spec) -> Iterator[FieldError]:
    """The recipe's schedule, or those that are searched."""
    fix = f"{_WHY}: take {join_names(PREFIX_SCHEDULES, 'or')}"
    searched = next(((i, h) for i, h in enumerate(spec.search_space.hyperparameters) if h.name == "schedule"), None)
    if searched is None or searched[1].default is None:
        schedule = spec.task.recipe.schedule
        if schedule not in PREFIX_SCHEDULES:
            yield FieldError(
                path="spec.task.recipe.schedule",
                message=f'Invalid value: "{schedule}": every rate of it depends on the length of the training, {fix}',
            )
    if searched is not None and searched[1].categorical is not None:
        index, declared = searched
        values = [*searched[1].categorical.choices, *([declared.default] if declared.default is not None else [])]
        if wrong := [value for value in dict.fromkeys(values) if value not in PREFIX_SCHEDULES]:
            verb = "depends" if len(wrong) == 1 else "depend"
            yield FieldError(
                path=f"spec.searchSpace.hyperparameters[{index}]",
                message=f'"schedule": every rate of {join_names(wrong, "and")} {verb} on the length of the training, {fix}',
            )


def _too_long_warmup(spec: Spec) -> Iterator[FieldError]:
    """A warm-up of more than MAX_WARMUP of the shortest model: one whose search took all but the steps to CURVE_RUNG.

    Its config.yaml would have a warm-up that no recipe may have, and the curve of the default would be that of its warm-up.
    """
    path, value = "spec.task.recipe.warmupFraction", spec.task.recipe.warmup_fraction
    for index, declared in enumerate(spec.search_space.hyperparameters):
        if declared.name == "warmup_fraction" and declared.continuous is not None:
            path, value = f"spec.searchSpace.hyperparameters[{index}].continuous.max", declared.continuous.max
    most = MAX_WARMUP * float(spec.budget.trainings) / MODEL_RUNGS.eta ** (MODEL_RUNGS.last - CURVE_RUNG)
    if float(value) > most:
        yield FieldError(
            path=path,
            message=f'Invalid value: "{value}": the warm-up takes this share of training.steps, and with budget.for Model the search may'
            f" leave a ninth of budget.trainings for the model: must be at most {most:.3g}, or budget.trainings at least"
            f" {float(value) * float(spec.budget.trainings) / most:.3g}",
        )


def _ends_before_the_budget(spec: Spec) -> Iterator[FieldError]:
    if spec.budget.max_active_seconds is not None:
        yield FieldError(
            path="spec.budget.maxActiveSeconds",
            message="must not be given with budget.for Model: a clock would decide where the rate begins to fall, and no resume could"
            " repeat it: limit the work by trainings",
        )
    if spec.objective.goal is not None:
        yield FieldError(
            path="spec.objective.goal",
            message="must not be given with budget.for Model, which spends the whole budget on the model: remove goal, or remove for",
        )


def _wrong_length(spec: Spec) -> Iterator[FieldError]:
    """A longest training without steps for its first rung, or with more than a training may have."""
    steps = spec.training.given_steps
    if steps is None:
        return
    longest = longest_steps(steps, float(spec.budget.trainings))
    if not FEWEST_STEPS <= longest <= MAX_STEPS:
        change, trainings = "raise" if longest < FEWEST_STEPS else "lower", spec.budget.trainings
        unit = "training" if float(trainings) == 1 else "trainings"
        yield FieldError(
            path="spec.budget.trainings",
            message=f'Invalid value: "{trainings}": {trainings} {unit} of {steps:,} steps are {longest:,} steps,'
            f" and with budget.for Model they must be {FEWEST_STEPS:,} to {MAX_STEPS:,}: {change} trainings or training.steps",
        )

"""From `training.epochs` to steps: known when the data are read. Pure."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

from autohas_api.spec.budget import MAX_STEPS, MIN_STEPS
from autohas_api.spec.search import Spec

__all__ = ["MIN_EPOCHS", "assume_steps", "few_epochs", "few_epochs_of_spec", "passes", "resolve_steps"]

MIN_EPOCHS: Final = 3
"""Passes over the training examples below which a warning says that a longer training is worth more than a search.

Ours: with Fashion-MNIST 10k and 2.4 passes per training, the default trained for as long as the search reached 0.873, and the best search
0.814."""


def resolve_steps(spec: Spec, num_train: int) -> Spec:
    """The spec with the steps of a training: as given, or enough batches of the recipe for `training.epochs` of `num_train` examples.

    Raises:
        ValueError: the epochs are fewer steps than a search needs, or more than a training may have.
    """
    epochs = spec.training.epochs
    if epochs is None or spec.training.given_steps is not None:
        return spec
    steps, batch_size = _num_steps(epochs, num_train, spec.task.recipe.batch_size), spec.task.recipe.batch_size
    if not MIN_STEPS <= steps <= MAX_STEPS:
        raise ValueError(
            f"spec.training.epochs: {epochs} epochs of {num_train:,} training examples in batches of {batch_size} are {steps:,} steps,"
            f" and a training must have {MIN_STEPS} to {MAX_STEPS:,}:"
            f" {'raise' if steps < MIN_STEPS else 'lower'} training.epochs"
        )
    return _with_steps(spec, steps)


def assume_steps(spec: Spec) -> Spec:
    """The spec for checks before the data are read: `training.epochs` count as MAX_STEPS, where rounding to whole steps costs nothing."""
    return spec if spec.training.given_steps is not None else _with_steps(spec, MAX_STEPS)


def _with_steps(spec: Spec, steps: int) -> Spec:
    return spec.replace(training=spec.training.replace(given_steps=steps))


def _num_steps(epochs: str, num_train: int, batch_size: int) -> int:
    """Exact: 0.1 + 0.2 in binary must not add a step."""
    return math.ceil(Fraction(epochs) * num_train / batch_size)


def passes(spec: Spec, num_train: int) -> float:
    """How often one training of the default sees each training example."""
    return spec.training.steps * spec.task.recipe.batch_size / num_train


def few_epochs(spec: Spec, num_train: int) -> str | None:
    """A warning if one training sees each example less than MIN_EPOCHS times; None otherwise.

    With budget.for Model there is none: the search itself decides whether a longer training is worth more.
    """
    epochs = passes(spec, num_train)
    if epochs >= MIN_EPOCHS or spec.budget.is_for_model:
        return None
    steps, batch_size = _num_steps(str(MIN_EPOCHS), num_train, spec.task.recipe.batch_size), spec.task.recipe.batch_size
    return (
        f"one training sees each of the {num_train:,} training examples {epochs:.2g} times ({spec.training.steps:,} steps of {batch_size}):"
        f' below {MIN_EPOCHS} times, longer trainings gain more than a search; write training.epochs: "{MIN_EPOCHS}" or more in place of'
        f" training.steps ({steps:,} steps)"
    )


def few_epochs_of_spec(spec: Spec) -> str | None:
    """The same before the data are read, where the spec itself gives the epochs."""
    epochs = spec.training.epochs
    if epochs is None or float(epochs) >= MIN_EPOCHS or spec.budget.is_for_model:
        return None
    return (
        f"one training sees each training example {epochs} times (training.epochs): below {MIN_EPOCHS} times, longer trainings gain more"
        f' than a search; raise training.epochs to "{MIN_EPOCHS}" or more'
    )

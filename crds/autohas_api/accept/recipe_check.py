"""Checks of the recipe and of the hyperparameters that belong to it: what has no effect, and batches that do not divide. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic.alias_generators import to_camel

from autohas_api.base.rules import join_names
from autohas_api.base.spec_errors import FieldError
from autohas_api.space.decisions import Space
from autohas_api.spec.hyperparameters import MIN_BATCH, Hyperparameter
from autohas_api.spec.search import Spec

__all__ = ["find_idle_fields", "find_uneven_batches"]

_NEEDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "momentum": ("optimizer", ("sgd", "adam", "adamw")),
    "nesterov": ("optimizer", ("sgd",)),
    "beta2": ("optimizer", ("adam", "adamw")),
    "epsilon": ("optimizer", ("rmsprop", "adam", "adamw")),
    "schedule_floor": ("schedule", ("Cosine", "Linear", "WSD")),
    "decay_fraction": ("schedule", ("WSD",)),
    "step_fraction": ("schedule", ("Step",)),
    "step_factor": ("schedule", ("Step",)),
}
"""Fields that only some optimizers or schedules read."""


def find_idle_fields(spec: Spec) -> Iterator[FieldError]:
    """Searched hyperparameters, and optional fields of the recipe, that no optimizer or schedule of the search reads."""
    searched = {h.name: h for h in spec.search_space.hyperparameters}
    for index, declared in enumerate(spec.search_space.hyperparameters):
        if declared.name in _NEEDS and (text := _why_idle(spec, declared.name, searched)) is not None:
            yield FieldError(
                path=f"spec.searchSpace.hyperparameters[{index}].name",
                message=f'"{declared.name}" has no effect: it is searched where {text}',
            )
    for name in (name for name in _NEEDS if name != "momentum" and name not in searched):
        is_given = bool(getattr(spec.task.recipe, name))
        if is_given and (text := _why_idle(spec, name, searched)) is not None:
            yield FieldError(path=f"spec.task.recipe.{to_camel(name)}", message=f"has no effect: {text}")


def _why_idle(spec: Spec, name: str, searched: Mapping[str, Hyperparameter]) -> str | None:
    """Why nothing reads a field, and what to do; None where something does."""
    parent, readers = _NEEDS[name]
    values = _values(spec, parent, searched)
    when = searched[name].when if name in searched else None
    if when is not None and when.decision == parent:
        values = [value for value in values if value in when.values]
    if not values or set(values) & set(readers):
        return None
    return f"the {parent} is {join_names(values, 'or')}, which has none; remove it, or take {join_names(readers, 'or')}"


def _values(spec: Spec, parent: str, searched: Mapping[str, Hyperparameter]) -> list[str]:
    """The optimizers, or schedules, that some configuration has."""
    declared = searched.get(parent)
    if declared is not None and declared.categorical is not None:
        return list(declared.categorical.choices)
    return [spec.task.optimizer if parent == "optimizer" else spec.task.recipe.schedule]


def find_uneven_batches(spec: Spec, space: Space) -> Iterator[FieldError]:
    """A number of parts that does not divide every batch, or leaves parts too small for batch normalisation."""
    parts = spec.task.recipe.accumulate or 1
    searched = {int(size) for decision in space.decisions if decision.name == "batch_size" for size in decision.choices}
    for size in sorted({spec.task.recipe.batch_size, *searched}):
        if parts > 1 and (size % parts or size // parts < MIN_BATCH):
            fault = "does not divide" if size % parts else f"leaves fewer than {MIN_BATCH} examples of"
            yield FieldError(
                path="spec.task.recipe.accumulate",
                message=f"Invalid value: {parts}: {fault} a batch of {size}: choose another number, or other batch sizes",
            )
            return

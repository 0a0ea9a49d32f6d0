"""Which values own training reads: a field of the recipe that the engine does not apply to it is used if its code reads the value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from autohas_api.spec.task import Recipe

__all__ = ["RecordedValues", "find_unread_fields", "is_left_to_code"]

_OF_CODE: Final = frozenset({"dropout", "label_smoothing", "mixup", "ema"})
"""Fields that the engine applies to its own losses and modules only."""
_OF_OPTIMIZER: Final = frozenset({
    *("optimizer", "learning_rate", "schedule", "schedule_floor", "decay_fraction", "step_fraction", "step_factor", "warmup_fraction"),
    *("weight_decay", "decay_norms", "momentum", "nesterov", "beta2", "epsilon"),
})  # fmt: skip
"""Fields that the engine applies unless the code has an optimizer of its own."""


class RecordedValues(dict[str, str]):
    """Values that remember which of them were read: one by its name, or all of them by iteration."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - a dictionary's
        """As a dictionary's."""
        self.read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:  # noqa: ANN401 - a dictionary's
        """As a dictionary's."""
        self.read.add(name)
        return super().pop(name, *default)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def keys(self) -> Any:  # noqa: ANN401 - a dictionary's
        """As a dictionary's."""
        self.read.update(super().keys())
        return super().keys()

    def values(self) -> Any:  # noqa: ANN401 - a dictionary's
        """As a dictionary's."""
        self.read.update(super().keys())
        return super().values()

    def items(self) -> Any:  # noqa: ANN401 - a dictionary's
        """As a dictionary's."""
        self.read.update(super().keys())
        return super().items()


def is_left_to_code(name: str, *, has_own_optimizer: bool) -> bool:
    """Whether a field of the recipe, or the hyperparameter of its name, does only what the code makes of its value."""
    return name in _OF_CODE or (has_own_optimizer and name in _OF_OPTIMIZER)


def find_unread_fields(recipe: Recipe, read: set[str], *, has_own_optimizer: bool) -> list[str]:
    """List the fields of a recipe that are not at their defaults, and that neither the engine applies nor the code reads."""
    names = [name for name in Recipe.model_fields if is_left_to_code(name, has_own_optimizer=has_own_optimizer)]
    return [name for name in names if getattr(recipe, name) != Recipe.model_fields[name].default and name not in read]

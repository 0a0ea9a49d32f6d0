"""From a configuration to numbers: the path through the supernet and the absolute training recipe. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from autohas_api.search import Spec
from autohas_api.space import Configuration, Role, Space, recipe_value

__all__ = ["TrainingRecipe", "path_of", "recipe_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How one network is trained: everything but its architecture. `learning_rate` is the absolute peak."""

    batch_size: int
    learning_rate: float
    weight_decay: float
    momentum: float
    schedule: Literal["Cosine", "Constant"]
    warmup_fraction: float
    steps: int

    def record(self) -> dict[str, str | int]:
        """The recipe as config.yaml shows it: decimals as strings."""
        return {
            "batchSize": self.batch_size,
            "optimizer": "sgd",
            "learningRate": f"{self.learning_rate:.6g}",
            "weightDecay": f"{self.weight_decay:.6g}",
            "momentum": f"{self.momentum:.6g}",
            "schedule": self.schedule,
            "warmupFraction": f"{self.warmup_fraction:.6g}",
            "steps": self.steps,
        }


def path_of(space: Space, configuration: Configuration) -> Mapping[str, str]:
    """The architecture decisions of a configuration: decision name to choice, the template's path."""
    pairs = zip(space.decisions, configuration.values, strict=True)
    return {decision.name: value for decision, value in pairs if decision.role is Role.ARCHITECTURE}


def recipe_of(spec: Spec, space: Space, configuration: Configuration) -> TrainingRecipe:
    """The training recipe of a configuration; what is not searched is the recipe of the spec."""
    values = space.as_mapping(configuration)
    recipe = spec.task.recipe
    return TrainingRecipe(
        batch_size=recipe.batch_size,
        learning_rate=float(values.get("learning_rate", recipe_value(spec, "learning_rate"))),
        weight_decay=float(values.get("weight_decay", recipe_value(spec, "weight_decay"))),
        momentum=float(recipe.momentum),
        schedule=recipe.schedule,
        warmup_fraction=float(recipe.warmup_fraction),
        steps=spec.retrain.steps,
    )

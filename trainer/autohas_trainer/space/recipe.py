"""From a configuration to numbers: the path through the supernet and the absolute training recipe. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from autohas_api.hyperparameters import KNOWN
from autohas_api.search import Spec
from autohas_api.space import Configuration, Role, Space, decimal, recipe_value

__all__ = ["RATE_FACTORS", "TrainingRecipe", "path_of", "recipe_of"]


RATE_FACTORS: Final[Mapping[str, float]] = {"sgd": 1.0, "rmsprop": 0.01, "adam": 0.01}
"""What a learning rate is multiplied by (ALGORITHMS section 3): normalised steps need a hundredth of SGD's rate, roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How one network is trained: everything but its architecture. `learning_rate` is the absolute peak.

    `steps` is the length of a full training at `batch_size`: as many examples as retrain.steps batches of the default size.
    """

    batch_size: int
    optimizer: Literal["sgd", "rmsprop", "adam"]
    learning_rate: float
    weight_decay: float
    momentum: float
    dropout: float
    label_smoothing: float
    mixup: float
    schedule: Literal["Cosine", "Constant"]
    warmup_fraction: float
    steps: int

    def record(self) -> dict[str, str | int]:
        """The recipe as config.yaml shows it: decimals as strings."""
        return {
            "batchSize": self.batch_size,
            "optimizer": self.optimizer,
            "learningRate": decimal(self.learning_rate),
            "weightDecay": decimal(self.weight_decay),
            "momentum": decimal(self.momentum),
            "dropout": decimal(self.dropout),
            "labelSmoothing": decimal(self.label_smoothing),
            "mixup": decimal(self.mixup),
            "schedule": self.schedule,
            "warmupFraction": decimal(self.warmup_fraction),
            "steps": self.steps,
        }


def path_of(space: Space, configuration: Configuration) -> Mapping[str, str]:
    """The architecture decisions of a configuration: decision name to choice, as far as the search lists them."""
    pairs = zip(space.decisions, configuration.values, strict=True)
    return {decision.name: value for decision, value in pairs if decision.role is Role.ARCHITECTURE}


def recipe_of(spec: Spec, space: Space, configuration: Configuration) -> TrainingRecipe:
    """The training recipe of a configuration; what is not searched is the recipe of the spec."""
    searched = space.as_mapping(configuration)
    value = {name: searched.get(name, recipe_value(spec, name)) for name in KNOWN}
    optimizer = cast("Literal['sgd', 'rmsprop', 'adam']", value["optimizer"])
    batch_size, recipe = int(value["batch_size"]), spec.task.recipe
    return TrainingRecipe(
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=float(value["learning_rate"]) * RATE_FACTORS[optimizer],
        weight_decay=float(value["weight_decay"]),
        momentum=float(value["momentum"]),
        dropout=float(value["dropout"]),
        label_smoothing=float(value["label_smoothing"]),
        mixup=float(value["mixup"]),
        schedule=recipe.schedule,
        warmup_fraction=float(recipe.warmup_fraction),
        steps=math.ceil(spec.retrain.steps * recipe.batch_size / batch_size),
    )

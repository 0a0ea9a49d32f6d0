"""From a configuration to numbers: the path through the supernet and the absolute training recipe. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from autohas_api.base.decimals import exact_decimal
from autohas_api.space.decisions import Configuration, Role, Space, recipe_value
from autohas_api.space.rates import optimizer_rate
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.search import Spec

__all__ = ["TrainingRecipe", "path_of", "recipe_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How one network is trained: everything but its architecture. `learning_rate` is the absolute peak.

    `steps` is the length of a full training at `batch_size`: as many examples as training.steps batches of the default size.
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
        """The recipe as config.yaml shows it: decimals as strings, each of which reads back as the number that was trained with."""
        return {
            "batchSize": self.batch_size,
            "optimizer": self.optimizer,
            "learningRate": exact_decimal(self.learning_rate),
            "weightDecay": exact_decimal(self.weight_decay),
            "momentum": exact_decimal(self.momentum),
            "dropout": exact_decimal(self.dropout),
            "labelSmoothing": exact_decimal(self.label_smoothing),
            "mixup": exact_decimal(self.mixup),
            "schedule": self.schedule,
            "warmupFraction": exact_decimal(self.warmup_fraction),
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
        learning_rate=optimizer_rate(spec, optimizer, searched.get("learning_rate")),
        weight_decay=float(value["weight_decay"]),
        momentum=float(value["momentum"]),
        dropout=float(value["dropout"]),
        label_smoothing=float(value["label_smoothing"]),
        mixup=float(value["mixup"]),
        schedule=recipe.schedule,
        warmup_fraction=float(recipe.warmup_fraction),
        steps=math.ceil(spec.training.steps * recipe.batch_size / batch_size),
    )

"""From a configuration to numbers: the path through the supernet and the absolute training recipe. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from autohas_api.base.decimals import exact_decimal, rounded, significant_digits
from autohas_api.space.decisions import Configuration, Role, Space, recipe_value
from autohas_api.spec.hyperparameters import KNOWN
from autohas_api.spec.search import Spec

__all__ = ["RATE_FACTORS", "TrainingRecipe", "path_of", "rate_of_recipe", "recipe_of"]


RATE_FACTORS: Final[Mapping[str, float]] = {"sgd": 1.0, "rmsprop": 0.01, "adam": 0.01}
"""What a learning rate is multiplied by: normalised steps need a hundredth of SGD's rate, roughly."""

_FEWEST_DIGITS: Final = 6
_MOST_DIGITS: Final = 17


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
            "learningRate": _absolute_rate(self.learning_rate, self.optimizer),
            "weightDecay": exact_decimal(self.weight_decay),
            "momentum": exact_decimal(self.momentum),
            "dropout": exact_decimal(self.dropout),
            "labelSmoothing": exact_decimal(self.label_smoothing),
            "mixup": exact_decimal(self.mixup),
            "schedule": self.schedule,
            "warmupFraction": exact_decimal(self.warmup_fraction),
            "steps": self.steps,
        }


def rate_of_recipe(absolute: str, optimizer: str) -> str:
    """The `learningRate` of a recipe for the absolute rate of a config.yaml, with as many digits: 0.0007 of adam is 0.07."""
    factor = RATE_FACTORS.get(optimizer, 1.0)
    return absolute if factor == 1.0 else rounded(float(absolute) / factor, max(_FEWEST_DIGITS, significant_digits(absolute)))


def _absolute_rate(rate: float, optimizer: str) -> str:
    """The shortest text from which `rate_of_recipe` finds the way back to the bit: a factor's product has a tail of digits."""
    factor = RATE_FACTORS[optimizer]
    texts = (rounded(rate, digits) for digits in range(_FEWEST_DIGITS, _MOST_DIGITS + 1))
    return next((text for text in texts if float(rate_of_recipe(text, optimizer)) * factor == rate), exact_decimal(rate))


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
        steps=math.ceil(spec.training.steps * recipe.batch_size / batch_size),
    )

"""From a configuration to numbers: the path through the supernet and the absolute training recipe. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Final, cast

from pydantic.alias_generators import to_camel

from autohas_api.algorithms.best_model import DECAY_FRACTION
from autohas_api.base.decimals import exact_decimal
from autohas_api.space.decisions import Configuration, Role, Space, recipe_value
from autohas_api.space.rates import optimizer_rate
from autohas_api.spec.hyperparameters import KNOWN, ScheduleName
from autohas_api.spec.search import Spec
from autohas_api.spec.task import PrecisionName
from autohas_api.templates.template_spec import OptimizerName

__all__ = ["TrainingRecipe", "own_values", "path_of", "recipe_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How one network is trained: everything but its architecture. `learning_rate` is the absolute peak.

    `steps` is the length of a full training at `batch_size`: as many examples as training.steps batches of the default size.
    A `gradient_clip` or an `ema` of 0 stands for none.
    """

    batch_size: int
    optimizer: OptimizerName
    learning_rate: float
    weight_decay: float
    momentum: float
    dropout: float
    label_smoothing: float
    mixup: float
    schedule: ScheduleName
    warmup_fraction: float
    steps: int
    nesterov: bool = False
    beta2: float = 0.999
    epsilon: float = 1e-8
    decay_norms: bool = False
    gradient_clip: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    schedule_floor: float = 0.0
    decay_fraction: float = 0.2
    step_fraction: float = 0.3
    step_factor: float = 0.1
    precision: PrecisionName | None = None

    def record(self) -> dict[str, str | int]:
        """The recipe as config.yaml shows it: decimals as strings, each of which reads back as the number that was trained with.

        Of the fields that a recipe may leave out, those that it gives.
        """
        optional = {to_camel(name): value for name, value in asdict(self).items() if name in _OPTIONAL and value != _OPTIONAL[name]}
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
            **{name: exact_decimal(value) if isinstance(value, float) else value for name, value in optional.items()},
        }


_OPTIONAL: Final = {f.name: f.default for f in fields(TrainingRecipe) if f.default is not MISSING}
"""Fields that a recipe may leave out, and what they then are."""
_SEARCHED: Final = ("beta2", "epsilon", "gradient_clip", "ema", "schedule_floor")
"""Those of them that are decimals and may be searched."""
_SHAPE: Final = ("decay_fraction", "step_fraction", "step_factor")
"""Those that give a schedule its shape and are not searched."""


def path_of(space: Space, configuration: Configuration) -> Mapping[str, str]:
    """The architecture decisions of a configuration: decision name to choice, as far as the search lists them."""
    pairs = zip(space.decisions, configuration.values, strict=True)
    return {decision.name: value for decision, value in pairs if decision.role is Role.ARCHITECTURE}


def recipe_of(spec: Spec, space: Space, configuration: Configuration) -> TrainingRecipe:
    """The training recipe of a configuration; what is not searched is the recipe of the spec."""
    searched = space.as_mapping(configuration)
    value = {name: searched.get(name, recipe_value(spec, name)) for name in KNOWN}
    optimizer = cast("OptimizerName", value["optimizer"])
    batch_size, recipe = int(value["batch_size"]), spec.task.recipe
    shape = {name: float(given) for name in _SHAPE if (given := getattr(recipe, name)) is not None}
    if spec.budget.is_for_model and value["schedule"] == "WSD":
        shape.setdefault("decay_fraction", DECAY_FRACTION)
    return TrainingRecipe(
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=optimizer_rate(spec, optimizer, searched.get("learning_rate")),
        weight_decay=float(searched.get("weight_decay", recipe.decay_of(optimizer))),
        momentum=float(value["momentum"]),
        dropout=float(value["dropout"]),
        label_smoothing=float(value["label_smoothing"]),
        mixup=float(value["mixup"]),
        schedule=cast("ScheduleName", value["schedule"]),
        warmup_fraction=float(value["warmup_fraction"]),
        nesterov=value["nesterov"] == "true",
        decay_norms=bool(recipe.decay_norms),
        accumulate=recipe.accumulate or 1,
        precision=recipe.precision,
        **{name: float(value[name]) for name in _SEARCHED},
        **shape,
        steps=math.ceil(spec.training.steps * recipe.batch_size / batch_size),
    )


def own_values(spec: Spec, space: Space, configuration: Configuration) -> dict[str, str]:
    """What own training knows of a configuration: every hyperparameter, searched or not, with absolute rate and decay, and `steps`.

    And what else an optimizer or a schedule of its own may obey: decay_norms, decay_fraction, step_fraction, step_factor.
    """
    recipe, searched = recipe_of(spec, space, configuration), space.as_mapping(configuration)
    known = {name: searched.get(name, recipe_value(spec, name)) for name in KNOWN}
    absolute = {"learning_rate": exact_decimal(recipe.learning_rate), "weight_decay": exact_decimal(recipe.weight_decay)}
    shape = {name: exact_decimal(getattr(recipe, name)) for name in _SHAPE}
    return {**searched, **known, **absolute, **shape, "decay_norms": str(recipe.decay_norms).lower(), "steps": str(recipe.steps)}

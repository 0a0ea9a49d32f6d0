"""The learning rate that an optimizer gets: the value of `learning_rate` times the optimizer's factor, or the recipe's rate. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from autohas_api.base.decimals import exact_decimal
from autohas_api.spec.hyperparameters import Hyperparameter, RateFactors
from autohas_api.spec.search import Spec

__all__ = ["optimizer_rate", "recipe_rate", "shared_rate", "trained_value", "value_text"]

_NORMALISED: Final = ("rmsprop", "adam", "adamw")
"""Optimizers that divide a gradient by its size: their usual rates are about a hundredth of sgd's."""


def optimizer_rate(spec: Spec, optimizer: str, value: str | None) -> float:
    """The absolute peak rate of `optimizer`.

    Args:
        spec: A valid spec.
        optimizer: The optimizer of a configuration.
        value: The configuration's value of `learning_rate`; None where the search does not choose it.
    """
    if value is None:
        return float(spec.task.recipe.rate_of(optimizer))
    return float(Decimal(value) * _factor(spec, optimizer))


def trained_value(spec: Spec, values: Mapping[str, str], name: str) -> str:
    """A value of a configuration as it is trained with: of `learning_rate`, the rate that the configuration's optimizer gets."""
    optimizer = values.get("optimizer", spec.task.optimizer)
    if name != "learning_rate" or _factor(spec, optimizer) == 1:
        return values[name]
    return exact_decimal(optimizer_rate(spec, optimizer, values[name]))


def value_text(spec: Spec, values: Mapping[str, str], name: str) -> str:
    """A value of a configuration for a table: what is trained with, and the value before the factor where that is another."""
    value, trained = values[name], trained_value(spec, values, name)
    return value if value == trained else f"{trained} ({value} before the factor)"


def recipe_rate(spec: Spec) -> str:
    """The recipe's rate as a value of the hyperparameter `learning_rate`: what times the factor of the recipe's optimizer is that rate."""
    optimizer = spec.task.optimizer
    return exact_decimal(float(Decimal(spec.task.recipe.rate_of(optimizer)) / _factor(spec, optimizer)))


def shared_rate(spec: Spec) -> str | None:
    """A warning where one rate, or one range of rates, serves sgd and an optimizer that normalises gradients; None elsewhere."""
    optimizers = _optimizers(spec)
    hyperparameter = _learning_rate(spec)
    if hyperparameter is not None:
        when, factors = hyperparameter.when, hyperparameter.rate_factors or RateFactors()
        optimizers = [name for name in optimizers if when is None or when.decision != "optimizer" or name in when.values]
        optimizers = [name for name in optimizers if getattr(factors, name) is None]
    normalised = [name for name in optimizers if name in _NORMALISED]
    if "sgd" not in optimizers or not normalised:
        return None
    names, example = " and ".join(normalised), ", ".join(f'{name}: "0.01"' for name in normalised)
    if hyperparameter is not None:
        return (
            f"one range of learning_rate serves sgd and {names}, whose usual rates are about a hundredth of sgd's:"
            f" give learning_rate rateFactors, for example {{{example}}}"
        )
    if (rate := spec.task.recipe.learning_rate) is None:
        return None
    return (
        f"task.recipe.learningRate {rate} serves sgd and {names}, whose usual rates are about a hundredth of sgd's: leave it out, and each"
        f" optimizer gets its own default, or search learning_rate with rateFactors, for example {{{example}}}"
    )


def _optimizers(spec: Spec) -> list[str]:
    """The choices of the searched optimizer; none where it is not searched."""
    searched = (h.categorical for h in spec.search_space.hyperparameters if h.name == "optimizer" and h.categorical is not None)
    return next((list(categorical.choices) for categorical in searched), [])


def _learning_rate(spec: Spec) -> Hyperparameter | None:
    return next((h for h in spec.search_space.hyperparameters if h.name == "learning_rate"), None)


def _factor(spec: Spec, optimizer: str) -> Decimal:
    """The factor of `learning_rate` for `optimizer`; 1 if the file gives none."""
    hyperparameter = _learning_rate(spec)
    factors = hyperparameter.rate_factors if hyperparameter is not None else None
    return Decimal(getattr(factors or RateFactors(), optimizer) or "1")

"""Wrong recipes, and searches of their fields: rows of the tables in `autohas_api.testing.rejections`."""

from __future__ import annotations

from typing import Any, Final

from autohas_api.testing.builders import Rejection, a_search

__all__ = ["RECIPE_REJECTED_BY_RULE", "RECIPE_REJECTED_BY_SCHEMA", "RECIPE_UNACCEPTABLE"]

_RECIPE: Final = "spec.task.recipe"
_FIRST: Final = "spec.searchSpace.hyperparameters[0]"
_SCHEDULES: Final = {"name": "schedule", "categorical": {"choices": ["Constant", "Step"]}}


def _search(recipe: dict[str, Any], *hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """A spec with this recipe, which searches these hyperparameters, or those of the builder if there are none."""
    spec = a_search()["spec"]
    space = {"hyperparameters": list(hyperparameters)} if hyperparameters else spec["searchSpace"]
    return {**spec, "task": {**spec["task"], "recipe": recipe}, "searchSpace": space}


def _idle(recipe: dict[str, Any], *hyperparameters: dict[str, Any], field: str, words: str) -> Rejection:
    return Rejection(path="spec", value=_search(recipe, *hyperparameters), field=field, words=words)


def _range(name: str, least: str, most: str) -> dict[str, Any]:
    return {"name": name, "continuous": {"min": least, "max": most}}


RECIPE_REJECTED_BY_SCHEMA: Final = (
    Rejection(path=f"{_RECIPE}.optimizer", value="lion", field=f"{_RECIPE}.optimizer", words='"sgd", "rmsprop", "adam", "adamw"'),
    Rejection(path=f"{_RECIPE}.schedule", value="Cyclic", field=f"{_RECIPE}.schedule", words='"Linear", "OneCycle", "WSD", "Step"'),
    Rejection(path=f"{_RECIPE}.nesterov", value="yes", field=f"{_RECIPE}.nesterov", words="must be of type boolean"),
    Rejection(path=f"{_RECIPE}.decayNorms", value=0, field=f"{_RECIPE}.decayNorms", words="must be of type boolean"),
    Rejection(path=f"{_RECIPE}.accumulate", value=0, field=f"{_RECIPE}.accumulate", words="greater than or equal to 1"),
    Rejection(path=f"{_RECIPE}.precision", value="Float16", field=f"{_RECIPE}.precision", words='"Float32", "TF32", "BFloat16"'),
)

RECIPE_REJECTED_BY_RULE: Final = (
    *(
        Rejection(path=f"{_RECIPE}.{name}", value=value, field=f"{_RECIPE}.{name}", words=words)
        for name, value, words in (
            ("beta2", "1", "less than 1, at most 0.999999"),
            ("scheduleFloor", "1", "less than 1, at most 0.999999"),
            ("ema", "1", "less than 1, at most 0.999999"),
            ("ema", "0", "greater than 0"),
            ("epsilon", "0", "greater than 0"),
            ("gradientClip", "0", "greater than 0"),
            ("gradientClip", "-1", "greater than 0"),
            ("decayFraction", "0", "greater than 0"),
            ("decayFraction", "0.6", "between 0 and 0.5"),
            ("stepFraction", "1", "greater than 0 and less than 1"),
            ("stepFactor", "0", "greater than 0 and less than 1"),
        )
    ),
    *(
        Rejection(path=_FIRST, value=value, field=f"{_FIRST}.{place}", words=words)
        for value, place, words in (
            (_range("warmup_fraction", "0", "0.6"), "continuous.max", "max of warmup_fraction must be at most 0.5"),
            (_range("gradient_clip", "0", "1"), "continuous.min", "must be greater than 0"),
            ({"name": "schedule", "categorical": {"choices": ["Cosine", "Cyclic"]}}, "categorical.choices", "must be among Cosine"),
            ({"name": "nesterov", "categorical": {"choices": ["yes", "no"]}}, "categorical.choices", "must be among true, false"),
        )
    ),
    Rejection(
        path="spec.searchSpace.hyperparameters",
        value=[
            {"name": "learning_rate", "continuous": {"min": "0.1", "max": "1"}, "rateFactors": {"adamw": "0"}},
            {"name": "optimizer", "categorical": {"choices": ["sgd", "adamw"]}},
        ],
        field=f"{_FIRST}.rateFactors.adamw",
        words="adamw must be greater than 0",
    ),
)

RECIPE_UNACCEPTABLE: Final = (
    _idle(
        {"optimizer": "adam", "nesterov": True},
        field=f"{_RECIPE}.nesterov",
        words="has no effect: the optimizer is adam, which has none; remove it, or take sgd",
    ),
    _idle({"beta2": "0.99"}, field=f"{_RECIPE}.beta2", words="the optimizer is sgd, which has none; remove it, or take adam or adamw"),
    _idle({"epsilon": "1e-6"}, field=f"{_RECIPE}.epsilon", words="remove it, or take rmsprop, adam or adamw"),
    _idle(
        {"schedule": "Constant", "scheduleFloor": "0.1"},
        field=f"{_RECIPE}.scheduleFloor",
        words="the schedule is Constant, which has none; remove it, or take Cosine, Linear or WSD",
    ),
    _idle({"decayFraction": "0.1"}, field=f"{_RECIPE}.decayFraction", words="remove it, or take WSD"),
    _idle({"stepFraction": "0.1"}, field=f"{_RECIPE}.stepFraction", words="remove it, or take Step"),
    _idle({"stepFactor": "0.1"}, field=f"{_RECIPE}.stepFactor", words="remove it, or take Step"),
    _idle(
        {"decayFraction": "0.1"},
        _SCHEDULES,
        field=f"{_RECIPE}.decayFraction",
        words="the schedule is Constant or Step, which has none; remove it, or take WSD",
    ),
    _idle(
        {},
        _range("beta2", "0.9", "0.99"),
        field=f"{_FIRST}.name",
        words='"beta2" has no effect: it is searched where the optimizer is sgd, which has none; remove it, or take adam or adamw',
    ),
    _idle(
        {"batchSize": 32, "accumulate": 3},
        field=f"{_RECIPE}.accumulate",
        words="Invalid value: 3: does not divide a batch of 32",
    ),
    _idle(
        {"batchSize": 32, "accumulate": 4},
        {"name": "batch_size", "integer": {"min": 30, "max": 32, "step": 2}},
        field=f"{_RECIPE}.accumulate",
        words="does not divide a batch of 30",
    ),
    _idle({"batchSize": 8, "accumulate": 8}, field=f"{_RECIPE}.accumulate", words="leaves fewer than 2 examples of a batch of 8"),
)

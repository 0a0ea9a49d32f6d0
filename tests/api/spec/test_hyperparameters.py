"""Ranges become choices, conditions become an order: in closed form."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.space.decisions import Space
from autohas_api.spec.hyperparameters import Role
from autohas_api.testing.rejections import a_search, with_change


def _space(*hyperparameters: dict[str, Any]) -> Space:
    return accept(with_change(a_search(), "spec.searchSpace.hyperparameters", list(hyperparameters)))[1]


def test_a_condition_may_list_every_choice_that_there_can_be() -> None:
    """32 choices, as many as bases and whole numbers; one more is refused at its field."""
    batch_size = {"name": "batch_size", "integer": {"min": 2, "max": 33}}
    momentum = {"name": "momentum", "continuous": {"min": "0", "max": "0.9"}}
    listed = [str(number) for number in range(2, 34)]
    space = _space(batch_size, {**momentum, "when": {"decision": "batch_size", "values": listed}})

    assert space.decisions[0].choices == tuple(listed)
    with pytest.raises(SpecError, match=r"hyperparameters\[1\]\.when\.values"):
        _space(batch_size, {**momentum, "when": {"decision": "batch_size", "values": [*listed, "34"]}})


@pytest.mark.parametrize(
    ("given", "choices"),
    [
        ({"min": 32, "max": 128, "step": 32}, ("32", "64", "96", "128")),
        ({"min": 30, "max": 100, "step": 32}, ("30", "62", "94")),
        ({"min": 16, "max": 128, "step": 2, "scale": "Log"}, ("16", "32", "64", "128")),
        ({"min": 10, "max": 99, "step": 3, "scale": "Log"}, ("10", "30", "90")),
    ],
)
def test_whole_numbers_are_spaced_by_difference_or_ratio(given: dict[str, Any], choices: tuple[str, ...]) -> None:
    """Linear adds the step, Log multiplies by it; max is reached only when it lies on the grid."""
    assert _space({"name": "batch_size", "integer": given}).decisions[0].choices == choices


def test_names_say_who_can_see_a_hyperparameter() -> None:
    """Update rules, weight decay among them, change how a gradient moves weights; everything else is a matter of whole trainings."""
    numbers = {"min": "0.1", "max": "0.5"}
    space = _space(
        {"name": "learning_rate", "continuous": numbers},
        {"name": "momentum", "continuous": numbers},
        {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}},
        {"name": "weight_decay", "continuous": numbers},
        {"name": "dropout", "continuous": numbers},
        {"name": "label_smoothing", "continuous": numbers},
        {"name": "mixup", "continuous": numbers},
        {"name": "batch_size", "integer": {"min": 32, "max": 64, "step": 32}},
    )
    roles = [d.role for d in space.decisions if d.role is not Role.ARCHITECTURE]

    assert roles == [Role.UPDATE_RULE] * 4 + [Role.TRAINING] * 4


def test_defaults_are_the_recipes_or_their_own() -> None:
    """An absent default is the recipe's value, in the words of the range."""
    space = _space(
        {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}},
        {"name": "momentum", "continuous": {"min": "0.5", "max": "0.95"}},
        {"name": "batch_size", "integer": {"min": 32, "max": 128, "step": 32}, "default": "96"},
        {"name": "dropout", "continuous": {"min": "0", "max": "0.5"}},
    )

    assert [d.default for d in space.decisions[:4]] == ["sgd", "0.9", "96", "0"]


def test_a_condition_puts_the_parent_first_and_keeps_the_default_elsewhere() -> None:
    """Momentum under sgd only: with adam it is inactive and holds its default; the space counts each case once."""
    space = _space(
        {
            "name": "momentum",
            "continuous": {"min": "0", "max": "0.9", "numBases": 3},
            "when": {"decision": "optimizer", "values": ["sgd"]},
        },
        {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}},
    )
    architectures = _space({"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}}).size() // 2
    values = space.as_mapping(space.default)

    assert [d.name for d in space.decisions[:2]] == ["optimizer", "momentum"]
    assert space.size() == (3 + 1) * architectures
    assert space.configuration({**values, "optimizer": "adam", "momentum": "0"}).values[:2] == ("adam", "0.9")
    assert space.configuration({**values, "optimizer": "sgd", "momentum": "0"}).values[:2] == ("sgd", "0")


def test_a_hyperparameter_may_hang_on_the_architecture() -> None:
    """Dropout only in networks of three layers: the architecture decision comes before it."""
    space = _space(
        {
            "name": "dropout",
            "continuous": {"min": "0", "max": "0.5", "numBases": 2},
            "when": {"decision": "depth", "values": ["3"]},
        }
    )
    names = [d.name for d in space.decisions]
    values = space.as_mapping(space.default)
    deep = space.as_mapping(space.configuration({**values, "depth": "3", "dropout": "0.5"}))
    flat = space.as_mapping(space.configuration({**values, "depth": "2", "dropout": "0.5"}))

    assert names.index("depth") < names.index("dropout")
    assert (deep["dropout"], flat["dropout"]) == ("0.5", "0")

"""The rate that an optimizer gets: the value of learning_rate times its factor, the recipe's, or the default of the optimizer."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.accept.plan_check import plan_lines
from autohas_api.space.decisions import Space
from autohas_api.space.rates import optimizer_rate, shared_rate, trained_value, value_text
from autohas_api.spec.search import Spec
from autohas_api.testing.builders import a_search, with_change

OPTIMIZER: dict[str, Any] = {"name": "optimizer", "categorical": {"choices": ["sgd", "rmsprop", "adam"]}}


def rates(**more: Any) -> dict[str, Any]:
    """A range of learning rates from 0.01 to 1."""
    return {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1", "scale": "Log", "numBases": 3}, **more}


def searched(*hyperparameters: dict[str, Any], recipe: dict[str, Any] | None = None) -> tuple[Spec, Space]:
    """A search over these hyperparameters and an architecture."""
    document = with_change(a_search(), "spec.task.recipe", recipe or {})
    search, space = accept(with_change(document, "spec.searchSpace.hyperparameters", list(hyperparameters)))
    return search.spec, space


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.3), ("rmsprop", 0.3), ("adam", 0.003)])
def test_a_rate_is_absolute_unless_the_file_has_a_factor(optimizer: str, rate: float) -> None:
    """0.3 is 0.3 for sgd and for rmsprop, and 0.003 for adam, whose factor is 0.01: exact, although 0.3 * 0.01 is not in doubles."""
    spec, _ = searched(OPTIMIZER, rates(rateFactors={"adam": "0.01"}))

    assert optimizer_rate(spec, optimizer, "0.3") == rate


@pytest.mark.parametrize(
    ("recipe", "value", "rate"),
    [
        ({}, "0.1", 0.1),
        ({"optimizer": "adam"}, "0.1", 0.001),
        ({"optimizer": "adam", "learningRate": "0.002"}, "0.2", 0.002),
        ({"optimizer": "rmsprop", "learningRate": "0.002"}, "0.002", 0.002),
    ],
)
def test_the_default_configuration_trains_with_the_rate_of_the_recipe(recipe: dict[str, Any], value: str, rate: float) -> None:
    """The recipe's rate is absolute: as a value of learning_rate it is divided by the factor of the recipe's optimizer."""
    spec, space = searched(OPTIMIZER, rates(rateFactors={"adam": "0.01"}), recipe=recipe)
    default = space.as_mapping(space.default)

    assert (default["learning_rate"], optimizer_rate(spec, default["optimizer"], default["learning_rate"])) == (value, rate)


@pytest.mark.parametrize(("given", "expected"), [(None, [0.1, 0.001, 0.001]), ("0.02", [0.02, 0.02, 0.02])])
def test_a_rate_that_is_not_searched_is_the_recipe_s_or_the_optimizer_s_own(given: str | None, expected: list[float]) -> None:
    """Where only the optimizer is searched, one rate of the recipe serves all; without it each has its default."""
    spec, _ = searched(OPTIMIZER, recipe={} if given is None else {"learningRate": given})

    assert [optimizer_rate(spec, name, None) for name in ("sgd", "rmsprop", "adam")] == expected


def test_what_is_shown_of_a_configuration_is_the_rate_that_was_trained_with() -> None:
    """0.1 of adam is shown as 0.001, with the value before the factor in tables; other values are shown as they are."""
    spec, _ = searched(OPTIMIZER, rates(rateFactors={"adam": "0.01"}))
    adam, sgd = {"optimizer": "adam", "learning_rate": "0.1"}, {"optimizer": "sgd", "learning_rate": "0.1"}

    assert [trained_value(spec, values, "learning_rate") for values in (adam, sgd)] == ["0.001", "0.1"]
    assert [value_text(spec, values, "learning_rate") for values in (adam, sgd)] == ["0.001 (0.1 before the factor)", "0.1"]
    assert value_text(spec, adam, "optimizer") == "adam"


WARNED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "one range": (
        [OPTIMIZER, rates()],
        {},
        (
            "one range of learning_rate serves sgd and rmsprop and adam, whose usual rates are about a hundredth of sgd's: give"
            ' learning_rate rateFactors, for example {rmsprop: "0.01", adam: "0.01"}'
        ),
    ),
    "one of two without a factor": (
        [OPTIMIZER, rates(rateFactors={"adam": "0.01"})],
        {},
        (
            "one range of learning_rate serves sgd and rmsprop, whose usual rates are about a hundredth of sgd's: give learning_rate"
            ' rateFactors, for example {rmsprop: "0.01"}'
        ),
    ),
    "one rate of the recipe": (
        [{**OPTIMIZER, "categorical": {"choices": ["sgd", "adam"]}}],
        {"learningRate": "0.1"},
        (
            "task.recipe.learningRate 0.1 serves sgd and adam, whose usual rates are about a hundredth of sgd's: leave it out, and each"
            ' optimizer gets its own default, or search learning_rate with rateFactors, for example {adam: "0.01"}'
        ),
    ),
}
NOT_WARNED: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "factors": ([OPTIMIZER, rates(rateFactors={"adam": "0.01", "rmsprop": "1"})], {}),
    "a factor for sgd": ([OPTIMIZER, rates(rateFactors={"sgd": "100"})], {}),
    "no sgd": ([{**OPTIMIZER, "categorical": {"choices": ["rmsprop", "adam"]}}, rates()], {}),
    "one optimizer": ([rates()], {"optimizer": "adam"}),
    "defaults": ([OPTIMIZER], {}),
    "a range of sgd only": ([OPTIMIZER, rates(when={"decision": "optimizer", "values": ["sgd"]})], {}),
}


@pytest.mark.parametrize("case", WARNED)
def test_one_rate_for_sgd_and_adam_is_warned_of(case: str) -> None:
    """The sentence names the optimizers that share it and what to write; `validate` prints it after the plan."""
    hyperparameters, recipe, sentence = WARNED[case]
    spec, space = searched(*hyperparameters, recipe=recipe)

    assert shared_rate(spec) == sentence
    assert f"warning: {sentence}" in plan_lines(spec, space)


@pytest.mark.parametrize("case", NOT_WARNED)
def test_no_warning_where_no_rate_is_shared(case: str) -> None:
    """Each optimizer has a rate of its own, or the file says the factor, be it 1."""
    hyperparameters, recipe = NOT_WARNED[case]

    assert shared_rate(searched(*hyperparameters, recipe=recipe)[0]) is None

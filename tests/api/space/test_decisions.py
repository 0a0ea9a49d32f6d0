"""The search space as data, in closed form."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.decimals import exact_decimal
from autohas_api.base.model import DECIMAL_PATTERN
from autohas_api.space.decisions import OFF_GRID, Role, Space, bases, decimal, initial_points
from autohas_api.testing.rejections import a_search, with_change


def _space(path: str = "", value: object = None) -> Space:
    document = with_change(a_search(), path, value) if path else a_search()
    return accept(document)[1]


def test_size_counts_active_combinations_only() -> None:
    """mlp-small: depth 1 has 4 widths, depth 2 has 4², depth 3 has 4³; times 3 activations, 3 rates and 4 decays."""
    assert _space().size() == 3 * 4 * 3 * (4 + 4**2 + 4**3)


def test_log_bases_have_equal_ratios() -> None:
    """Seven bases from 0.03 to 3 on a log scale grow by the sixth root of 100."""
    values = bases(0.03, 3, 7, "Log")

    assert values[0] == 0.03
    assert values[-1] == 3
    assert [b / a for a, b in pairwise(values)] == pytest.approx([100 ** (1 / 6)] * 6)


def test_linear_bases_have_equal_distances() -> None:
    """Three bases from 0 to 1 are 0, a half and 1."""
    assert bases(0, 1, 3, "Linear") == (0, 0.5, 1)


def test_decimals_are_short() -> None:
    """Six significant digits, no trailing noise."""
    assert [decimal(0.30000000000000004), decimal(1e-5), decimal(3)] == ["0.3", "1e-05", "3"]


def test_inactive_decisions_hold_their_default() -> None:
    """With depth 1 the widths of layers 2 and 3 do not matter, so equal networks are equal configurations."""
    space = _space()
    chosen = {**space.as_mapping(space.default), "depth": "1", "width_2": "128", "width_3": "16"}

    values = space.as_mapping(space.configuration(chosen))

    assert (values["width_2"], values["width_3"]) == ("64", "64")


def test_restricting_keeps_the_templates_order_and_moves_the_default() -> None:
    """The choices left are in the template's order; a default that is gone becomes the first choice left."""
    space = _space("spec.searchSpace.architecture.decisions", [{"name": "width_1", "choices": ["128", "16"]}])
    decision = next(d for d in space.decisions if d.name == "width_1")

    assert decision.choices == ("16", "128")
    assert decision.default == "16"


def test_one_choice_pins_a_decision() -> None:
    """A pinned decision is not searched."""
    space = _space("spec.searchSpace.architecture.decisions", [{"name": "activation", "choices": ["tanh"]}])

    assert "activation" not in {d.name for d in space.searched_decisions()}
    assert space.as_mapping(space.default)["activation"] == "tanh"


def test_a_condition_can_be_added() -> None:
    """`when` makes a decision active only under a choice of another one, which then stands before it."""
    change = [{"name": "activation", "when": {"decision": "depth", "values": ["3"]}}]
    space = _space("spec.searchSpace.architecture.decisions", change)
    decision = next(d for d in space.decisions if d.name == "activation")

    assert not space.is_active(decision, {**space.as_mapping(space.default), "depth": "2"})
    assert space.is_active(decision, {**space.as_mapping(space.default), "depth": "3"})


def test_without_architecture_only_hyperparameters_are_searched() -> None:
    """An absent architecture block keeps the template's defaults."""
    document = with_change(a_search(), "spec.searchSpace.architecture")
    space = accept(document)[1]

    assert [d.name for d in space.searched_decisions()] == ["learning_rate", "weight_decay"]


def test_a_custom_models_decisions_are_those_that_the_spec_lists() -> None:
    """Only the spec lists them: names, choices, defaults and conditions as listed, parents first, and the result expands with them."""
    width = {"name": "width", "choices": ["8", "16"], "default": "16", "when": {"decision": "kind", "values": ["wide"]}}
    listed = [width, {"name": "kind", "choices": ["wide", "slim"], "default": "slim"}]
    document = with_change(
        with_change(a_search(), "spec.task.model", {"entrypoint": "a.b:C"}), "spec.searchSpace.architecture.decisions", listed
    )
    space = accept(document)[1]

    assert [d.name for d in space.decisions] == ["learning_rate", "weight_decay", "kind", "width"]
    assert [d.default for d in space.decisions[2:]] == ["slim", "16"]
    assert space.size() == 3 * 4 * (2 + 1)
    assert not space.is_active(space.decisions[3], space.as_mapping(space.default))


def test_a_custom_hyperparameter_is_a_training_one() -> None:
    """A one-step reward cannot see it, so it is searched in lanes."""
    noise = {"name": "noise", "continuous": {"min": "0", "max": "1", "numBases": 2}, "default": "0.5"}
    document = with_change(a_search(), "spec.task.data", {"entrypoint": "a.b:C"})
    space = accept(with_change(document, "spec.searchSpace.hyperparameters", [noise]))[1]

    assert (space.decisions[0].role, space.decisions[0].choices, space.decisions[0].default) == (Role.TRAINING, ("0", "1"), "0.5")


def test_a_default_between_two_bases_is_off_the_grid() -> None:
    """The default keeps its own value even when no basis has it."""
    space = _space("spec.searchSpace.hyperparameters[0].default", "0.1")

    assert space.indices(space.default)[0] == OFF_GRID
    assert space.as_mapping(space.default)["learning_rate"] == "0.1"


_NARROW = {"min": "0.1000001", "max": "0.1000004", "numBases": 4}
_RATE = "spec.searchSpace.hyperparameters[0]"


@pytest.mark.parametrize("scale", ["Linear", "Log"])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("0.1000001", "0.1000004"),
        ("1", "1.00000001"),
        ("0.000123456789", "0.000123456790"),
        ("1e-9", "2e-9"),
        ("99999.9999", "100000.0001"),
        ("0.123456789012345", "0.2"),
        ("1e-5", "1"),
    ],
)
@pytest.mark.parametrize("count", [2, 4, 32])
def test_choices_differ_and_stay_inside_of_their_range(low: str, high: str, scale: str, count: int) -> None:
    """Ends are the file's own numbers; between them the choices rise, whatever the digits that this takes, and each is a decimal."""
    space = _space(f"{_RATE}.continuous", {"min": low, "max": high, "numBases": count, "scale": scale})
    choices = next(d for d in space.decisions if d.name == "learning_rate").choices
    numbers = [float(choice) for choice in choices]

    assert len(choices) == count
    assert (numbers[0], numbers[-1]) == (float(low), float(high))
    assert all(before < after for before, after in pairwise(numbers))
    assert [choice for choice in choices if re.fullmatch(DECIMAL_PATTERN, choice) is None] == []


def test_the_narrow_range_of_a_report_has_its_four_values() -> None:
    """Four choices between 0.1000001 and 0.1000004, as one would write them."""
    choices = next(d for d in _space(f"{_RATE}.continuous", _NARROW).decisions if d.name == "learning_rate").choices

    assert choices == ("0.1000001", "0.1000002", "0.1000003", "0.1000004")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("0.123456789", "0.123456789"), ("0.10", "0.1"), ("1.0e-1", "0.1"), ("3", "3"), ("0.123456789012345e-3", "1.23456789012345e-4")],
)
def test_a_default_is_the_files_own_number(written: str, meant: str) -> None:
    """The recipe's, the hyperparameter's own, and a value of an initial point: nothing is rounded."""
    recipe = with_change(a_search(), "spec.task.recipe.learningRate", written)
    own = with_change(with_change(a_search(), f"{_RATE}.continuous.min", "1e-9"), f"{_RATE}.default", written)
    initial = with_change(
        with_change(with_change(a_search(), f"{_RATE}.continuous.min", "1e-9"), f"{_RATE}.default", "0.2"),
        "spec.searchSpace.initialPoints",
        [{"values": {"learning_rate": written}}],
    )

    assert [accept(d)[1].as_mapping(accept(d)[1].default)["learning_rate"] for d in (recipe, own)] == [meant, meant]
    search, space = accept(initial)
    assert space.as_mapping(initial_points(search.spec, space)[0])["learning_rate"] == meant
    assert float(meant) == float(written)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-5, 123456.789, 5e-324, 1.7976931348623157e308, 0.00012345678901234567, -2.5, 0.0, 1e22])
def test_an_exact_decimal_reads_back_as_the_same_number(value: float) -> None:
    """Of any double."""
    assert float(exact_decimal(value)) == value


@pytest.mark.parametrize(("low", "high"), [("0.1000001", "0.1000004"), ("0.03", "3"), ("1e-9", "2e-9")])
def test_a_mixed_value_stays_inside_of_its_range(low: str, high: str) -> None:
    """A computed value near an end, or beyond it by a rounding, is allowed by the range that wrote it, and is that value."""
    space = _space(f"{_RATE}.continuous", {"min": low, "max": high, "numBases": 2})
    decision = next(d for d in space.decisions if d.name == "learning_rate")
    assert decision.range is not None
    width = float(high) - float(low)
    for share in (0.0, 1e-9, 0.1, 1 / 3, 0.5, 0.9999999, 1.0, 1 + 1e-15):
        text = decision.range.write(float(low) + share * width)
        assert decision.allows(text), text
        assert float(text) == pytest.approx(float(low) + share * width, abs=1e-4 * width)

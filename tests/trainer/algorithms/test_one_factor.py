"""Which configurations strategy OneFactor tries: neighbours, combinations, refinements; in closed form."""

from __future__ import annotations

import math

import pytest

from autohas_api.base.condition import When
from autohas_api.space.decisions import Configuration, Decision, Range, Role, Space
from autohas_trainer.algorithms import SupernetAlgorithm
from autohas_trainer.algorithms.one_factor import (
    OneFactor,
    Tried,
    find_change,
    list_combinations,
    list_neighbours,
    list_refinements,
    list_steps,
    name_change,
)
from autohas_trainer.seeding import stream

RATE = Decision(
    name="rate",
    role=Role.UPDATE_RULE,
    choices=("0.01", "0.1", "1"),
    default="0.05",
    range=Range(minimum=0.01, maximum=1.0, is_log=True),
)
DEPTH = Decision(name="depth", role=Role.ARCHITECTURE, choices=("1", "2", "3"), default="2")
WIDTH = Decision(name="width", role=Role.ARCHITECTURE, choices=("128", "16", "32", "64"), default="32")
THIRD = Decision(name="third", role=Role.ARCHITECTURE, choices=("16", "32"), default="16", when=When(decision="depth", values=("3",)))
ACTIVATION = Decision(name="activation", role=Role.ARCHITECTURE, choices=("relu", "tanh", "silu"), default="relu")
PINNED = Decision(name="pinned", role=Role.TRAINING, choices=("8",), default="8")
SPACE = Space(decisions=(RATE, DEPTH, WIDTH, THIRD, ACTIVATION, PINNED))


def _with(**values: str) -> Configuration:
    return SPACE.configuration({**SPACE.as_mapping(SPACE.default), **values})


def _tried(key: float, error: float = 0.0, **values: str) -> Tried:
    return Tried(configuration=_with(**values), key=key, standard_error=error)


CENTRE = _tried(0.5)


@pytest.mark.parametrize(
    ("decision", "value", "steps"),
    [
        (RATE, "0.05", ("0.01", "0.1")),
        (RATE, "0.1", ("0.01", "1")),
        (RATE, "0.01", ("0.1",)),
        (WIDTH, "32", ("16", "64")),
        (WIDTH, "128", ("64",)),
        (WIDTH, "16", ("32",)),
        (ACTIVATION, "relu", ("tanh", "silu")),
        (ACTIVATION, "silu", ("relu", "tanh")),
    ],
    ids=str,
)
def test_a_step_is_to_the_nearest_choices_or_to_every_other_one(decision: Decision, value: str, steps: tuple[str, ...]) -> None:
    """Numbers are ordered by value, not as they are listed; a default between two bases has both as neighbours."""
    assert list_steps(decision, value) == steps


def test_neighbours_change_one_active_decision() -> None:
    """Eight of the default: depth 3 brings the third width at its default, which is no neighbour while depth is 2; pinned stays."""
    assert list_neighbours(SPACE, SPACE.default) == [
        _with(rate="0.01"),
        _with(rate="0.1"),
        _with(depth="1"),
        _with(depth="3"),
        _with(width="16"),
        _with(width="64"),
        _with(activation="tanh"),
        _with(activation="silu"),
    ]
    deep = list_neighbours(SPACE, _with(depth="3"))
    assert _with(depth="3", third="32") in deep
    assert len(deep) == 2 + 1 + 2 + 1 + 2


def test_a_change_is_one_decision_and_what_it_makes_inactive() -> None:
    """Leaving depth 3 resets the third width: still one change; two decisions, or none, are no change."""
    assert find_change(SPACE, _with(depth="3", third="32"), SPACE.default) == ("depth", "2")
    assert find_change(SPACE, SPACE.default, _with(depth="3", third="32")) is None
    assert find_change(SPACE, SPACE.default, _with(width="64")) == ("width", "64")
    assert find_change(SPACE, SPACE.default, SPACE.default) is None


def test_combinations_are_all_two_three_and_half_of_the_best_changes() -> None:
    """Of five helpful changes: all; the best two; three, which is also half. The lesser change of a decision and harm are left out."""
    wide = Space(decisions=tuple(Decision(name=n, role=Role.TRAINING, choices=("1", "2", "3"), default="2") for n in "abcdef"))

    def changed(values: dict[str, str]) -> Configuration:
        return wide.configuration({**wide.as_mapping(wide.default), **values})

    effects = {
        ("a", "3"): 0.01,
        ("b", "1"): 0.05,
        ("c", "3"): 0.03,
        ("d", "1"): 0.02,
        ("e", "3"): 0.04,
        ("e", "1"): 0.002,
        ("f", "3"): -0.1,
    }
    tried = [Tried(configuration=changed({name: value}), key=0.5 + effect) for (name, value), effect in effects.items()]
    tried.append(Tried(configuration=changed({"f": "1"}), key=-math.inf))

    assert list_combinations(wide, Tried(configuration=wide.default, key=0.5), tried) == [
        changed({"a": "3", "b": "1", "c": "3", "d": "1", "e": "3"}),
        changed({"b": "1", "e": "3"}),
        changed({"b": "1", "e": "3", "c": "3"}),
    ]


@pytest.mark.parametrize(
    "tried", [[], [_tried(0.6, width="64")], [_tried(0.6, width="64"), _tried(0.7, width="16"), _tried(0.5, depth="1")]], ids=len
)
def test_one_helpful_decision_is_no_combination(tried: list[Tried]) -> None:
    """Two changes of one decision, or one that helps by nothing, leave nothing to combine."""
    assert list_combinations(SPACE, CENTRE, tried) == []


def test_a_combination_of_a_parent_and_what_it_makes_inactive_is_the_parent() -> None:
    """Around depth 3, depth 2 and the third width both help: together they are depth 2, which is written once."""
    centre = _tried(0.5, depth="3")
    tried = [_tried(0.6, depth="2"), _tried(0.7, depth="3", third="32")]

    assert list_combinations(SPACE, centre, tried) == [SPACE.default]


def test_refinements_go_further_take_back_and_change_another_decision() -> None:
    """Of width 64 and tanh: width 128; either taken back; the neighbours, of decisions that were never changed first. In turns."""
    best = _with(width="64", activation="tanh")
    tried = [
        CENTRE,
        _tried(0.6, width="64"),
        _tried(0.6, activation="tanh"),
        _tried(0.7, width="64", activation="tanh"),
        _tried(0.4, depth="1"),
    ]
    found = list_refinements(SPACE, best, tried, 0, stream(0, "test"))
    back = {_with(activation="tanh"), _with(width="64")}
    rates = {_with(width="64", activation="tanh", rate=rate) for rate in ("0.01", "0.1")}

    assert found[0] == _with(width="128", activation="tanh")
    assert found[1] in back
    assert found[2] in rates
    assert set(found) == {found[0], *back, *list_neighbours(SPACE, best)}
    assert len(found) == len(set(found))
    for turn, kind in ((1, back), (2, rates), (3, {found[0]})):
        assert list_refinements(SPACE, best, tried, turn, stream(0, "test"))[0] in kind


def test_refinements_of_the_default_are_its_neighbours() -> None:
    """Nothing to go further along or to take back."""
    assert set(list_refinements(SPACE, SPACE.default, [CENTRE], 1, stream(0, "test"))) == set(list_neighbours(SPACE, SPACE.default))


def test_names_say_the_change_and_are_distinct_from_numbered_ones() -> None:
    """A decision may be called seed, as the repeats of the winner are."""
    assert name_change("width_1", "128") == "width_1 128"
    assert [name_change(name, "1") for name in ("initial", "combination", "refinement", "seed")] == [
        "initial: 1",
        "combination: 1",
        "refinement: 1",
        "seed: 1",
    ]


def test_the_algorithm_proposes_the_default_and_its_neighbours_in_the_order_of_the_seed() -> None:
    """Every neighbour once, under the name of its change; another seed has another order; it has no supernet."""
    algorithm = OneFactor(SPACE)
    names = [candidate.name for candidate in algorithm.candidates(100, stream(0, "test"))]

    assert names[0] == "default"
    assert sorted(names[1:]) == sorted(
        ["rate 0.01", "rate 0.1", "depth 1", "depth 3", "width 16", "width 64", "activation tanh", "activation silu"]
    )
    assert [c.name for c in algorithm.candidates(4, stream(0, "test"))] == names[:4]
    assert [c.name for c in algorithm.candidates(100, stream(1, "test"))] != names
    assert not isinstance(algorithm, SupernetAlgorithm)

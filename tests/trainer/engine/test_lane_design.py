"""Which configurations the lanes train."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.space.decisions import Space
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.algorithms import lane_candidates

_RATE: dict[str, Any] = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1", "scale": "Log", "numBases": 8}}
_DECAY: dict[str, Any] = {"name": "weight_decay", "continuous": {"min": "1e-5", "max": "1e-2", "scale": "Log", "numBases": 8}}
_OPTIMIZER: dict[str, Any] = {"name": "optimizer", "categorical": {"choices": ["sgd", "adam"]}}


def space_of(hyperparameters: list[dict[str, Any]], *, architecture: bool) -> Space:
    space: dict[str, Any] = {"hyperparameters": hyperparameters, **({"architecture": {}} if architecture else {})}
    return accept(with_change(a_search(), "spec.searchSpace", space))[1]


def lanes_of(space: Space, num_lanes: int, seed: int = 0) -> list[dict[str, str]]:
    return [dict(space.as_mapping(lane.configuration)) for lane in lane_candidates(space, num_lanes, seed)]


def test_two_ranges_of_eight_do_not_go_in_step() -> None:
    """56 lanes over 8 x 8 combinations are 56 distinct ones, not the 9 that one common counter can reach."""
    lanes = lanes_of(space_of([_RATE, _DECAY], architecture=False), 56)

    assert len({(lane["learning_rate"], lane["weight_decay"]) for lane in lanes}) == 56


def test_a_choice_is_used_as_often_as_its_rivals() -> None:
    """The first 8 lanes after the default have 8 different rates and 8 different decays."""
    space = space_of([_RATE, _DECAY], architecture=False)
    default = space.as_mapping(space.default)
    lanes = lanes_of(space, 9)[1:]

    assert default["learning_rate"] not in space.decisions[0].choices
    for decision in space.searched_decisions():
        assert Counter(lane[decision.name] for lane in lanes) == dict.fromkeys(decision.choices, 1)


def test_both_halves_see_every_choice() -> None:
    """A hyperparameter of two choices meets default and drawn architectures with both."""
    space = space_of([_RATE, _OPTIMIZER], architecture=True)
    default = space.as_mapping(space.default)
    names = [d.name for d in space.decisions if d.name not in ("learning_rate", "optimizer")]
    halves: dict[bool, set[str]] = {True: set(), False: set()}
    for lane in lanes_of(space, 17)[1:]:
        halves[all(lane[name] == default[name] for name in names)].add(lane["optimizer"])

    assert halves == {True: {"sgd", "adam"}, False: {"sgd", "adam"}}


@pytest.mark.parametrize("num_rates", [7, 8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_second_lane_keeps_the_default_architecture(num_rates: int, seed: int) -> None:
    """The first n lanes have n rates; of 2n, n have the default architecture and all n rates, whether n is odd or even."""
    rate = {**_RATE, "continuous": {**_RATE["continuous"], "min": "0.013", "numBases": num_rates}}  # the default, 0.1, is no basis
    space = space_of([rate], architecture=True)
    default = space.as_mapping(space.default)
    names = [d.name for d in space.decisions if d.name != "learning_rate"]
    choices = sorted(next(d for d in space.decisions if d.name == "learning_rate").choices)
    lanes = lanes_of(space, 2 * num_rates + 1, seed)[1:]
    kept = [lane["learning_rate"] for lane in lanes if all(lane[name] == default[name] for name in names)]

    assert sorted(lane["learning_rate"] for lane in lanes[:num_rates]) == choices
    assert sorted(kept) == choices


def test_a_small_space_ends_the_design() -> None:
    """Two optimizers are two lanes, however many are asked for."""
    assert [lane["optimizer"] for lane in lanes_of(space_of([_OPTIMIZER], architecture=False), 40)] == ["sgd", "adam"]

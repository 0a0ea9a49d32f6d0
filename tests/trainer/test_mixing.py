"""Combinations of bases and ordered samples, in closed form."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_fixtures import MemorySink, search, small_search

from autohas_api.acceptance import accept
from autohas_api.expand import configuration_of
from autohas_api.messages import MessageError, decode_last_word, encode
from autohas_api.space import OFF_GRID, Space
from autohas_api.testing import changed
from autohas_trainer.seeding import stream
from autohas_trainer.space.mixing import combined, draw_order, order_gradient
from autohas_trainer.space.policy import Policy

RATE = "spec.searchSpace.hyperparameters[0].continuous"


def _search(mixing: dict[str, Any]) -> dict[str, Any]:
    document = small_search({"autoHAS": {"strategy": "OneStep"}})
    return changed(document, RATE, {"min": "0.01", "max": "1", "scale": "Log", "numBases": 3, **mixing})


def _space(mixing: dict[str, Any]) -> Space:
    return accept(_search(mixing))[1]


def test_values_are_combined_or_their_exponents() -> None:
    """Weights 1:3 of 0.01 and 1: linear 0.7525, log 10^(-2/4)."""
    assert combined([0.01, 1], [1, 3], is_log=False) == pytest.approx(0.7525)
    assert combined([0.01, 1], [1, 3], is_log=True) == pytest.approx(10**-0.5)


def test_orders_follow_plackett_luce() -> None:
    """With p = 1/2, 1/3, 1/6 the order (1, 0) has probability 1/3 · (1/2)/(2/3) = 1/4; 20,000 draws agree within 4 errors."""
    p = np.array([1 / 2, 1 / 3, 1 / 6])
    draws = [draw_order(p, 2, stream("orders", i)) for i in range(20_000)]
    share = np.mean([draw == (1, 0) for draw in draws])

    assert abs(share - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 20_000)
    assert all(len(set(draw)) == 2 for draw in draws)


def test_the_gradient_is_that_of_the_log_probability() -> None:
    """Central differences of log P(order) agree; over all orders the gradients weigh out to zero."""
    logits = np.array([0.3, -0.2, 0.5, 0.0])

    def log_probability(values: np.ndarray[Any, Any], order: tuple[int, ...]) -> float:
        left, total = list(range(4)), 0.0
        for index in order:
            total += values[index] - math.log(sum(math.exp(values[i]) for i in left))
            left.remove(index)
        return total

    for order in ((2, 0), (1,), (3, 1, 0)):
        numeric = [
            (log_probability(logits + 1e-6 * step, order) - log_probability(logits - 1e-6 * step, order)) / 2e-6 for step in np.eye(4)
        ]
        assert order_gradient(logits, order) == pytest.approx(numeric, abs=1e-8)
    mean = sum(math.exp(log_probability(logits, order)) * order_gradient(logits, order) for order in itertools.permutations(range(4), 2))
    assert mean == pytest.approx(np.zeros(4), abs=1e-12)


def test_an_order_never_repeats_a_basis_whose_rivals_have_no_weight_left() -> None:
    """Probabilities that underflowed to 0 share what is left evenly: (0, 1) and (0, 2) come, (0, 0) never."""
    draws = {draw_order(np.array([1.0, 0.0, 0.0]), 2, stream("underflow", i)) for i in range(50)}

    assert draws == {(0, 1), (0, 2)}


def test_a_fresh_top_k_sample_is_the_mean_of_its_bases() -> None:
    """Uniform probabilities weigh two of 0.01, 0.1, 1 equally: exponents -1.5, -1 or -0.5."""
    policy = Policy(_space({"mixing": "TopK"}), learning_rate=0.1)
    values = {policy.sample(stream(i)).configuration.values[0] for i in range(100)}

    assert {round(math.log10(float(value)), 4) for value in values} == {-1.5, -1.0, -0.5}


def test_an_expectation_weighs_all_bases() -> None:
    """After updates towards 1 the derived rate is the mean exponent under the policy; the argmax is a base."""
    space = _space({"derive": "Expectation"})
    policy = Policy(space, learning_rate=0.5)
    assert policy.derived() == space.default
    draw = next(d for d in (policy.sample(stream(i)) for i in range(100)) if d.configuration.values[0] == "1")
    policy.update(draw, 1.0, space.decisions[:1])
    p = policy.probabilities()["learning_rate"]

    assert float(policy.derived().values[0]) == pytest.approx(10 ** (-2 * p[0] - p[1]), rel=1e-5)
    assert policy.most_likely().values[0] == "1"


@pytest.mark.parametrize("mixing", [{"mixing": "TopK", "topK": 3}, {"derive": "Expectation"}])
def test_a_search_over_combinations_ends_with_a_result_that_the_operator_reads(mixing: dict[str, Any], tmp_path: Path) -> None:
    """Values off the grid race, and travel as decimals."""
    sink = MemorySink()
    outcome = search(_search(mixing), tmp_path, sink)
    word = decode_last_word(encode(outcome.result))
    rates = {record.values["learning_rate"] for record in sink.candidates}

    assert word.kind == "Result"
    assert _space(mixing).as_mapping(configuration_of(word, _space(mixing))) == outcome.configuration
    assert rates - {"0.01", "0.1", "1"}


@pytest.mark.parametrize(
    ("given", "value", "is_allowed"),
    [
        ({"min": "1e-5", "max": "1", "scale": "Log"}, "0", False),
        ({"min": "1e-5", "max": "1", "scale": "Log"}, "1e-5", True),
        ({"min": "0", "max": "0.5"}, "-0.000001", False),
        ({"min": "0", "max": "0.5"}, "0.500001", False),
        ({"min": "0.1000004", "max": "0.3333333"}, "0.1", True),
        ({"min": "0.1000004", "max": "0.2000006"}, "0.200001", True),
    ],
)
def test_a_range_allows_its_values_and_their_roundings_only(given: dict[str, str], value: str, *, is_allowed: bool) -> None:
    """The bounds hold exactly; beyond them lies only what a bound is called at six digits."""
    document = changed(small_search({"autoHAS": {"strategy": "OneStep"}}), RATE, {"numBases": 3, **given})

    assert accept(document)[1].decisions[0].allows(value) == is_allowed


def test_a_value_off_the_grid_must_lie_in_the_range(tmp_path: Path) -> None:
    """What a pod says is checked: a number outside of the range, no number, or one beside a grid index is refused."""
    outcome = search(_search({}), tmp_path, MemorySink())
    space, result = _space({}), outcome.result
    for value in ("7", "nan", "0.1", "1e999", "x" * 30):
        lie = result.model_copy(update={"choices": [OFF_GRID, *result.choices[1:]], "values": [value]})
        with pytest.raises(MessageError):
            configuration_of(lie, space)


def test_initial_configurations_are_tried_before_what_is_drawn(tmp_path: Path) -> None:
    """In lanes, race, samples and trials the given configuration is among the first, values off the grid included."""
    for name, algorithm in (("lanes", None), ("race", {"autoHAS": {"strategy": "OneStep"}}), ("trials", {"name": "RandomSearch"})):
        document = changed(
            small_search(algorithm), "spec.searchSpace.initialConfigurations", [{"values": {"learning_rate": "0.25", "depth": "1"}}]
        )
        sink = MemorySink()
        search(document, tmp_path / name, sink)
        tried = [(r.values["learning_rate"], r.values["depth"]) for r in sink.candidates]

        assert tried[1] == ("0.25", "1")


def test_initial_samples_are_scored_first(tmp_path: Path) -> None:
    """RandomSharing scores what is given as its first sample."""
    document = small_search({"name": "RandomSharing", "randomSharing": {"numSamples": 5}})
    document = changed(document, "spec.searchSpace.initialConfigurations", [{"values": {"depth": "3"}}])
    sink = MemorySink()
    search(document, tmp_path, sink)
    scored = [record for record in sink.steps if record.reward is not None]

    assert [record.candidate for record in scored] == [f"sample {n}" for n in range(1, 6)]
    assert scored[0].sample is not None
    assert scored[0].sample["depth"] == "3"

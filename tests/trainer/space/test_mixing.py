"""Combinations of bases and the draws that make them, against enumeration and autograd."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import chi2

from autohas_api.accept.acceptance import accept
from autohas_api.space.decisions import OFF_GRID, Space
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import MessageError, decode_termination_message, encode_termination_message
from autohas_api.wire.result import configuration_of
from autohas_trainer.seeding import stream
from autohas_trainer.space.mixing import combine, draws_gradient, softmax
from autohas_trainer.space.policy import Policy
from engine_fixtures import MemorySink, search, small_search

RATE = "spec.searchSpace.hyperparameters[0].continuous"


def _search(mixing: dict[str, Any]) -> dict[str, Any]:
    document = small_search({"autoHAS": {"strategy": "OneStep"}})
    return with_change(document, RATE, {"min": "0.01", "max": "1", "scale": "Log", "numBases": 3, **mixing})


def _space(mixing: dict[str, Any]) -> Space:
    return accept(_search(mixing))[1]


def test_values_are_combined_or_their_exponents() -> None:
    """Weights 1:3 of 0.01 and 1: linear 0.7525, log 10^(-2/4)."""
    assert combine([0.01, 1], [1, 3], is_log=False) == pytest.approx(0.7525)
    assert combine([0.01, 1], [1, 3], is_log=True) == pytest.approx(10**-0.5)


_NUM_BASES = 5
_WIDE = {"min": "0.001", "max": "1", "scale": "Log", "numBases": _NUM_BASES}
_POLICIES = ([0.5, 0.0, -0.3, 0.2, 0.1], [2.0, 1.0, 0.0, -1.0, -2.0], [-1.0, 1.5, 0.3, 1.2, -0.5])
"""Logits of policies that are not uniform."""


def _policy(logits: list[float], mixing: dict[str, Any]) -> Policy:
    """A policy over one rate with these logits."""
    document = with_change(small_search({"autoHAS": {"strategy": "OneStep"}}, hyperparameters=True), RATE, {**_WIDE, **mixing})
    space = Space(decisions=accept(document)[1].decisions[:1])
    policy = Policy(space, learning_rate=1.0)
    state = policy.state_dict()
    state["rows"]["learning_rate"]["logits"] = logits
    policy.load_state_dict(state)
    return policy


class _Scripted:
    """Stands for a generator whose uniform numbers lie in the middle of what the wanted indices own."""

    def __init__(self, probabilities: Sequence[float], indices: Sequence[int]) -> None:
        bounds = [0.0, *itertools.accumulate(probabilities)]
        self._numbers = [(bounds[index] + bounds[index + 1]) / 2 for index in indices]

    def random(self) -> float:
        return self._numbers.pop(0)


def _reward(value: float) -> float:
    """Best at 0.05, so that neither end of the range is."""
    return -abs(math.log10(value) - math.log10(0.05))


def _estimated_gradient(policy: Policy, num_draws: int) -> npt.NDArray[np.float64]:
    """The mean of the policy's gradient over every tuple of draws, weighed by how likely the tuple is; read off one Adam step."""
    p = policy.probabilities()["learning_rate"]
    decision = policy.decisions[0]
    tuples = list(itertools.product(range(len(p)), repeat=num_draws))
    draws = [policy.sample(_Scripted(p, indices)) for indices in tuples]  # type: ignore[arg-type]
    rewards = [_reward(float(draw.configuration.values[0])) for draw in draws]
    weights = [len(tuples) * math.prod(p[i] for i in indices) for indices in tuples]
    before = np.array(policy.state_dict()["rows"]["learning_rate"]["logits"])
    policy.update_together(draws, [weight * reward for weight, reward in zip(weights, rewards, strict=True)], [decision])
    after = policy.state_dict()["rows"]["learning_rate"]
    return np.asarray(np.sign(np.array(after["logits"]) - before) * np.sqrt(np.array(after["moment"]) / (1 - 0.999)))


def _true_gradient(logits: list[float], num_draws: int) -> npt.NDArray[np.float64]:
    """Autograd's gradient of the expected reward: all tuples of independent draws, the mean exponent of each, its reward."""
    leaf = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    exponents = torch.linspace(-3, 0, _NUM_BASES, dtype=torch.float64)
    p = torch.softmax(leaf, dim=0)
    expected = torch.zeros((), dtype=torch.float64)
    for indices in itertools.product(range(_NUM_BASES), repeat=num_draws):
        expected = expected + torch.prod(p[list(indices)]) * _reward(10.0 ** float(exponents[list(indices)].mean()))
    (gradient,) = torch.autograd.grad(expected, leaf)
    return np.asarray(gradient.numpy())


def _cosine(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("logits", _POLICIES)
@pytest.mark.parametrize("num_draws", [1, 2, 3])
def test_the_mean_gradient_is_that_of_the_expected_reward(logits: list[float], num_draws: int) -> None:
    """Direction and length of REINFORCE's mean agree with autograd through the enumerated expectation, for one basis and for means."""
    mixing = {"mixing": "TopK", "topK": num_draws} if num_draws > 1 else {"mixing": "OneHot"}
    estimated, true = _estimated_gradient(_policy(logits, mixing), num_draws), _true_gradient(logits, num_draws)

    assert _cosine(estimated, true) > 0.999
    assert estimated == pytest.approx(true, rel=1e-4, abs=1e-6)  # values are written with six digits


@pytest.mark.parametrize("mixing", [{"mixing": "OneHot"}, {"mixing": "TopK"}, {"mixing": "TopK", "topK": 3}], ids=["one", "two", "three"])
def test_draws_are_independent_and_follow_the_probabilities(mixing: dict[str, Any]) -> None:
    """Chi-square of 5,000 samples over all tuples of bases, against products of the probabilities; its 99.99 % point bounds it."""
    policy = _policy(_POLICIES[0], mixing)
    p, number = policy.probabilities()["learning_rate"], 5000
    num_draws = mixing.get("topK", 2) if mixing["mixing"] == "TopK" else 1
    counts = Counter(policy.sample(stream("draws", i)).drawn["learning_rate"] for i in range(number))
    tuples = list(itertools.product(range(len(p)), repeat=num_draws))
    expected = {indices: number * math.prod(p[i] for i in indices) for indices in tuples}
    statistic = sum((counts[indices] - expected[indices]) ** 2 / expected[indices] for indices in tuples)

    assert counts.keys() <= expected.keys()
    assert min(expected.values()) > 5  # below it the statistic is no chi-square
    assert statistic < chi2.ppf(0.9999, len(tuples) - 1)


@pytest.mark.parametrize("draws", [(2,), (2, 0), (1, 1), (3, 1, 0)])
def test_the_gradient_of_draws_is_autograds(draws: tuple[int, ...]) -> None:
    """The closed form equals autograd through log softmax to 1e-15."""
    logits = [0.3, -0.2, 0.5, 0.0]
    leaf = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.log_softmax(leaf, dim=0)[list(draws)].sum(), leaf)

    assert draws_gradient(softmax(np.array(logits)), draws) == pytest.approx(gradient.numpy(), abs=1e-15)


def test_a_fresh_top_k_sample_is_the_mean_of_its_draws() -> None:
    """Two draws of 0.01, 0.1, 1 have mean exponents -2, -1.5, -1, -0.5 or 0; the same basis twice is that basis, as it is written."""
    policy = Policy(_space({"mixing": "TopK"}), learning_rate=0.1)
    values = {policy.sample(stream(i)).configuration.values[0] for i in range(100)}

    assert {round(math.log10(float(value)), 4) for value in values} == {-2.0, -1.5, -1.0, -0.5, 0.0}
    assert {"0.01", "0.1", "1"} <= values


@pytest.mark.parametrize(
    "mixing", [{"mixing": "TopK"}, {"mixing": "TopK", "topK": 3, "derive": "Expectation"}, {"mixing": "OneHot", "derive": "Expectation"}]
)
def test_where_samples_are_means_the_value_is_the_mean_of_the_policy(mixing: dict[str, Any]) -> None:
    """With TopK, whether derive says so or not, the derived rate is the mean exponent under the policy; the likeliest basis races it."""
    policy = _policy(_POLICIES[1], mixing)
    p = np.array(policy.probabilities()["learning_rate"])

    assert math.log10(float(policy.derive().values[0])) == pytest.approx(float(p @ np.linspace(-3, 0, _NUM_BASES)), abs=1e-5)
    assert policy.most_likely().values[0] == "0.001"


def test_an_expectation_weighs_all_bases() -> None:
    """After updates towards 1 the derived rate is the mean exponent under the policy; the argmax is a base."""
    space = _space({"mixing": "OneHot", "derive": "Expectation"})
    policy = Policy(space, learning_rate=0.5)
    assert policy.derive() == space.default
    draw = next(d for d in (policy.sample(stream(i)) for i in range(100)) if d.configuration.values[0] == "1")
    policy.update(draw, 1.0, space.decisions[:1])
    p = policy.probabilities()["learning_rate"]

    assert float(policy.derive().values[0]) == pytest.approx(10 ** (-2 * p[0] - p[1]), rel=1e-5)
    assert policy.most_likely().values[0] == "1"


@pytest.mark.parametrize("mixing", [{"mixing": "TopK", "topK": 3}, {"mixing": "OneHot", "derive": "Expectation"}, {"mixing": "Gaussian"}])
def test_a_search_over_combinations_ends_with_a_result_that_the_operator_reads(mixing: dict[str, Any], tmp_path: Path) -> None:
    """Values off the grid race, and travel as decimals: 54 steps give the window rewards enough to prefer one side of the default."""
    sink = MemorySink()
    outcome = search(with_change(_search(mixing), "spec.training.steps", 54), tmp_path, sink)
    word = decode_termination_message(encode_termination_message(outcome.result))
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
        ({"min": "0.1000004", "max": "0.2000006"}, "0.200001", False),
        ({"min": "0.1000004", "max": "0.2000006"}, "0.2000006", True),
    ],
)
def test_a_range_allows_its_values_only(given: dict[str, str], value: str, *, is_allowed: bool) -> None:
    """The bounds hold exactly, whatever their number of digits; the recipe's default (0.1) is allowed in addition."""
    document = with_change(small_search({"autoHAS": {"strategy": "OneStep"}}), RATE, {"numBases": 3, **given})

    assert accept(document)[1].decisions[0].allows(value) == is_allowed


def test_a_value_off_the_grid_must_lie_in_the_range(tmp_path: Path) -> None:
    """A result is checked: a number outside of the range, no number, or one next to a grid index is refused."""
    outcome = search(_search({}), tmp_path, MemorySink())
    space, result = _space({}), outcome.result
    for value in ("7", "nan", "0.1", "1e999", "x" * 30):
        lie = result.model_copy(update={"choices": [OFF_GRID, *result.choices[1:]], "values": [value]})
        with pytest.raises(MessageError):
            configuration_of(lie, space)


def test_initial_points_are_tried_before_what_is_drawn(tmp_path: Path) -> None:
    """In lanes, race, samples and trials the given configuration is among the first, values off the grid included."""
    for name, algorithm in (("lanes", None), ("race", {"autoHAS": {"strategy": "OneStep"}}), ("trials", {"name": "RandomSearch"})):
        document = with_change(
            small_search(algorithm), "spec.searchSpace.initialPoints", [{"values": {"learning_rate": "0.25", "depth": "1"}}]
        )
        sink = MemorySink()
        search(document, tmp_path / name, sink)
        tried = [(r.values["learning_rate"], r.values["depth"]) for r in sink.candidates]

        assert tried[1] == ("0.25", "1")


def test_initial_samples_are_scored_first(tmp_path: Path) -> None:
    """RandomSharing scores what is given as its first sample."""
    document = small_search({"name": "RandomSharing", "randomSharing": {"numSamples": 5}})
    document = with_change(document, "spec.searchSpace.initialPoints", [{"values": {"depth": "3"}}])
    sink = MemorySink()
    search(document, tmp_path, sink)
    scored = [record for record in sink.steps if record.reward is not None]

    assert [record.candidate for record in scored[:5]] == [f"sample {n}" for n in range(1, 6)]
    assert scored[0].sample is not None
    assert scored[0].sample["depth"] == "3"

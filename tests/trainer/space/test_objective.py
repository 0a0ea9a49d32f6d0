"""The objective and the comparison of candidates, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autohas_api.spec.objective import Cost
from autohas_trainer.engine.training.comparison import Comparison, beats, encode, lose_by_divergence, paired_standard_error, rank
from autohas_trainer.space.objective import normalise_quality, objective


@pytest.mark.parametrize(
    ("form", "parameters", "expected"),
    [
        ("Absolute", 1000, 0.8),
        ("Absolute", 2000, 0.7),
        ("Absolute", 500, 0.75),
        ("Soft", 2000, 0.8 * 2**-0.1),
        ("Soft", 500, 0.8 * 0.5**-0.1),
        ("Hard", 2000, 0.8 * 2**-0.1),
        ("Hard", 500, 0.8),
    ],
)
def test_price_of_size(form: str, parameters: int, expected: float) -> None:
    """Each form at, above and below the target of 1,000 with weight -0.1."""
    cost = Cost.model_validate({"target": "1000", "weight": "-0.1", "form": form})

    assert objective(0.8, parameters, cost) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("form", "parameters", "expected"),
    [("Soft", 2000, -0.8 * 2**0.1), ("Soft", 500, -0.8 * 0.5**0.1), ("Hard", 2000, -0.8 * 2**0.1), ("Hard", 500, -0.8)],
)
def test_a_larger_network_is_worse_below_zero_too(form: str, parameters: int, expected: float) -> None:
    """A negative quality is divided by the factor: twice the target lowers -0.8, half of it never counts as a loss."""
    cost = Cost.model_validate({"target": "1000", "weight": "-0.1", "form": form})

    assert objective(-0.8, parameters, cost) == pytest.approx(expected)


@pytest.mark.parametrize("weight", ["-0.1", "-10"])
@pytest.mark.parametrize("form", ["Absolute", "Soft", "Hard"])
@pytest.mark.parametrize("quality", [0.8, -0.8])
@pytest.mark.parametrize("target", ["1e-30", "1000", "1e30"])
def test_no_amount_is_too_small_or_too_large_for_a_price(form: str, weight: str, quality: float, target: str) -> None:
    """A network of flattening alone has 0 multiply-accumulates, and nothing costs less: every form has a number that ranks it so."""
    cost = Cost.model_validate({"target": target, "weight": weight, "form": form, "metric": "macs"})
    scores = [objective(quality, amount, cost) for amount in (0, 1, 10**15)]

    assert all(math.isfinite(score) for score in scores)
    assert form == "Absolute" or scores == sorted(scores, reverse=True)


def test_a_ratio_is_bounded_at_a_million() -> None:
    """Soft with weight -0.5 multiplies by at most 1000 and at least a thousandth."""
    cost = Cost.model_validate({"target": "1000", "weight": "-0.5", "form": "Soft"})

    assert objective(0.8, 0, cost) == pytest.approx(800)
    assert objective(0.8, 10**12, cost) == pytest.approx(0.0008)


def test_without_cost_quality_counts() -> None:
    """No price leaves quality alone."""
    assert objective(0.5, 10**9, None) == 0.5


def test_quality_of_a_constant_answer_is_zero() -> None:
    """A loss of log 10 on ten classes is worth nothing, a loss of 0 is worth 1."""
    assert normalise_quality(math.log(10), math.log(10)) == pytest.approx(0)
    assert normalise_quality(0, math.log(10)) == 1


def _comparison(hits: str, key: float | None = None) -> Comparison:
    contributions_N = np.array([float(hit) for hit in hits])
    metric = float(contributions_N.mean())
    return Comparison(
        step=1, key=metric if key is None else key, score=metric, metric=metric, loss=1.0, contributions=encode(contributions_N)
    )


def test_paired_standard_error_counts_disagreements() -> None:
    """Two of four differ in opposite directions: sqrt((2/4 - 0)/4)."""
    assert paired_standard_error(_comparison("1100"), _comparison("1010")) == pytest.approx(math.sqrt(0.5 / 4))


def test_ties_go_to_the_incumbent() -> None:
    """Equal scores, or a lead within half a standard error, do not beat; a clear lead does."""
    incumbent = _comparison("1" * 50 + "0" * 50)
    noisy = _comparison("0" * 24 + "1" * 51 + "0" * 25)
    clear = _comparison("1" * 60 + "0" * 40)

    assert not beats(incumbent, incumbent)
    assert not beats(noisy, incumbent)
    assert beats(clear, incumbent)


def test_a_diverged_candidate_is_last_and_beats_nobody() -> None:
    """A loss that is not finite ranks below everything and survives JSON."""
    lost = Comparison.from_json(lose_by_divergence(3).to_json())

    assert lost == lose_by_divergence(3)
    assert rank({"lost": lost, "poor": _comparison("0000", key=-5.0)}) == ["poor", "lost"]
    assert not beats(lost, _comparison("0000"))

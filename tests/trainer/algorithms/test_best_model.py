"""The value of information of a search for a model: curve, price, advantage and expected gain, against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autohas_api.algorithms.best_model import FLOOR_SHARE, PRIOR_CHANGES, PRIOR_GAIN
from autohas_trainer.algorithms.best_model import (
    Curve,
    expect_gain,
    explain_end,
    find_advantage,
    find_speed,
    fit_curve,
    list_gains,
    predict_combination,
    price_search,
)
from autohas_trainer.space.recipe import TrainingRecipe

STEEP = Curve(at=1.0, error=0.5, floor=0.0, power=0.5)
FLAT = Curve(at=1.0, error=0.5, floor=0.5, power=0.0)
RECIPE = TrainingRecipe(
    batch_size=64,
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=0.0,
    momentum=0.9,
    dropout=0.0,
    label_smoothing=0.0,
    mixup=0.0,
    schedule="WSD",
    warmup_fraction=0.0,
    steps=100,
)


@pytest.mark.parametrize("power", [0.05, 0.3, 1.0])
def test_a_power_law_is_fitted_without_a_floor(power: float) -> None:
    """Errors 9^p, 3^p and 1: the curve is e(t) = t^-p, at every length."""
    curve = fit_curve(1.0, (9**power, 3**power, 1.0))

    assert [curve.floor, curve.power] == pytest.approx([0.0, power], abs=1e-9)
    assert curve.log_error(27.0) == pytest.approx(-power * math.log(27))
    assert curve.gain_of_twice(5.0) == pytest.approx(1 - 2**-power)


def test_a_part_of_a_floor_is_believed() -> None:
    """Errors 0.4 + 0.3·(1/2)^k have the limit 0.4: the fit takes its share of that, and passes through the last two points."""
    curve = fit_curve(2.0, (0.7, 0.55, 0.475))

    assert curve.floor == pytest.approx(FLOOR_SHARE * 0.4)
    assert [math.exp(curve.log_error(at)) for at in (2 / 3, 2.0)] == pytest.approx([0.55, 0.475])


@pytest.mark.parametrize("errors", [(0.6, 0.5, 0.5), (0.6, 0.5, 0.55)])
def test_a_curve_that_no_longer_falls_is_flat(errors: tuple[float, float, float]) -> None:
    """Nothing is lost by search then: its price is 0."""
    curve = fit_curve(1.0, errors)

    assert price_search(curve, 9.0, 4.0) == 0.0
    assert curve.gain_of_twice(9.0) == 0.0


def test_a_fall_that_does_not_slow_down_has_no_floor() -> None:
    """Differences of 0.1 and 0.2: a power law through the last two."""
    curve = fit_curve(1.0, (0.8, 0.7, 0.5))

    assert [curve.floor, curve.power] == pytest.approx([0.0, math.log(0.7 / 0.5) / math.log(3)])


def test_the_price_of_a_step_of_search_is_what_training_gives_away() -> None:
    """p·ln(w / (w - c)) for a power law; all of the budget has no price that could be paid."""
    assert price_search(STEEP, 6.0, 1.0) == pytest.approx(0.5 * math.log(6 / 5))
    assert price_search(STEEP, 6.0, 6.0) == math.inf


@pytest.mark.parametrize("speed", [0.25, 2.0, 8.0])
def test_what_is_speed_alone_is_worth_what_the_curve_has_left_for_it(speed: float) -> None:
    """What is further along the same curve has the lead that the curve has at the end; what is slower gets a part of its catching up."""
    curve = Curve(at=1.0, error=0.5, floor=0.3, power=0.5)
    early, end = (curve.log_error(at) - curve.log_error(speed * at) for at in (0.2, 5.0))
    advantage = find_advantage(curve, early, at=0.2, whole=5.0, speed=speed, work=1.0)

    assert abs(end) < abs(early)
    if speed > 1:
        assert advantage == pytest.approx(end)
    else:
        assert early < advantage < end < 0


def test_a_lead_at_equal_steps_stays() -> None:
    """Half the batch, and a lead beyond what twice the steps explain: what is beyond it is in the advantage, whole."""
    explained = STEEP.log_error(0.2) - STEEP.log_error(0.4)
    advantage = find_advantage(STEEP, explained + 0.05, at=0.2, whole=5.0, speed=2.0, work=1.0)

    assert advantage == pytest.approx(explained + 0.05)  # a power law keeps the lead of speed


def test_a_dearer_training_sees_fewer_examples() -> None:
    """Twice the work: p·ln 2 is lost; on a flat curve nothing is."""
    assert find_advantage(STEEP, 0.1, at=0.2, whole=5.0, speed=1.0, work=2.0) == pytest.approx(0.1 - 0.5 * math.log(2))
    assert find_advantage(FLAT, 0.1, at=0.2, whole=5.0, speed=1.0, work=2.0) == 0.1
    assert find_advantage(FLAT, -math.inf, at=0.2, whole=5.0, speed=1.0, work=2.0) == -math.inf


def test_speed_is_the_rate_times_the_number_of_steps() -> None:
    """Half the batch at twice the rate is four times as far; rates of two optimizers are not compared; the factor is bounded."""
    assert find_speed(replace(RECIPE, batch_size=32, learning_rate=0.2), RECIPE) == pytest.approx(4.0)
    assert find_speed(replace(RECIPE, optimizer="adam", learning_rate=0.001), RECIPE) == 1.0
    assert find_speed(replace(RECIPE, learning_rate=100.0), RECIPE) == 27.0


def test_a_gain_is_what_a_change_adds_to_the_best_of_its_decision() -> None:
    """Of two widths only the better one counts, of what differs in several decisions only what the best so far lacks."""
    tried = [("width", 0.1), ("depth", -0.2), ("width", 0.15), ("rate", -math.inf), (None, 0.2), (None, 0.1)]

    assert list_gains(tried) == pytest.approx([0.1, 0.0, 0.05, 0.0, 0.05, 0.0])


def test_the_expected_gain_begins_with_the_prior_and_fades_without_gains() -> None:
    """PRIOR_GAIN at first, half of it after PRIOR_CHANGES changes that gained nothing, more after gains."""
    assert expect_gain([]) == PRIOR_GAIN
    assert expect_gain([0.0] * PRIOR_CHANGES) == pytest.approx(PRIOR_GAIN / 2)
    assert expect_gain([10 * PRIOR_GAIN]) > PRIOR_GAIN


def test_a_combination_promises_the_sum_of_its_changes_beyond_the_best() -> None:
    """Unknown changes promise nothing; the single best change alone adds nothing."""
    advantages = {("width", "128"): 0.1, ("depth", "3"): 0.05}
    both = predict_combination({"width": "128", "depth": "3"}, advantages, best=0.1)

    assert 0 < both <= 0.05
    assert predict_combination({"width": "128", "rate": "1"}, advantages, best=0.1) == pytest.approx(0.0)


def test_the_end_of_the_search_has_its_own_reason() -> None:
    """Nothing is left; training is worth more; or the search has taken what it may."""
    assert explain_end(None) == "no change of one decision and no combination of what helped is left that the budget pays for"
    assert explain_end((0.01, 0.02)) == "one more lane promises 1.00 % of the error, and the same work of training 2.00 %"
    assert explain_end((0.01, 0.0)).endswith(" training 0.00 %, but the budget has no room for it: lanes may take 50 % of it at most")

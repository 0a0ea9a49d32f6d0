"""The schedule in closed form."""

import math

import pytest

from autohas_trainer.optim import schedule


def test_warmup_is_linear_and_reaches_the_peak() -> None:
    """Ten steps of warm-up rise by tenths to 1."""
    assert [schedule(step, 100, 0.1) for step in range(10)] == [pytest.approx((step + 1) / 10) for step in range(10)]


def test_cosine_passes_one_half_halfway_and_ends_near_zero() -> None:
    """Without warm-up s(0) = 1, s(T/2) = 1/2, s(T-1) = sin²(π/2T)."""
    assert schedule(0, 100, 0) == 1
    assert schedule(50, 100, 0) == pytest.approx(0.5)
    assert schedule(99, 100, 0) == pytest.approx(math.sin(math.pi / 200) ** 2)


def test_cosine_starts_at_the_peak_after_warmup() -> None:
    """The step after the warm-up stands at the peak, and the middle of the rest at one half."""
    assert schedule(20, 100, 0.2) == 1
    assert schedule(60, 100, 0.2) == pytest.approx(0.5)


def test_constant_stays_at_the_peak() -> None:
    """A constant schedule is 1 from the end of the warm-up on."""
    assert {schedule(step, 50, 0.1, "Constant") for step in range(5, 50)} == {1.0}


@pytest.mark.parametrize("kind", ["Cosine", "Constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7, 300])
def test_every_multiplier_lies_in_its_range(total: int, warmup: float, kind: str) -> None:
    """No length or warm-up gives a multiplier outside (0, 1]."""
    assert all(0 < schedule(step, total, warmup, kind) <= 1 for step in range(total))  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "total", "warmup"), [(-1, 10, 0), (10, 10, 0), (0, 0, 0), (0, 10, -0.1), (0, 10, 1.1)])
def test_positions_outside_the_training_are_refused(step: int, total: int, warmup: float) -> None:
    """A step beyond the end or a share outside [0, 1] is a defect of the caller."""
    with pytest.raises(ValueError, match="must lie in"):
        schedule(step, total, warmup)

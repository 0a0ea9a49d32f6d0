"""What twice the steps would give the default: the power law in closed form, its spread, and who says it when."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest

from autohas_trainer.engine.training.longer import predict_longer
from autohas_trainer.events import LongerTraining, StepRecord
from engine_fixtures import Killed, MemorySink, case, search, small_search

MANY = (10**9, 10**9)
"""Compared examples at 1/3 and at the end: with this number sampling has no noise."""


def _predicted(metric: str, third: float | None, end: float | None, num_examples: tuple[int, int] = MANY) -> LongerTraining:
    longer = predict_longer(metric, third, end, steps=300, num_examples=num_examples)
    assert longer is not None
    return longer


@pytest.mark.parametrize(
    ("metric", "third", "end", "predicted"),
    [
        ("accuracy", 0.7, 0.9, 0.95),
        ("auc", 0.4, 0.8, 0.9),
        ("log_loss", 0.6, 0.2, 0.1),
        ("mae", 3.0, 1.0, 0.5),
        ("rmse", math.sqrt(3), 1.0, math.sqrt(1 / 2)),
    ],
)
def test_an_error_that_falls_as_one_over_the_steps_is_halved(metric: str, third: float, end: float, predicted: float) -> None:
    """Exponent 1: a third from 1/3 to the end, a half from there to twice the steps; of rmse its square."""
    longer = _predicted(metric, third, end)

    assert (longer.steps, longer.now) == (600, end)
    assert longer.predicted == pytest.approx(predicted)


def test_the_spread_is_half_of_the_exponent_and_what_the_examples_leave_open() -> None:
    """Without noise the exponent is 1 ± 1/2; of 400 examples, loss-like metrics have 2/20 more, in squares."""
    longer = _predicted("log_loss", 0.6, 0.2)
    assert (longer.low, longer.high) == pytest.approx((0.2 * 2**-0.5, 0.2 * 2**-1.5), rel=1e-3)

    noisy = _predicted("log_loss", 0.6, 0.2, (400, 400))
    assert noisy.low == pytest.approx(0.2 * 2 ** -(1 - math.hypot(0.5, 0.1)))

    shares = _predicted("accuracy", 0.7, 0.9, (100, 400))
    sampled = math.sqrt(0.7 / (0.3 * 100) + 0.9 / (0.1 * 400)) / math.log(3)
    assert shares.low == pytest.approx(1 - 0.1 * 2 ** -(1 - math.hypot(0.5, sampled)))


@pytest.mark.parametrize(
    ("third", "end", "num_examples"),
    [(0.90, 0.90, MANY), (0.92, 0.90, MANY), (0.899, 0.90, MANY), (0.88, 0.90, (200, 200))],
    ids=["flat", "falling", "a twentieth", "noise"],
)
def test_a_plateau_is_no_reason_to_train_longer(third: float, end: float, num_examples: tuple[int, int]) -> None:
    """No gain, a loss, a gain below a twentieth of the error, or one that 200 examples cannot show."""
    longer = _predicted("accuracy", third, end, num_examples)

    assert not longer.is_clear
    assert longer.predicted >= longer.now


@pytest.mark.parametrize(("third", "end"), [(None, 0.9), (0.9, None), (0.9, 1.0), (1.0, 0.9)])
def test_nothing_is_extrapolated_from_no_error(third: float | None, end: float | None) -> None:
    """A training that diverged, or whose examples are all right, has no power law."""
    assert predict_longer("accuracy", third, end, steps=300, num_examples=MANY) is None


def test_it_is_said_once_when_the_default_is_complete(tmp_path: Path) -> None:
    """27 steps are far from enough: the notice comes with the default's last comparison, and a kill after it repeats nothing."""
    sink = MemorySink()
    outcome = search(small_search(), tmp_path / "whole", sink)
    third, end = (next(r.metric for r in sink.candidates if r.name == "default" and r.fraction == f) for f in (1 / 3, 1.0))

    assert outcome.longer is not None
    assert outcome.longer.is_clear
    assert (outcome.longer.steps, outcome.longer.now) == (54, end)
    (text,) = (notice.message for notice in sink.notices if notice.reason == "TrainLonger")
    assert text.startswith(f"the default still learns at the end of its training: accuracy {100 * (third or 0):.2f} % after 1/3 of it and")
    assert "put twice the steps (training.steps: 54) at about" in text

    def kill(record: StepRecord) -> None:
        if record.step == sink.steps[-1].step:
            raise Killed

    with suppress(Killed):
        search(small_search(), tmp_path / "killed", MemorySink(on_step=kill))
    resumed = MemorySink()
    assert search(small_search(), tmp_path / "killed", resumed).longer == outcome.longer
    said = [*(resumed.info.notices if resumed.info is not None else ()), *resumed.notices]
    assert len({notice.message for notice in said if notice.reason == "TrainLonger"}) == 1


@pytest.mark.parametrize("algorithm", ["RandomSharing", "RandomSearch"])
def test_a_strategy_without_the_defaults_curve_says_nothing(algorithm: str, tmp_path: Path) -> None:
    """RandomSharing trains no default, RandomSearch compares it at its end only."""
    sink = MemorySink()
    outcome = search(case(algorithm), tmp_path, sink)

    assert outcome.longer is None
    assert "TrainLonger" not in [notice.reason for notice in sink.notices]

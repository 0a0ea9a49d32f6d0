"""What twice the steps would give the default: a power law through its errors after 1/3 and at the end of its training. Pure.

Ours. The error e falls as e(t) = e(1) t^-b. Both points are trainings with one schedule: at 1/3 the averaged weights are measured, which
stand for weights whose rate has fallen, so that b is nearly that of complete trainings of both lengths (docs/decisions/algorithms.md has
the measurement). The point at 1/9 is no help: there the error still falls faster than any power law that holds at the end.
"""

from __future__ import annotations

import math
from typing import Final

from autohas_api.base.objective_metrics import METRICS
from autohas_trainer.events import LongerTraining

__all__ = ["predict_longer"]

_OWN_SPREAD: Final = 0.5
"""Standard deviation of the exponent, in shares of itself: what 3 data sets at 3 to 6 lengths showed."""
_LOSS_SPREAD: Final = 2.0
"""The same for metrics that are losses, times the square root of the number of examples: 0.07 of 800 (UCI protein)."""
_LEAST_GAIN: Final = 0.05
"""Share of the error that twice the steps must take away to be worth a sentence."""


def predict_longer(
    metric: str, third: float | None, end: float | None, *, steps: int, num_examples: tuple[int, int]
) -> LongerTraining | None:
    """Predict the metric of twice as many steps.

    Args:
        metric: Name of the metric.
        third: Its value after 1/3 of the training.
        end: Its value at the end.
        steps: Number of steps of the training.
        num_examples: Number of compared examples at 1/3 and at the end.

    Returns:
        None where an error is 0 or not finite, or the metric is a custom one: there is nothing to extrapolate.
    """
    if third is None or end is None or metric not in METRICS:
        return None
    before, after = _error(metric, third), _error(metric, end)
    if not (0 < before < math.inf and 0 < after < math.inf):
        return None
    exponent = max(math.log(before / after) / math.log(3), 0.0)
    noise = _noise(metric, (before, after), num_examples)
    spread = math.hypot(_OWN_SPREAD * exponent, noise)

    def value(power: float) -> float:
        return _metric(metric, end, 2.0**-power)

    return LongerTraining(
        steps=2 * steps,
        now=end,
        predicted=value(exponent),
        low=value(exponent - spread),
        high=value(exponent + spread),
        is_clear=exponent > spread and 1 - 2.0**-exponent > _LEAST_GAIN,
    )


def _error(metric: str, value: float) -> float:
    """What falls as a power law: the missing share, the squared error of rmse, the logarithm of perplexity, other losses as they are."""
    if METRICS[metric].is_share or metric == "r2":
        return 1 - value
    if metric == "perplexity":
        return math.log(max(value, 1.0))
    return value * value if metric == "rmse" else value


def _metric(metric: str, now: float, factor: float) -> float:
    """The metric when its error is `factor` times what it is now."""
    if METRICS[metric].is_share:
        return max(1 - (1 - now) * factor, 0.0)
    if metric == "r2":
        return 1 - (1 - now) * factor
    if metric == "perplexity":
        return math.exp(math.log(now) * factor)
    return now * math.sqrt(factor) if metric == "rmse" else now * factor


def _noise(metric: str, errors: tuple[float, float], num_examples: tuple[int, int]) -> float:
    """Standard deviation of the exponent from the sampling of examples: binomial for shares."""
    if not METRICS[metric].is_share:
        return _LOSS_SPREAD / math.sqrt(num_examples[0])
    relative = [max(1 - error, 0.0) / (error * number) for error, number in zip(errors, num_examples, strict=True)]
    return math.sqrt(sum(relative)) / math.log(3)

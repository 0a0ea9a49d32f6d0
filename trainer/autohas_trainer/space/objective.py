"""The objective: quality of a configuration with the price of its size. Pure.

Q is quality (higher is better), T the cost, T0 its target, b < 0 the weight:
    Absolute  Q + b*|T/T0 - 1|          Source: TuNAS (absolute reward)
    Soft      Q * (T/T0)^b              Source: MnasNet
    Hard      Q * min((T/T0)^b, 1)      Source: MnasNet

Ours: the T/T0 that is raised to a power is bounded to a millionth and a million. A network may have 0 multiply-accumulates, of which no
negative power exists, and with b of at least -10 every factor is then a number.
"""

from __future__ import annotations

import math
from typing import Final

from autohas_api.spec.objective import Cost

__all__ = ["normalise_quality", "objective"]

_MAX_RATIO: Final = 1e6


def objective(quality: float, amount: float, cost: Cost | None) -> float:
    """Return the scalar that the search maximises.

    Args:
        quality: Q, a metric on the scale of rewards (see `autohas_trainer.tasks`) or a normalised loss.
        amount: T, what the network costs in the units of `cost.metric`.
        cost: The price; None leaves quality alone.
    """
    if cost is None or not math.isfinite(quality):
        return quality
    ratio, weight = amount / float(cost.target), float(cost.weight)
    bounded = min(max(ratio, 1 / _MAX_RATIO), _MAX_RATIO)
    match cost.form:
        case "Absolute":
            return quality + weight * abs(ratio - 1)
        case "Soft":
            return _scale(quality, math.pow(bounded, weight))
        case "Hard":
            return _scale(quality, min(math.pow(bounded, weight), 1.0))


def _scale(quality: float, factor: float) -> float:
    """Q·f for Q of at least 0; Q/f below, so that a higher price is worse there too (Ours: the sources know only accuracies)."""
    return quality * factor if quality >= 0 else quality / factor


def normalise_quality(loss: float, constant_loss: float) -> float:
    """Return 1 - loss / constant_loss: 1 is perfect, 0 the best constant answer."""
    return 1 - loss / constant_loss

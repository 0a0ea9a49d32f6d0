"""The learning-rate schedule as a pure function of the position in a training.

A lane is a truncated prefix of the final training: it passes the final training's `total`, never its own length.
"""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Kind", "schedule"]

Kind = Literal["Cosine", "Constant"]


def schedule(step: int, total: int, warmup_fraction: float, kind: Kind = "Cosine") -> float:
    """Return the multiplier s in (0, 1] of the peak rate at `step`.

    With w = round(warmup_fraction · total): s = (step + 1) / w while step < w, then ½(1 + cos π(step - w)/(total - w)) or 1.

    Args:
        step: Steps already taken, 0 ≤ step < total.
        total: Length of the whole training, at least 1.
        warmup_fraction: Share of the training spent in linear warm-up, in [0, 1].
        kind: What follows the warm-up.
    """
    if not 0 <= step < total:
        message = f"step must lie in [0, {total}), not {step}"
        raise ValueError(message)
    if not 0 <= warmup_fraction <= 1:
        message = f"warmup_fraction must lie in [0, 1], not {warmup_fraction}"
        raise ValueError(message)
    warmup = round(warmup_fraction * total)
    if step < warmup:
        return (step + 1) / warmup
    match kind:
        case "Constant":
            return 1.0
        case "Cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))

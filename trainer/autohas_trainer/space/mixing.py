"""Values of a continuous range as combinations of its bases, and ordered samples of bases. Pure.

Linear: value = sum c_i * b_i. Log: value = exp(sum c_i * log b_i), so that exponents are combined.

Source: AutoHAS: continuous hyperparameters as linear combinations of categorical bases.
Ours (ALGORITHMS section 3): several bases are an ordered sample without replacement (Plackett-Luce), weighed by renormalised
probabilities:  log P(i_1 ... i_k) = sum_j log softmax(logits of what is left)_(i_j).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["combined", "draw_order", "order_gradient"]

Floats = npt.NDArray[np.float64]


def combined(bases: Sequence[float], weights: Sequence[float], *, is_log: bool) -> float:
    """The value of a combination; `weights` are at least 0 and are divided by their sum."""
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    if is_log:
        return math.exp(math.fsum(share * math.log(base) for share, base in zip(shares, bases, strict=True)))
    return math.fsum(share * base for share, base in zip(shares, bases, strict=True))


def draw_order(probabilities: Floats, count: int, rng: np.random.Generator) -> tuple[int, ...]:
    """`count` distinct indices, each drawn from what is left in proportion to its probability; one uniform number each.

    Where all that is left has underflowed to probability 0, it shares evenly.
    """
    left = probabilities.copy()
    order: list[int] = []
    for _ in range(count):
        if left.sum() == 0:
            left = np.ones_like(left)
            left[order] = 0.0
        cumulative = np.cumsum(left / left.sum())
        index = min(int(np.searchsorted(cumulative, rng.random(), side="right")), len(left) - 1)
        order.append(index)
        left[index] = 0.0
    return tuple(order)


def order_gradient(logits: Floats, order: Sequence[int]) -> Floats:
    """Gradient of log P(order) with respect to the logits: for each place, onehot minus the softmax over what was left."""
    gradient = np.zeros_like(logits)
    is_left = np.ones(len(logits), dtype=bool)
    for index in order:
        shifted = np.where(is_left, np.exp(logits - logits[is_left].max()), 0.0)
        gradient -= shifted / shifted.sum()
        gradient[index] += 1
        is_left[index] = False
    return gradient

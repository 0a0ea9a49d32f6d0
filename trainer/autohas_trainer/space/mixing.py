"""Values of a continuous range as combinations of its bases, and the draws of bases that make them. Pure.

Linear: value = sum c_i * b_i. Log: value = exp(sum c_i * log b_i), so that exponents are combined.

Source: AutoHAS: continuous hyperparameters as linear combinations of categorical bases.
Ours: the coefficients of a sample are counts/k of k independent draws from the categorical. A sample then depends on the logits through
its probability alone, so REINFORCE sees the whole gradient; coefficients that are themselves probabilities would leave a part of it out:

    log P(i_1 ... i_k) = sum_j log p(i_j),   gradient = sum_j (onehot(i_j) - p)
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["accumulate", "combine", "draw_bases", "draws_gradient", "softmax"]

Floats = npt.NDArray[np.float64]


def combine(bases: Sequence[float], weights: Sequence[float], *, is_log: bool) -> float:
    """The value of a combination; `weights` are at least 0 and are divided by their sum."""
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    if is_log:
        return math.exp(math.fsum(share * math.log(base) for share, base in zip(shares, bases, strict=True)))
    return math.fsum(share * base for share, base in zip(shares, bases, strict=True))


def accumulate(probabilities: Floats) -> list[float]:
    """The sums of `probabilities` up to each, which `draw_bases` compares its numbers with; the last is about 1."""
    sums: list[float] = np.cumsum(probabilities / probabilities.sum()).tolist()
    return sums


def draw_bases(sums: Sequence[float], count: int, rng: np.random.Generator) -> tuple[int, ...]:
    """`count` indices, drawn independently and with replacement in proportion to the probabilities of `sums`; one uniform number each."""
    last = len(sums) - 1  # where rounding leaves the sum below the uniform number
    return tuple(min(bisect_right(sums, rng.random()), last) for _ in range(count))


def softmax(logits: Floats) -> Floats:
    """Probabilities in proportion to the exponentials of `logits`."""
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum())


def draws_gradient(probabilities: Floats, draws: Sequence[int]) -> Floats:
    """Gradient of log P(draws) with respect to the logits whose softmax is `probabilities`: onehot minus these, summed over the draws."""
    gradient = -len(draws) * probabilities
    for index in draws:
        gradient[index] += 1
    return np.asarray(gradient)

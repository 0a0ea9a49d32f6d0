"""Advantages of several samples that were rewarded on the same gradient and the same batch. Pure.

Source: leave-one-out baseline (Kool et al., "Buy 4 REINFORCE Samples, Get a Baseline for Free!").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autohas_trainer.space.policy import MAX_ADVANTAGE

__all__ = ["leave_one_out_advantages"]


def leave_one_out_advantages(rewards: Sequence[float]) -> list[float]:
    """A_k = (r_k - mean of the others) / deviation of all, clipped at MAX_ADVANTAGE.

    Ours: the division, so that the scale of a loss does not matter; a reward that is not finite gets the lowest advantage and counts
    in no mean; rewards that are all equal teach nothing.

    Args:
        rewards: One per sample, at least two; higher is better.
    """
    finite_rewards = [reward for reward in rewards if math.isfinite(reward)]
    if not finite_rewards:
        return [0.0] * len(rewards)
    mean = math.fsum(finite_rewards) / len(finite_rewards)
    deviation = math.sqrt(math.fsum((reward - mean) ** 2 for reward in finite_rewards) / len(finite_rewards))
    return [_advantage(reward, mean, deviation, len(finite_rewards)) for reward in rewards]


def _advantage(reward: float, mean: float, deviation: float, count: int) -> float:
    if not math.isfinite(reward):
        return -MAX_ADVANTAGE
    if deviation == 0:
        return 0.0
    # r - mean of the others = (r - mean of all) * n / (n - 1); a deviation above 0 means that n is at least 2.
    centred = (reward - mean) * count / (count - 1)
    return max(-MAX_ADVANTAGE, min(MAX_ADVANTAGE, centred / deviation))

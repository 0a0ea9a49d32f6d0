"""Uniform draws from a space: the sampler of SuccessiveHalving and Hyperband. Pure.

A continuous range is drawn from itself, uniformly or by its exponent, and a list from its choices; inactive decisions are never drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autohas_api.space.decisions import Configuration, Decision, Space
from autohas_trainer.algorithms._proposer import TrialRecord

__all__ = ["UniformSampler", "draw_active", "draw_uniformly", "draw_value"]


def draw_value(decision: Decision, rng: np.random.Generator) -> str:
    """One value of a decision, all of them being as likely."""
    if decision.range is None:
        return decision.choices[int(rng.integers(len(decision.choices)))]
    return decision.range.write(decision.range.at(float(rng.random())))


def draw_active(space: Space, draw: Callable[[Decision], str]) -> Configuration:
    """One configuration, decision by decision; one that is inactive, or has one choice only, is not drawn."""
    values: dict[str, str] = {}
    for decision in space.decisions:
        is_free = decision.is_searched and space.is_active(decision, values)
        values[decision.name] = draw(decision) if is_free else decision.fixed
    return space.configuration(values)


def draw_uniformly(space: Space, rng: np.random.Generator) -> Configuration:
    """One configuration, every value of a decision being as likely."""
    return draw_active(space, lambda decision: draw_value(decision, rng))


class UniformSampler:
    """Draws that learn nothing from the history."""

    def __init__(self, space: Space) -> None:
        """Draw from `space`."""
        self._space = space

    def draw(self, history: Sequence[TrialRecord], rng: np.random.Generator) -> Configuration:  # noqa: ARG002 - the protocol's
        """One configuration."""
        return draw_uniformly(self._space, rng)

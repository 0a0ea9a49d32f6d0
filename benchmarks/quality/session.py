"""A peer's budget: what each of its trials costs, what is left, and the best finished trial after every unit of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.space.decisions import Configuration, Space
from autohas_trainer.engine.training.comparison import Comparison

__all__ = ["ComparisonSource", "Price", "Session"]

_SLACK: Final = 1e-9
"""Rounding of sums of prices: a rung that costs exactly what is left is affordable."""

Price = Callable[[Configuration, int, int], float]
"""(configuration, rungs behind it, rungs wanted) -> work in trainings of the default, comparisons included."""


class ComparisonSource(Protocol):
    """Where a session's comparisons come from."""

    def compare(self, configuration: Configuration, rung: int) -> Comparison:
        """The comparison of a configuration's training at a rung."""


class Session:
    """One method on one task and seed.

    Attributes:
        spent: Work so far.
        curve: (work, configuration) wherever the best finished trial changed; the score on the selection split decides.
    """

    def __init__(self, space: Space, seed: int, budget: float, trainings: ComparisonSource, price: Price) -> None:
        """Nothing is spent."""
        self.space, self.seed, self.budget = space, seed, budget
        self.spent = 0.0
        self.curve: list[tuple[float, Configuration]] = []
        self._trainings, self._price = trainings, price
        self._rungs_behind: dict[Configuration, int] = {}
        self._best_score = float("-inf")

    def can_afford(self, configuration: Configuration, rung: int) -> bool:
        """Whether the budget pays for taking a configuration to a rung from where it is."""
        return self._cost(configuration, rung) <= self.budget - self.spent + _SLACK

    def _cost(self, configuration: Configuration, rung: int) -> float:
        behind = self._rungs_behind.get(configuration, 0)
        return self._price(configuration, behind, rung + 1) if rung + 1 > behind else 0.0

    def measure(self, configuration: Configuration, rung: int) -> Comparison:
        """Take a configuration to a rung and pay for it; what was paid for before is free."""
        self.spent += self._cost(configuration, rung)
        self._rungs_behind[configuration] = max(rung + 1, self._rungs_behind.get(configuration, 0))
        comparison = self._trainings.compare(configuration, rung)
        if rung == LAST_RUNG and comparison.score > self._best_score:
            self._best_score = comparison.score
            self.curve.append((self.spent, configuration))
        return comparison

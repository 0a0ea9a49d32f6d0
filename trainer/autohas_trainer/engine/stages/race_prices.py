"""What lanes and the race of leaders cost, by the work of each configuration; every price is computed once."""

from __future__ import annotations

from collections.abc import Sequence

from autohas_api.algorithms.one_factor import num_challengers
from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.space.decisions import Configuration
from autohas_trainer.engine.training.search_task import SearchTask

__all__ = ["RacePrices"]


class RacePrices:
    """Prices of one search, in trainings of the default, comparisons included."""

    def __init__(self, search_task: SearchTask) -> None:
        self._search_task = search_task
        self._known: dict[tuple[Configuration, int], float] = {}

    def lane(self, configuration: Configuration) -> float:
        """From the start to 1/9."""
        return self._price(configuration, 0)

    def third(self, configuration: Configuration) -> float:
        """From 1/9 to 1/3."""
        return self._price(configuration, 1)

    def end(self, configuration: Configuration) -> float:
        """From 1/3 to the end."""
        return self._price(configuration, LAST_RUNG)

    def repeats(self, configuration: Configuration) -> float:
        """What repeats of a winner cost more than those of the default, which the plan sets aside."""
        num_repeats = self._search_task.plan.num_repeats
        return num_repeats * max(0.0, self._search_task.work(configuration) - 1) if num_repeats else 0.0

    def race(self, leaders: Sequence[Configuration]) -> float:
        """The default and `leaders` from 1/9 to 1/3, the default and the dearest challengers from there to the end, and their repeats."""
        default = self._search_task.space.default
        thirds = sum(self.third(leader) for leader in (default, *leaders))
        ends = sorted(map(self.end, leaders), reverse=True)[: num_challengers(len(leaders))]
        return thirds + sum(ends) + self.end(default) + max(map(self.repeats, leaders), default=0.0)

    def _price(self, configuration: Configuration, rung: int) -> float:
        known = self._known.get((configuration, rung))
        if known is None:
            known = self._known[configuration, rung] = self._search_task.price(configuration, rung, rung + 1)
        return known

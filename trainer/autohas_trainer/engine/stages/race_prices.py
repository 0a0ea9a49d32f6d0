"""What lanes and the race of leaders cost, by the work of each configuration; every price is computed once."""

from __future__ import annotations

from collections.abc import Sequence

from autohas_api.algorithms.one_factor import LANES_PER_CHALLENGER
from autohas_api.algorithms.stage_plan import num_challengers
from autohas_api.space.decisions import Configuration
from autohas_trainer.engine.accounting.spending import Prices, price_of_ends
from autohas_trainer.engine.training.search_task import SearchTask

__all__ = ["RacePrices"]


class RacePrices:
    """Prices of one search, in trainings of the default, comparisons included."""

    def __init__(self, search_task: SearchTask) -> None:
        self._search_task = search_task
        self._known: dict[Configuration, Prices] = {}

    def of(self, configuration: Configuration) -> Prices:
        """The prices of one configuration from one rung to the next."""
        prices = self._known.get(configuration)
        if prices is None:
            prices = self._known[configuration] = self._search_task.prices(configuration)
        return prices

    def race(self, leaders: Sequence[Configuration]) -> float:
        """The default and `leaders` from 1/9 to 1/3, the default and the dearest challengers from there to the end, and their repeats."""
        default, prices = self.of(self._search_task.space.default), [self.of(leader) for leader in leaders]
        thirds = sum(p.second for p in (default, *prices))
        return thirds + price_of_ends(prices, num_challengers(len(prices), LANES_PER_CHALLENGER)) + default.last

"""What the trials of a bracket cost, by the work of each configuration; every price is computed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from autohas_api.space.decisions import Configuration
from autohas_trainer.engine.training.search_task import SearchTask

__all__ = ["TrialPrices"]


class TrialPrices:
    """Prices of one search, in trainings of the default, comparisons included."""

    def __init__(self, search_task: SearchTask) -> None:
        self._search_task = search_task
        self._prices: dict[tuple[Configuration, int, int], float] = {}

    def price_way(self, configuration: Configuration, since: int, rung: int) -> float:
        """The price from rung `since` to rung `rung`, where it is compared; -1 is the beginning of a training."""
        key = (configuration, since, rung)
        if key not in self._prices:
            search_task, steps = self._search_task, self._search_task.recipe(configuration).steps
            begin, end = (search_task.rungs.steps(steps, number) if number >= 0 else 0 for number in (since, rung))
            part = (end - begin) / steps
            self._prices[key] = part * search_task.work(configuration) + search_task.comparison_work(configuration, rung)
        return self._prices[key]

    def price_entry(self, configuration: Configuration, rung: int) -> float:
        """The price of a trial that begins, up to its first comparison, which is at `rung`."""
        return self.price_way(configuration, -1, rung)

    def price_ways(self, trials: Sequence[Configuration], counts: Mapping[int, int]) -> float:
        """The most that it costs to train `counts[rung]` of the trials from the rung before to each rung."""
        return sum(
            sum(sorted((self.price_way(trial, rung - 1, rung) for trial in trials), reverse=True)[:count]) for rung, count in counts.items()
        )

    def price_repeats(self, trials: Iterable[Configuration]) -> float:
        """What the repeats of the dearest of the trials cost beyond those of the default, which the plan sets aside."""
        plan = self._search_task.plan
        return plan.num_repeats * max((max(0.0, self._search_task.work(trial) - 1) for trial in trials), default=0.0)

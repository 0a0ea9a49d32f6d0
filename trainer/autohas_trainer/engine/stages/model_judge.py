"""What the lanes of a search for a model say, by the curve of the default: a function of comparisons and ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from autohas_api.algorithms.best_model import CURVE_RUNG, LANE_RUNG
from autohas_api.space.decisions import Configuration
from autohas_trainer.algorithms.best_model import Curve, find_advantage, find_speed, fit_curve, price_search
from autohas_trainer.engine.search_state import DEFAULT, SearchState

__all__ = ["ModelJudge"]

_SMALLEST: Final = 1e-12


class ModelJudge:
    """Judges lanes. The default must have been compared at CURVE_RUNG and at the two rungs before it."""

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._fit = lru_cache(maxsize=1)(fit_curve)

    @property
    def curve(self) -> Curve:
        """The default's."""
        first, second, last = (self.error(DEFAULT, rung) for rung in range(CURVE_RUNG - 2, CURVE_RUNG + 1))
        return self._fit(self._at(CURVE_RUNG), (first, second, last))

    def price(self, cost: float) -> float:
        """What the error at the end gains, as a logarithm, if `cost` trainings do not go into the winner."""
        return price_search(self.curve, self.whole(DEFAULT), cost)

    def left_for(self, name: str) -> float:
        """What is left for the steps of a candidate that is the winner: its last comparison is set aside, in trainings."""
        search_task = self._state.search_task
        return self._state.trainings_left - search_task.comparison_work(self._state.configurations[name], search_task.rungs.last)

    def whole(self, name: str) -> float:
        """What the training of a candidate costs that continues with all that is left, in trainings."""
        training = self._state.trainings[name]
        return self.left_for(name) + training.num_steps_done * self._state.search_task.step_work(training.configuration)

    def lane_price(self, configuration: Configuration) -> float:
        """The cost of a lane and of its comparison."""
        search_task = self._state.search_task
        steps = search_task.rung_steps(configuration, LANE_RUNG)
        return steps * search_task.step_work(configuration) + search_task.comparison_work(configuration, LANE_RUNG)

    def is_paid_for(self, configuration: Configuration, num_steps_done: int = 0) -> bool:
        """Whether what is left pays for the shortest training that the race can lead to."""
        return self.shortest_price(configuration, num_steps_done) <= self._state.trainings_left

    def shortest_price(self, configuration: Configuration, num_steps_done: int = 0) -> float:
        """The cost of the way to CURVE_RUNG after `num_steps_done`, and of the dearer end from there: this training's or the default's."""
        search_task = self._state.search_task
        steps = search_task.rung_steps(configuration, CURVE_RUNG) - num_steps_done
        comparisons = [CURVE_RUNG] if num_steps_done else [LANE_RUNG, CURVE_RUNG]
        way = steps * search_task.step_work(configuration) + sum(search_task.comparison_work(configuration, rung) for rung in comparisons)
        return way + max(self._end_price(configuration), self._end_price(search_task.space.default))

    def _end_price(self, configuration: Configuration) -> float:
        """The cost of the shortest end of a training from CURVE_RUNG on: the decay and the last comparison."""
        search_task = self._state.search_task
        decay = search_task.length(configuration).count_decay(search_task.rung_steps(configuration, CURVE_RUNG))
        return decay * search_task.step_work(configuration) + search_task.comparison_work(configuration, search_task.rungs.last)

    def advantage(self, name: str, rung: int) -> float:
        """What a candidate takes away from the default's error at the end of the budget, by its comparison at a rung; -inf: it diverged."""
        search_task, configuration = self._state.search_task, self._state.configurations[name]
        error = self.error(name, rung)
        return find_advantage(
            self.curve,
            math.log(self.error(DEFAULT, rung) / error) if error < math.inf else -math.inf,
            at=self._at(rung),
            whole=self.whole(DEFAULT),
            speed=find_speed(search_task.recipe(configuration), search_task.recipe(search_task.space.default)),
            work=search_task.work(configuration),
        )

    def rank_leading(self, names: Iterable[str]) -> list[str]:
        """Those of the compared lanes that lead over the default, the best first."""
        advantages = {name: self.advantage(name, LANE_RUNG) for name in names}
        return sorted((name for name in advantages if advantages[name] > 0), key=lambda name: -advantages[name])

    def error(self, name: str, rung: int) -> float:
        """1 - key: the loss in units of a constant answer's, and the price of the network's cost."""
        return max(1 - self._state.comparisons[name][rung].key, _SMALLEST)

    def _at(self, rung: int) -> float:
        """Trainings to a rung."""
        return self._state.search_task.plan.rungs[rung] / self._state.search_task.spec.training.steps

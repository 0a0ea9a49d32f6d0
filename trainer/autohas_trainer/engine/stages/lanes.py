"""Lanes: ordinary trainings with different hyperparameters, cut by successive halving at 1/9 and 1/3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autohas_api.space.decisions import initial_points
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import lane_candidates
from autohas_trainer.engine.accounting.spending import count_affordable, name_range
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.halving import Halving
from autohas_trainer.engine.training.comparison import rank

__all__ = ["LanesStage"]


class LanesStage:
    """Leaves in the search state: the trainings of the surviving lanes and of the default, and the best lane's name."""

    name = Stage.LANES

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._halving = Halving(state, self.name, self._choose, self._replace)
        self.num_steps = state.search_task.plan.lane_steps

    def begin(self) -> None:
        """Enter the lanes, the default first."""
        search_task = self._state.search_task
        lanes = lane_candidates(
            search_task.space, search_task.plan.num_lanes, search_task.seed, initial_points(search_task.spec, search_task.space)
        )
        self._halving.begin([self._state.enter(lane.name, lane.configuration) for lane in lanes])

    def advance(self) -> bool:
        """Train or compare one lane; at the end hand the best lane to the algorithm."""
        if self._halving.advance():
            return True
        if self._state.best_lane is not None:
            self._hand_over(self._state.best_lane)
        return False

    def _hand_over(self, lane: str) -> None:
        """Give the algorithm the best lane's hyperparameters and the supernet, if one follows, its weights.

        Ours, measured by `benchmarks.ranking`: the shared weights then rank architectures better, at no cost.
        """
        state, configuration = self._state, self._state.configurations[lane]
        state.algorithm.begin(configuration)
        if state.search_task.plan.supernet_steps:
            state.supernet.adopt(state.search_task.path(configuration), state.trainings[lane].parameters())

    def state_dict(self) -> dict[str, Any]:
        """Position in the halving."""
        return self._halving.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._halving.load_state_dict(state)

    def _replace(self, rung: int, names: list[str]) -> list[str]:
        """The next lanes of the design at 1/9, for what those that diverged did not spend of the stage's share."""
        num_diverged = sum(self._state.comparisons[name][rung].key == -math.inf for name in names)
        if rung > 0 or not num_diverged:
            return []
        state, plan, prices = self._state, self._state.search_task.plan, self._state.prices
        spare = plan.lane_trainings - state.ledger.cost_by_stage()[self.name] - plan.num_survivors * prices.second
        lanes = state.further_lanes(count_affordable(spare, prices.first, 0))
        if lanes:
            new = name_range([lane.name for lane in lanes])
            state.notify(
                NoticeReason.BUDGET_MOVED, f"{num_diverged} lanes diverged: the {spare:.2f} trainings that they did not spend go to {new}"
            )
        return [state.enter(lane.name, lane.configuration) for lane in lanes]

    def _choose(self, rung: int, names: list[str]) -> list[str]:
        """After 1/9 the best third continues; after 1/3 the best lane is known (the default, when all diverged) and no lane continues."""
        order = rank({name: self._state.comparisons[name][rung] for name in names})
        if rung > 0:
            best = order[0]
            self._state.best_lane = DEFAULT if self._state.comparisons[best][rung].key == -math.inf else best
            self._state.forget_contributions(rung, [name for name in names if name != self._state.best_lane])
            return []
        finite = [name for name in order if self._state.comparisons[name][rung].key > -math.inf]
        survivors = finite[: self._state.search_task.plan.num_survivors]
        self._state.keep_only({DEFAULT, *survivors})
        return survivors

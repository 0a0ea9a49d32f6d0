"""Lanes: ordinary trainings with different hyperparameters, cut by successive halving at 1/9 and 1/3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from autohas_api.algorithms.plan_request import MIN_SUPERNET_TRAININGS
from autohas_api.space.decisions import initial_points
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import lane_candidates
from autohas_trainer.engine.accounting.spending import TOLERANCE, Lanes, name_range
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.further_lanes import further_lanes, report_unaffordable
from autohas_trainer.engine.stages.halving import Halving
from autohas_trainer.engine.stages.ranking import rank_finite
from autohas_trainer.engine.training.comparison import rank

__all__ = ["LanesStage"]

_LOOK_AHEAD: Final = 6
"""Lanes of the design that are looked at per planned one: those that cost too much are passed over, and cheap ones leave room for more."""


class LanesStage:
    """Leaves in the search state: the trainings of the surviving lanes and of the default, and the best lane's name."""

    name = Stage.LANES

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._halving = Halving(state, self.name, self._choose, self._replace, self._keep)
        self.num_steps = state.search_task.plan.lane_steps

    def begin(self) -> None:
        """Enter the lanes, the default first: each lane of the design that the share pays for."""
        state, search_task, plan = self._state, self._state.search_task, self._state.search_task.plan
        supernet = max(0.0, plan.supernet_trainings - MIN_SUPERNET_TRAININGS)
        share, end = plan.lane_trainings, state.prices(DEFAULT).last
        field = Lanes(share, share + supernet + end)
        initial = initial_points(search_task.spec, search_task.space)
        design = lane_candidates(search_task.space, _LOOK_AHEAD * plan.num_lanes, search_task.seed, initial)
        tolerance = TOLERANCE * plan.search_trainings
        entrants: list[str] = []
        for lane in design:
            is_planned = len(entrants) < plan.num_lanes
            if field.enter(search_task.prices(lane.configuration), tolerance if is_planned else 0.0):
                entrants.append(state.enter(lane.name, lane.configuration))
            elif lane.configuration in initial:
                report_unaffordable(state, lane.name, lane.configuration)
        self._halving.begin(entrants)
        first, second, _ = plan.rungs
        self.num_steps = len(entrants) * first + math.ceil(len(entrants) / 3) * (second - first)

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
            # The race pays for the end of one lane; another one, should something be left for it, repeats its steps.
            state.rewind(name for name in state.trainings if name not in (DEFAULT, lane))

    def state_dict(self) -> dict[str, Any]:
        """Position in the halving."""
        return self._halving.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._halving.load_state_dict(state)

    def _replace(self, rung: int, names: list[str]) -> list[str]:
        """The next lanes of the design at 1/9, for what those that diverged did not spend of the stage's share."""
        state = self._state
        num_diverged = sum(state.comparisons[name][rung].key == -math.inf for name in names)
        if rung > 0 or not num_diverged:
            return []
        finite = [name for name in names if state.comparisons[name][rung].key > -math.inf]
        spare = self._left() - sum(sorted((state.prices(name).second for name in finite), reverse=True)[: math.ceil(len(names) / 3)])
        lanes, spent = [], 0.0
        for lane in further_lanes(state, _LOOK_AHEAD * len(names)):
            price = state.search_task.prices(lane.configuration).first
            if spent + price <= spare:
                spent += price
                lanes.append(lane)
        if lanes:
            new = name_range([lane.name for lane in lanes])
            state.notify(
                NoticeReason.BUDGET_MOVED, f"{num_diverged} lanes diverged: the {spare:.2f} trainings that they did not spend go to {new}"
            )
        return [state.enter(lane.name, lane.configuration) for lane in lanes]

    def _left(self) -> float:
        """What the stage may still spend of its share."""
        return self._state.search_task.plan.lane_trainings - self._state.ledger.cost_by_stage().get(self.name, 0.0)

    def _keep(self, rung: int, names: list[str], count: int) -> set[str]:
        """The default, and at 1/9 the best third of all lanes; a lane behind them continues only where a better one costs too much."""
        if rung > 0:
            return set(names)
        return {DEFAULT, *self._choose_survivors(rank_finite(self._state, rung, names), math.ceil(count / 3))}

    def _choose_survivors(self, names: list[str], count: int) -> list[str]:
        """The best `count`, the best first, as far as the share pays for their way to 1/3; the best one wherever its end can be paid."""
        state = self._state
        left = self._left() + TOLERANCE * state.search_task.plan.search_trainings
        for_ends = state.trainings_left - state.prices(DEFAULT).rest(1)
        survivors: list[str] = []
        for name in names:
            prices = state.prices(name)
            if len(survivors) < count and (prices.second <= left or not survivors) and prices.rest(1) <= for_ends:
                survivors.append(name)
                left -= prices.second
        return survivors

    def _choose(self, rung: int, names: list[str]) -> list[str]:
        """After 1/9 the best third continues; after 1/3 the best lane is known (the default, when all diverged) and no lane continues."""
        if rung > 0:
            best = rank({name: self._state.comparisons[name][rung] for name in names})[0]
            self._state.best_lane = DEFAULT if self._state.comparisons[best][rung].key == -math.inf else best
            self._state.forget_contributions(rung, [name for name in names if name != self._state.best_lane])
            return []
        finite = rank_finite(self._state, rung, names)
        survivors = self._choose_survivors(finite, math.ceil(len(finite) / 3))
        self._state.keep_only({DEFAULT, *survivors})
        return survivors

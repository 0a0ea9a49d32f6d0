"""Lanes: ordinary trainings with different hyperparameters, cut by successive halving at 1/9 and 1/3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autohas_api.space.decisions import initial_points
from autohas_api.wire.messages import Stage
from autohas_trainer.algorithms import lane_candidates
from autohas_trainer.engine.accounting.spending import affordable, enumerated
from autohas_trainer.engine.search_state import DEFAULT, Board
from autohas_trainer.engine.stages.halving import Rungs
from autohas_trainer.engine.training.comparison import ranked

__all__ = ["LanesStage"]


class LanesStage:
    """Leaves on the board: the trainings of the surviving lanes and of the default, and the best lane's name."""

    name = Stage.LANES

    def __init__(self, board: Board) -> None:
        self._board = board
        self._rungs = Rungs(board, self.name, self._choose, self._replace)
        self.num_steps = board.problem.plan.lane_steps

    def begin(self) -> None:
        """Enter the lanes, the default first."""
        problem = self._board.problem
        lanes = lane_candidates(problem.space, problem.plan.num_lanes, problem.seed, initial_points(problem.spec, problem.space))
        self._rungs.begin([self._board.enter(lane.name, lane.configuration) for lane in lanes])

    def advance(self) -> bool:
        """Train or compare one lane; at the end hand the best lane to the algorithm."""
        if self._rungs.advance():
            return True
        if self._board.best_lane is not None:
            self._hand_over(self._board.best_lane)
        return False

    def _hand_over(self, lane: str) -> None:
        """Give the algorithm the best lane's hyperparameters and the supernet, if one follows, its weights.

        Ours, measured by `benchmarks.ranking`: the shared weights then rank architectures better, at no cost.
        """
        board, configuration = self._board, self._board.configurations[lane]
        board.algorithm.begin(configuration)
        if board.problem.plan.supernet_steps:
            board.supernet.adopt(board.problem.path(configuration), board.trainings[lane].parameters())

    def state_dict(self) -> dict[str, Any]:
        """Position in the halving."""
        return self._rungs.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._rungs.load_state_dict(state)

    def _replace(self, rung: int, names: list[str]) -> list[str]:
        """The next lanes of the design at 1/9, for what those that diverged did not spend of the stage's share."""
        num_diverged = sum(self._board.comparisons[name][rung].key == -math.inf for name in names)
        if rung > 0 or not num_diverged:
            return []
        board, plan, prices = self._board, self._board.problem.plan, self._board.prices
        spare = plan.lane_trainings - board.ledger.cost_by_stage()[self.name] - plan.num_survivors * prices.second
        lanes = board.further_lanes(affordable(spare, prices.first, 0))
        if lanes:
            new = enumerated([lane.name for lane in lanes])
            board.notify("BudgetMoved", f"{num_diverged} lanes diverged: the {spare:.2f} trainings that they did not spend go to {new}")
        return [board.enter(lane.name, lane.configuration) for lane in lanes]

    def _choose(self, rung: int, names: list[str]) -> list[str]:
        """After 1/9 the best third goes on; after 1/3 the best lane is known (the default, when all diverged) and nobody does."""
        order = ranked({name: self._board.comparisons[name][rung] for name in names})
        if rung > 0:
            best = order[0]
            self._board.best_lane = DEFAULT if self._board.comparisons[best][rung].key == -math.inf else best
            self._board.forget_contributions(rung, [name for name in names if name != self._board.best_lane])
            return []
        finite = [name for name in order if self._board.comparisons[name][rung].key > -math.inf]
        survivors = finite[: self._board.problem.plan.num_survivors]
        self._board.keep_only({DEFAULT, *survivors})
        return survivors

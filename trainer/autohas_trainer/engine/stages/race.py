"""Race: default, lanes and the supernet's proposals, trained to 1/9, 1/3 and 1, compared on the selection split.

After a whole race nothing but the default is returned unless it beat the default there, and nothing new takes the best lane's place
unless it beat the lane at 1/3; ties within noise go to the default, and to the lane.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autohas_api.budget import FINALISTS
from autohas_api.messages import Stage
from autohas_api.space import initial_configurations
from autohas_trainer.algorithms import Candidate
from autohas_trainer.engine.board import DEFAULT, Board
from autohas_trainer.engine.comparison import beats, ranked
from autohas_trainer.engine.rungs import Rungs
from autohas_trainer.seeding import stream

__all__ = ["RaceStage"]


class RaceStage:
    """Leaves on the board: the winner's name, its training finished, and the default's beside it."""

    name = Stage.RACE

    def __init__(self, board: Board) -> None:
        self._board = board
        self._rungs = Rungs(board, self.name, self._choose)
        self.num_steps = board.problem.plan.race_steps

    def begin(self) -> None:
        """Enter the default and the new candidates beside the lanes that reached 1/3."""
        board = self._board
        entrants = [board.enter(DEFAULT, board.problem.space.default)]
        for candidate in self._proposals():
            name = board.enter(candidate.name, candidate.configuration)
            if name not in entrants:
                entrants.append(name)
        self._rungs.begin([*entrants, *(name for name in board.trainings if name not in entrants)])

    def _proposals(self) -> list[Candidate]:
        """What the spec enqueues, unless the lanes had it, and what the supernet proposes, unless it was abandoned."""
        board, problem = self._board, self._board.problem
        initial = () if problem.plan.num_lanes else initial_configurations(problem.spec, problem.space)
        given = [Candidate(name=f"initial {n}", configuration=c) for n, c in enumerate(initial, start=1)]
        count = problem.plan.num_candidates - len(given)
        if count <= 0 or board.supernet_is_abandoned:
            return given
        return [*given, *board.algorithm.candidates(count, stream(problem.seed, "race", "candidates"))]

    def advance(self) -> bool:
        """Train or compare one candidate."""
        return self._rungs.advance()

    def state_dict(self) -> dict[str, Any]:
        """Position in the halving."""
        return self._rungs.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._rungs.load_state_dict(state)

    def _choose(self, rung: int, names: list[str]) -> list[str]:
        match rung:
            case 0:
                kept = self._after_first(names)
            case 1:
                kept = [DEFAULT, *self._challenger(rung, names)]
                self._board.forget_contributions(rung, names)
            case _:
                self._board.winner = self._decide(names, rung)
                return [self._board.winner]
        self._board.keep_only(set(kept))
        return kept

    def _after_first(self, names: list[str]) -> list[str]:
        """The default, the lanes that are further already, and the best of the new ones."""
        ahead = [name for name in names if name != DEFAULT and 1 in self._board.comparisons[name]]
        new = [name for name in self._order(0, names) if name != DEFAULT and name not in ahead]
        return [DEFAULT, *ahead, *new[:FINALISTS]]

    def _challenger(self, rung: int, names: list[str]) -> list[str]:
        """Who goes on beside the default: the best lane, unless a new candidate beats it; without such a lane the first in order."""
        comparisons, lane = self._board.comparisons, self._board.best_lane
        order = [name for name in self._order(rung, names) if name != DEFAULT]
        if lane is None or lane not in order:
            return order[:1]
        better = [name for name in order if beats(comparisons[name][rung], comparisons[lane][rung])]
        return [*better, lane][:1]

    def _order(self, rung: int, names: list[str]) -> list[str]:
        return ranked({name: self._board.comparisons[name][rung] for name in names})

    def _decide(self, names: list[str], rung: int) -> str:
        comparisons = self._board.comparisons
        challengers = [name for name in names if name != DEFAULT]
        winners = [c for c in challengers if beats(comparisons[c][rung], comparisons[DEFAULT][rung])]
        return winners[0] if winners else DEFAULT

"""Trials: full trainings one after another, the best on the selection split wins. The race of RandomSearch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from autohas_api.algorithms.plan_request import LAST_RUNG
from autohas_api.wire.messages import Stage
from autohas_trainer.algorithms import Candidate
from autohas_trainer.engine.accounting.spending import affordable, enumerated
from autohas_trainer.engine.search_state import DEFAULT, Board
from autohas_trainer.engine.training.comparison import beats
from autohas_trainer.seeding import stream

__all__ = ["TrialsStage"]


class TrialsStage:
    """Leaves on the board: the winner's name, its training finished, and the default's beside it."""

    name = Stage.RACE

    def __init__(self, board: Board) -> None:
        self._board = board
        self._position = 0
        self._best = DEFAULT
        self._num_trials = board.problem.plan.num_trials
        self.num_steps = board.problem.plan.race_steps

    def begin(self) -> None:
        """Enter trial 0, the default."""
        self._enter()

    def advance(self) -> bool:
        """Train the current trial one step, or compare it when it is finished."""
        board = self._board
        name = self._trials[self._position].name
        training = board.trainings[name]
        if not training.is_finished and not training.is_diverged:
            board.train(self.name, name)
            return True
        board.compare(self.name, name, LAST_RUNG)
        if board.goal_reached_by is not None:
            board.report_rung(self.name, LAST_RUNG, [name], [name])
            return True  # the search ends here with this trial (see `early_stopping`)
        self._take(name)
        self._position += 1
        if self._position == len(self._trials):
            self._add_trials()
        if self._position == len(self._trials):
            board.winner = self._best
            return False
        self._enter()
        return True

    def _add_trials(self) -> None:
        """Trials for what those that diverged did not spend."""
        board, planned = self._board, len(self._trials)
        self._num_trials = planned + affordable(board.trainings_left, 1 + board.problem.comparisons.last, 0)
        del self._trials
        if added := self._trials[planned:]:
            board.replan(self.name, len(added) * board.problem.plan.rungs[-1])
            text = f"{board.trainings_left:.2f} trainings are left because trials diverged: {enumerated([t.name for t in added])} follow"
            board.notify("BudgetMoved", text)

    def state_dict(self) -> dict[str, Any]:
        """Position, leader and number of trials."""
        return {"position": self._position, "best": self._best, "trials": self._num_trials}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._position, self._best, self._num_trials = int(state["position"]), str(state["best"]), int(state["trials"])

    @cached_property
    def _trials(self) -> list[Candidate]:
        """The same draw in every process: randomness has no state."""
        problem = self._board.problem
        return self._board.algorithm.candidates(self._num_trials, stream(problem.seed, "trials"))

    def _enter(self) -> None:
        trial = self._trials[self._position]
        self._board.enter(trial.name, trial.configuration)

    def _take(self, name: str) -> None:
        """Keep the leader: the best score so far, unless the default is as good within noise."""
        board = self._board
        known = {other: board.comparisons[other][LAST_RUNG] for other in (DEFAULT, self._best, name)}
        is_better = known[name].score > known[self._best].score
        if is_better and beats(known[name], known[DEFAULT]):
            self._best = name
        board.report_rung(self.name, LAST_RUNG, [name], [name] if name == self._best else [])
        board.keep_only({DEFAULT, self._best})

"""Trials: full trainings one after another, the best on the selection split wins. The race of RandomSearch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import Candidate
from autohas_trainer.engine.accounting.spending import count_affordable, name_range
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.training.comparison import beats
from autohas_trainer.seeding import stream

__all__ = ["TrialsStage"]


class TrialsStage:
    """Leaves in the search state: the winner's name, its training finished, and the default's."""

    name = Stage.RACE

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._position = 0
        self._best = DEFAULT
        self._num_trials = state.search_task.plan.num_trials
        self.num_steps = state.search_task.plan.race_steps

    def begin(self) -> None:
        """Enter trial 0, the default."""
        self._enter()

    def advance(self) -> bool:
        """Train the current trial one step, or compare it when it is finished."""
        state = self._state
        name = self._trials[self._position].name
        training = state.trainings[name]
        if not training.is_finished and not training.is_diverged:
            state.train(self.name, name)
            return True
        state.compare(self.name, name, LAST_RUNG)
        if state.goal_reached_by is not None:
            state.report_rung(self.name, LAST_RUNG, [name], [name])
            return True  # the search ends here with this trial (see `early_stopping`)
        self._take(name)
        self._position += 1
        if self._position == len(self._trials):
            self._add_trials()
        if self._position == len(self._trials):
            state.winner = self._best
            return False
        self._enter()
        return True

    def _add_trials(self) -> None:
        """Trials for what those that diverged did not spend."""
        state, planned = self._state, len(self._trials)
        self._num_trials = planned + count_affordable(state.trainings_left, 1 + state.search_task.comparisons.last, 0)
        del self._trials
        if added := self._trials[planned:]:
            state.replan(self.name, len(added) * state.search_task.plan.rungs[-1])
            text = f"{state.trainings_left:.2f} trainings are left because trials diverged: {name_range([t.name for t in added])} follow"
            state.notify(NoticeReason.BUDGET_MOVED, text)

    def state_dict(self) -> dict[str, Any]:
        """Position, leader and number of trials."""
        return {"position": self._position, "best": self._best, "trials": self._num_trials}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._position, self._best, self._num_trials = int(state["position"]), str(state["best"]), int(state["trials"])

    @cached_property
    def _trials(self) -> list[Candidate]:
        """The same draw in every process: randomness has no state."""
        search_task = self._state.search_task
        return self._state.algorithm.candidates(self._num_trials, stream(search_task.seed, "trials"))

    def _enter(self) -> None:
        trial = self._trials[self._position]
        self._state.enter(trial.name, trial.configuration)

    def _take(self, name: str) -> None:
        """Keep the leader: the best score so far, unless the default is as good within noise."""
        state = self._state
        comparisons = {other: state.comparisons[other][LAST_RUNG] for other in (DEFAULT, self._best, name)}
        is_better = comparisons[name].score > comparisons[self._best].score
        if is_better and beats(comparisons[name], comparisons[DEFAULT]):
            self._best = name
        state.report_rung(self.name, LAST_RUNG, [name], [name] if name == self._best else [])
        state.keep_only({DEFAULT, self._best})

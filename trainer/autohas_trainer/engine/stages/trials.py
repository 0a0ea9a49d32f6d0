"""Trials: full trainings one after another, the best on the selection split wins. The race of RandomSearch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.space.decisions import initial_points
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import Candidate
from autohas_trainer.engine.accounting.spending import SLACK, name_range
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.further_lanes import report_unaffordable
from autohas_trainer.engine.stages.ranking import choose_leader, report_rung
from autohas_trainer.seeding import stream

__all__ = ["TrialsStage"]

_DRAWS_PER_TRIAL: Final = 6
"""Draws that are looked at per planned trial: those that cost too much are passed over, and cheap ones leave room for more."""


class TrialsStage:
    """Leaves in the search state: the winner's name, its training finished, and the default's."""

    name = Stage.RACE

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._position = 0
        self._best = DEFAULT
        self._trials: list[int] = []
        """Places among the draws of the trials that are trained, in order."""
        self.num_steps = state.search_task.plan.race_steps

    def begin(self) -> None:
        """Choose the trials that the budget pays for, and enter trial 0, the default."""
        self._add_trials()
        self.num_steps = len(self._trials) * self._state.search_task.plan.rungs[-1]
        self._enter()

    def advance(self) -> bool:
        """Train the current trial one step, or compare it when it is finished."""
        state = self._state
        name = self._trial().name
        training = state.trainings[name]
        if not training.is_finished and not training.is_diverged:
            state.train(self.name, name)
            return True
        state.compare(self.name, name, LAST_RUNG)
        if state.goal_reached_by is not None:
            report_rung(state, self.name, LAST_RUNG, [name], [name])
            return True  # the search ends here with this trial (see `early_stopping`)
        self._take(name)
        self._position += 1
        if self._position == len(self._trials):
            self._replace()
        if self._position == len(self._trials):
            state.winner = self._best
            return False
        self._enter()
        return True

    def _replace(self) -> None:
        """Trials for what those that diverged did not spend."""
        state, before = self._state, len(self._trials)
        self._add_trials()
        if added := self._trials[before:]:
            state.replan(self.name, len(added) * state.search_task.plan.rungs[-1])
            names = name_range([self._draws[place].name for place in added])
            verb = "follows" if len(added) == 1 else "follow"
            text = f"{state.trainings_left:.2f} trainings are left because trials diverged: {names} {verb}"
            state.notify(NoticeReason.BUDGET_MOVED, text)

    def _add_trials(self) -> None:
        """The next draws, as far as the trainings that are left pay for them; one that costs too much is passed over."""
        state, search_task = self._state, self._state.search_task
        left, dearest = state.trainings_left, 0.0
        initial = set(initial_points(search_task.spec, search_task.space)) if not self._trials else set()
        if self._trials:
            del self._draws  # more of them now
        trained = set(self._trials)
        for place, trial in enumerate(self._draws):
            if place in trained:
                continue
            repeats = max(dearest, search_task.prices(trial.configuration).repeats)
            price = search_task.work(trial.configuration) + search_task.comparison_work(trial.configuration, LAST_RUNG)
            if place == 0 or price + repeats <= left + SLACK:
                self._trials.append(place)
                left, dearest = left - price, repeats
            elif trial.configuration in initial:
                report_unaffordable(state, trial.name, trial.configuration)

    def _trial(self) -> Candidate:
        return self._draws[self._trials[self._position]]

    def state_dict(self) -> dict[str, Any]:
        """Position, leader and trials."""
        return {"position": self._position, "best": self._best, "trials": self._trials}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._position, self._best, self._trials = int(state["position"]), str(state["best"]), list(state["trials"])

    @cached_property
    def _draws(self) -> list[Candidate]:
        """The same draws in every process, more of them the more trials were trained: randomness has no state."""
        search_task = self._state.search_task
        count = _DRAWS_PER_TRIAL * (search_task.plan.num_trials + len(self._trials))
        return self._state.algorithm.candidates(count, stream(search_task.seed, "trials"))

    def _enter(self) -> None:
        trial = self._trial()
        self._state.enter(trial.name, trial.configuration)

    def _take(self, name: str) -> None:
        """Keep the leader: the best score so far, unless the default is as good within noise."""
        state = self._state
        self._best = choose_leader(state, self._best, name)
        report_rung(state, self.name, LAST_RUNG, [name], [name] if name == self._best else [])
        state.keep_only({DEFAULT, self._best})

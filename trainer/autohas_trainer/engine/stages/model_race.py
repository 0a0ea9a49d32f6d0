"""The race of a search for a model: the best lanes, one after another, to where the default is; the first that leads there is the winner.

Its training and the default's are then equally long, and the winner's continues with all that is left: no training ends here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autohas_api.algorithms.best_model import CURVE_RUNG, LANE_RUNG, MOST_CHALLENGERS, RELIABILITY
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.model_judge import ModelJudge
from autohas_trainer.engine.stages.ranking import report_rung
from autohas_trainer.engine.training.comparison import TIE_WIDTH, paired_standard_error

__all__ = ["ModelRaceStage"]


class ModelRaceStage:
    """Leaves in the search state: the winner's name."""

    name = Stage.RACE

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._judge = ModelJudge(state)
        self._challengers: list[str] = []
        self.num_steps = 0

    def begin(self) -> None:
        """Take the lanes that lead, the best first."""
        lanes = [name for name in self._state.trainings if name != DEFAULT]
        self._challengers = self._judge.rank_leading(lanes)[:MOST_CHALLENGERS]
        self._settle()

    def advance(self) -> bool:
        """Train or compare the challenger whose turn it is."""
        if not self._challengers:
            return False
        state, name = self._state, self._challengers[0]
        training = state.trainings[name]
        if training.num_steps_done < training.rung(CURVE_RUNG) and not training.is_diverged:
            state.train(self.name, name)
            return True
        state.compare(self.name, name, CURVE_RUNG, keeps_contributions=True)
        is_ahead = self._judge.advantage(name, CURVE_RUNG) > TIE_WIDTH * self._standard_error(name)
        report_rung(state, self.name, CURVE_RUNG, [name], [name] if is_ahead else [])
        if is_ahead:
            state.winner, self._challengers = name, []
            return False
        self._challengers = self._challengers[1:]
        self._settle()
        return bool(self._challengers)

    def _standard_error(self, name: str) -> float:
        """That of the lead at CURVE_RUNG, as a share of the default's error; the contributions are of no use after it."""
        challenger, default = (self._state.comparisons[n][CURVE_RUNG] for n in (name, DEFAULT))
        return paired_standard_error(challenger, default) / self._judge.error(DEFAULT, CURVE_RUNG)

    def _settle(self) -> None:
        """Give the challenger its steps; without one that is worth what it leaves the default behind, the default is the winner."""
        state = self._state
        while self._challengers and not self._is_worth_its_way(self._challengers[0]):
            self._challengers = self._challengers[1:]
        if not self._challengers:
            state.winner = DEFAULT
            self.num_steps = state.ledger.steps_in_stage
            return
        rungs = state.search_task.plan.rungs
        self.num_steps = state.ledger.steps_in_stage + rungs[CURVE_RUNG] - rungs[LANE_RUNG]
        state.lay_out(self.name, {self.name: self.num_steps})

    def _is_worth_its_way(self, name: str) -> bool:
        """Whether its way is paid for, and the expected advantage is more than what the default is ahead of the lane on the curve."""
        training = self._state.trainings[name]
        if not self._judge.is_paid_for(training.configuration, training.num_steps_done):
            return False
        behind = max(0.0, self._judge.whole(DEFAULT) - self._judge.whole(name))
        return RELIABILITY * self._judge.advantage(name, LANE_RUNG) > self._judge.price(behind)

    def state_dict(self) -> dict[str, Any]:
        """The challengers whose turn has not passed."""
        return {"challengers": self._challengers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._challengers = list(state["challengers"])

"""Evaluate: finish the winner's training if the race did not, repeat it with further seeds, then read the test split, once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.engine.accounting.spending import OVERDRAFT, SLACK
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.model_judge import ModelJudge
from autohas_trainer.engine.stages.ranking import report_rung
from autohas_trainer.errors import NumericalError

__all__ = ["EvaluateStage"]

_NO_ANSWER = "gives outputs on the test split that are not finite, though those on the selection split are"


class EvaluateStage:
    """Leaves `test_scores`: the metric on the test split of the winner and, when it was trained in full, of the default."""

    name = Stage.EVALUATE

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self.test_scores: dict[str, float] = {}
        self.repeat_scores: tuple[float, ...] = ()
        """Test scores of the winner's further seeds."""
        self.num_steps = state.search_task.plan.evaluate_steps

    def begin(self) -> None:
        """Only the winner and the default matter now; the plan knows what the winner's training lacks."""
        self._state.keep_only({self._winner, DEFAULT})
        self._state.release_supernet()
        self._settle_length()
        self.num_steps = self._missing_steps()

    def advance(self) -> bool:
        """Train the winner or one of its repeats by one step, or test when all are finished."""
        training = self._state.trainings[self._winner]
        if training.is_diverged:
            self._fall_back()
            return True
        if not training.is_finished:
            self._state.train(self.name, self._winner)
            return True
        self._state.compare(self.name, self._winner, self._state.search_task.rungs.last)
        if training.is_diverged:
            self._fall_back()
            return True
        self._report_end()
        if (repeat := self._next_repeat()) is not None:
            self._train_repeat(repeat)
            return True
        self._test()
        return False

    def _settle_length(self) -> None:
        """Let a winner's training of open length end with what is left of the budget; others have a length already.

        The race has kept the price of the winner's decay. The default, which follows a winner that diverged, may find less: what its decay
        would cost beyond the overdraft of a race is cut off.
        """
        state, training, done = self._state, self._state.trainings[self._winner], self._state.trainings[self._winner].num_steps_done
        if training.length.is_settled or training.is_diverged:
            return
        left, step = ModelJudge(state).left_for(self._winner), state.search_task.step_work(training.configuration)
        further, most = (
            math.floor(max(0.0, trainings) / step + SLACK)
            for trainings in (left, left + OVERDRAFT * state.search_task.plan.search_trainings)
        )
        training.length.settle(done, done + further, done + most)

    def _report_end(self) -> None:
        """Record the last comparison of a winner of open length: no race has."""
        state, last = self._state, self._state.search_task.rungs.last
        if state.search_task.spec.budget.is_for_model:
            report_rung(state, self.name, last, [self._winner], [self._winner])

    def _missing_steps(self) -> int:
        """Steps that the winner's training and the repeats lack, in units of steps at the default batch size."""
        plan, training = self._state.search_task.plan, self._state.trainings[self._winner]
        units = int(training.length.total) * self._state.search_task.spec.training.steps // training.recipe.steps
        return units - training.units_done + plan.num_repeats * plan.rungs[-1]

    def _next_repeat(self) -> int | None:
        """The first further seed whose training is not over."""
        for repeat in range(1, self._state.search_task.plan.num_repeats + 1):
            training = self._state.trainings.get(_repeat_name(repeat))
            if training is None or not (training.is_finished or training.is_diverged):
                return repeat
        return None

    def _train_repeat(self, repeat: int) -> None:
        state, name = self._state, _repeat_name(repeat)
        if name not in state.trainings:
            state.enter_repeat(name, state.configurations[self._winner], repeat)
        state.train(self.name, name)
        if state.trainings[name].is_diverged and state.trainings[name].fault is None:
            state.notify(
                NoticeReason.REPEAT_DIVERGED, f"the winner's training with seed {repeat} diverged; mean and deviation are of the others"
            )

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the training's position is in the search state, and an interrupted test is repeated."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

    @property
    def _winner(self) -> str:
        winner = self._state.winner
        if winner is None:
            raise RuntimeError("the race ended without a winner")
        return winner

    def _fall_back(self) -> None:
        """Take the default: the winner diverged in its final training, all of which (RandomSharing) or most (a model) follows the race."""
        state = self._state
        what = "diverged" if state.trainings[self._winner].fault is None else "failed"
        state.notify(
            NoticeReason.WINNER_DIVERGED, f"{self._winner} {what} in its final training; the default configuration is trained instead"
        )
        state.winner = state.enter(DEFAULT, state.search_task.space.default)
        self._settle_length()
        state.replan(self.name, self._missing_steps())

    def _test(self) -> None:
        state = self._state
        scores = state.test()
        repeats = [_repeat_name(repeat) for repeat in range(1, state.search_task.plan.num_repeats + 1)]
        for repeat, name in enumerate(repeats, start=1):
            if name not in scores and not state.trainings[name].is_diverged:
                state.notify(
                    NoticeReason.REPEAT_DIVERGED, f"the winner with seed {repeat} {_NO_ANSWER}; mean and deviation are of the others"
                )
        self.test_scores = {name: score for name, score in scores.items() if name not in repeats}
        self.repeat_scores = tuple(scores[name] for name in repeats if name in scores)
        if self._winner not in scores:
            self._answer_with_default()

    def _answer_with_default(self) -> None:
        """A winner without an answer on the test split lost, as one that diverges; the split is not read a second time.

        Raises:
            NumericalError: the default was not trained to its end, or has no answer either.
        """
        state = self._state
        if DEFAULT not in self.test_scores:
            message = f"{self._winner} {_NO_ANSWER}: look for numbers in the test inputs that lie far outside of the training inputs"
            raise NumericalError(message)
        state.notify(
            NoticeReason.WINNER_DIVERGED, f"{self._winner} {_NO_ANSWER}; the default configuration, trained as long, is the answer instead"
        )
        state.winner, self.repeat_scores = DEFAULT, ()


def _repeat_name(repeat: int) -> str:
    return f"seed {repeat}"

"""The race of RandomSharing: uniform samples scored on the shared weights; the best one is trained.

Source: Li & Talwalkar, random search with weight sharing.
Ours: a sample's hyperparameters act through temporary weights, one update ahead, because shared weights alone cannot tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from autohas_api.budget import SCORE_BATCHES
from autohas_api.messages import Stage
from autohas_api.space import Configuration
from autohas_trainer.engine.board import Board, finite
from autohas_trainer.engine.stages.supernet import StepOfSupernet
from autohas_trainer.errors import CandidateError, ConfigurationError, DeviceError, NumericalError
from autohas_trainer.reporting.records import StepRecord
from autohas_trainer.seeding import stream

__all__ = ["BestOfStage"]


class BestOfStage:
    """Leaves on the board: the winner's name and its training at step 0."""

    name = Stage.RACE

    def __init__(self, board: Board) -> None:
        self._board = board
        self._scores: list[float | None] = []
        """One per sample so far; None where it is not finite."""
        self._context = StepOfSupernet(board, board.problem.plan.supernet_steps // 2)
        self.num_steps = board.problem.plan.num_samples

    def begin(self) -> None:
        """The shared weights are trained.

        Raises:
            NumericalError: they are not finite, so no sample can be scored.
            ConfigurationError: no sample could be trained.
        """
        if (fault := self._board.supernet_fault) is not None:
            raise ConfigurationError(f"no sample of the supernet can be trained: {fault}; correct what raised, or give it more memory")
        if self._board.supernet_is_abandoned:
            message = "the shared weights diverged under the default recipe; lower task.recipe.learningRate"
            raise NumericalError(message)

    def advance(self) -> bool:
        """Score one sample; the best of all enters the final training."""
        board, sample = self._board, self._samples[len(self._scores)]
        loss, score = self._try_to_score(sample)
        self._scores.append(finite(score))
        self._lead()
        board.ledger.step += 1
        board.ledger.spend(self.name, (1 + SCORE_BATCHES * board.problem.reward_forward) / board.problem.spec.retrain.steps)
        board.sink.step(self._record(sample, loss, score))
        if len(self._scores) < len(self._samples):
            return True
        leader = board.best_sample or _name(0)
        board.winner = board.enter(leader, board.configurations.get(leader, self._samples[0]))
        return False

    def _lead(self) -> None:
        """Put the best sample so far on the board, should time end the search here."""
        best = max(range(len(self._scores)), key=self._rank, default=None)
        if best is not None and self._scores[best] is not None:
            self._board.best_sample = _name(best)
            self._board.configurations[_name(best)] = self._samples[best]

    def _rank(self, index: int) -> tuple[float, int]:
        """Higher is better; a sample without a finite score is last, among equals the first leads."""
        score = self._scores[index]
        return (-math.inf if score is None else score, -index)

    def state_dict(self) -> dict[str, Any]:
        """Scores so far."""
        return {"scores": self._scores}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._scores = list(state["scores"])
        self._lead()

    @cached_property
    def _samples(self) -> list[Configuration]:
        """The same draw in every process: randomness has no state."""
        problem = self._board.problem
        rng = stream(problem.seed, "race", "samples")
        return [candidate.configuration for candidate in self._board.algorithm.candidates(self.num_steps, rng)]

    def _try_to_score(self, sample: Configuration) -> tuple[float, float]:
        """As `_score`; a sample that fails has no score, and is said."""
        name = _name(len(self._scores))
        self._context.culprit = name
        try:
            return self._score(sample)
        except DeviceError:
            raise
        except CandidateError as error:
            self._board.notify("CandidateFailed", f"{name} has no score: {error}; {self._board.values_text(sample)}")
            return math.nan, math.nan

    def _score(self, sample: Configuration) -> tuple[float, float]:
        """(training loss before, mean objective over SCORE_BATCHES reward batches at the temporary weights).

        Batches and rate are the same for every sample; the rate is that of mid-training, since the last one is almost 0.
        """
        splits, problem = self._board.problem.splits, self._board.problem
        gradient = self._context.gradient(sample, self._context.train_batch())
        with self._context.trial(sample, gradient):
            batches = (splits.reward_batch(step, problem.reward_batch_size, problem.seed) for step in range(SCORE_BATCHES))
            return gradient.loss, sum(self._context.score(sample, batch) for batch in batches) / SCORE_BATCHES

    def _record(self, sample: Configuration, loss: float, score: float) -> StepRecord:
        ledger = self._board.ledger
        return StepRecord(
            stage=self.name,
            step=ledger.step,
            steps=ledger.steps,
            cost=ledger.cost,
            loss=finite(loss),
            learning_rate=self._context.learning_rate(sample),
            candidate=_name(len(self._scores) - 1),
            reward=finite(score),
            sample=self._board.problem.space.as_mapping(sample),
        )


def _name(index: int) -> str:
    return f"sample {index + 1}"

"""The race of samples: uniform samples scored on the shared weights, the ten best again on more data; the best one is trained.

Source: Li & Talwalkar, random search with weight sharing; that the best are scored again on the whole split is in their public code.
Ours: a sample's hyperparameters act through temporary weights, one update ahead, because shared weights alone cannot tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch

from autohas_api.algorithms.random_sharing import SCORE_BATCHES
from autohas_api.algorithms.stage_plan import num_rescored
from autohas_api.space.decisions import Configuration
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.data import RewardBatch
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training.supernet_share import limit_of_samples, price_of_whole
from autohas_trainer.errors import CandidateError, ConfigurationError, DeviceError, NumericalError
from autohas_trainer.events import StepRecord, finite
from autohas_trainer.seeding import stream

__all__ = ["BestOfStage"]


class BestOfStage:
    """Leaves in the search state: the winner's name and its training at step 0."""

    name = Stage.RACE

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._scores: list[float | None] = []
        """One per sample so far, on SCORE_BATCHES batches; None where it is not finite."""
        self._final_scores: list[float | None] = []
        """One per finalist so far, on the whole reward split."""
        self.num_steps = state.search_task.plan.scoring_steps

    def begin(self) -> None:
        """The shared weights are trained.

        Raises:
            NumericalError: they are not finite, so no sample can be scored.
            ConfigurationError: no sample could be trained.
        """
        if (fault := self._state.supernet_fault) is not None:
            raise ConfigurationError(f"no sample of the supernet can be trained: {fault}; correct what raised, or give it more memory")
        if self._state.supernet_is_abandoned:
            message = "the shared weights diverged under the default recipe; lower task.recipe.learningRate"
            raise NumericalError(message)

    def advance(self) -> bool:
        """Score one sample, or one of the best again; the best of these enters the final training."""
        is_final = len(self._scores) == len(self._samples)
        index = self._finalists()[len(self._final_scores)] if is_final else len(self._scores)
        batches = self._whole_split() if is_final else self._some_batches()
        loss, score = self._try_to_score(index, batches)
        (self._final_scores if is_final else self._scores).append(finite(score))
        self._lead()
        self._book(index, loss, score, self._num_examples(is_final=is_final))
        if len(self._scores) < len(self._samples) or len(self._final_scores) < len(self._finalists()):
            return True
        state, leader = self._state, self._state.best_sample or _name(0)
        state.winner = state.enter(leader, state.configurations.get(leader, self._samples[0]))
        return False

    def _finalists(self) -> list[int]:
        """The best samples with a finite score whose training is paid for, the best first; among equals the first leads."""
        finite_ones = [(-score, index) for index, score in enumerate(self._scores) if score is not None and index in self._affordable]
        return [index for _, index in sorted(finite_ones)[: num_rescored(len(self._samples))]]

    @cached_property
    def _affordable(self) -> set[int]:
        """The samples whose training costs no more than was set aside for it; the cheapest ones where none does."""
        search_task = self._state.search_task
        prices = [price_of_whole(search_task, sample) for sample in self._samples]
        limit = max(limit_of_samples(search_task), min(prices))
        return {index for index, price in enumerate(prices) if price <= limit}

    @cached_property
    def _context(self) -> SupernetStepContext:
        """Half-way through the schedule of the supernet, which has ended."""
        return SupernetStepContext(self._state, self._state.supernet_plan.supernet_steps // 2)

    def _lead(self) -> None:
        """Note the best sample so far, should time end the search here: of those scored on the whole split if there are any."""
        order = self._finalists()
        final = [(score, -place) for place, score in enumerate(self._final_scores) if score is not None]
        if order:
            best = order[-max(final)[1] if final else 0]
            self._state.best_sample = _name(best)
            self._state.configurations[_name(best)] = self._samples[best]

    def state_dict(self) -> dict[str, Any]:
        """Scores so far."""
        return {"scores": self._scores, "finalScores": self._final_scores}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._scores, self._final_scores = list(state["scores"]), list(state["finalScores"])
        self._lead()

    @cached_property
    def _samples(self) -> list[Configuration]:
        """The same draw in every process: randomness has no state."""
        search_task = self._state.search_task
        rng = stream(search_task.seed, "race", "samples")
        return [candidate.configuration for candidate in self._state.algorithm.candidates(search_task.plan.num_samples, rng)]

    def _some_batches(self) -> Iterator[RewardBatch]:
        """The same batches for every sample."""
        splits, search_task = self._state.search_task.splits, self._state.search_task
        return (splits.reward_batch(step, search_task.reward_batch_size, search_task.seed) for step in range(SCORE_BATCHES))

    def _whole_split(self) -> Iterator[RewardBatch]:
        """Every reward example once; work on a large split shows itself after every batch."""
        for batch in self._state.search_task.splits.reward(self._state.search_task.reward_batch_size, self._state.search_task.seed):
            self._state.report_batch()
            yield batch

    def _num_examples(self, *, is_final: bool) -> int:
        """Examples that one score takes."""
        search_task = self._state.search_task
        return search_task.splits.num_reward if is_final else SCORE_BATCHES * search_task.reward_batch_size

    def _try_to_score(self, index: int, batches: Iterator[RewardBatch]) -> tuple[float, float]:
        """As `_score`; a sample that fails has no score, and a notice names it."""
        name, sample = _name(index), self._samples[index]
        self._context.culprit = name
        try:
            return self._score(sample, batches)
        except DeviceError:
            raise
        except CandidateError as error:
            self._state.notify(
                NoticeReason.CANDIDATE_FAILED, f"{name} has no score: {error}; {self._state.search_task.values_text(sample)}"
            )
            return math.nan, math.nan

    def _score(self, sample: Configuration, batches: Iterator[RewardBatch]) -> tuple[float, float]:
        """(training loss before, mean objective over the examples of `batches` at the temporary weights).

        Rate and training batch are the same for every sample; the rate is that of mid-training, since the last one is almost 0.
        """
        gradient = self._context.gradient(sample, self._context.train_batch())
        sizes, qualities = [], []
        with self._context.trial(sample, gradient):
            for batch in batches:
                sizes.append(len(batch.targets_B))
                qualities.append(self._context.quality(sample, batch))
        with self._context.attribute_to(sample):
            loss, *numbers = torch.stack([value.detach().double() for value in (gradient.loss, *qualities)]).tolist()
        total = sum(size * self._context.objective(sample, number) for size, number in zip(sizes, numbers, strict=True))
        return loss, total / sum(sizes)

    def _book(self, index: int, loss: float, score: float, num_examples: int) -> None:
        """Count a score: a gradient and a forward pass over the examples; and show it."""
        state, sample = self._state, self._samples[index]
        ledger, works = state.ledger, state.search_task.works
        ledger.step += 1
        ledger.spend(self.name, works.gradient(sample, state.supernet_batch_size) + works.forward(sample, num_examples))
        use = state.search_task.use(sample, state.supernet_batch_size, num_examples)
        ledger.usage.add(self.name, use)
        record = StepRecord(
            use=use,
            stage=self.name,
            step=ledger.step,
            steps=ledger.steps,
            cost=ledger.cost,
            loss=finite(loss),
            learning_rate=self._context.learning_rate(sample),
            candidate=_name(index),
            reward=finite(score),
            sample=state.search_task.space.as_mapping(sample),
        )
        state.sink.emit(record)


def _name(index: int) -> str:
    return f"sample {index + 1}"

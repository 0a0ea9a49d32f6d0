"""What an algorithm may ask of the engine during one supernet step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from torch import Tensor

from autohas_api.space.decisions import Configuration
from autohas_trainer.algorithms._base import Gradient
from autohas_trainer.data import RewardBatch, TrainBatch
from autohas_trainer.engine.candidate_faults import candidate_part
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.training.rule import rate_at, rule_of
from autohas_trainer.errors import CandidateError
from autohas_trainer.optim import clip, norm_of
from autohas_trainer.seeding import stream

__all__ = ["CULPRIT", "SupernetStepContext"]

CULPRIT: Final = "supernet step "
"""Names of supernet steps among the faults begin so."""
_SUPERNET_REPLICA = -1
"""The supernet's own data order; stand-alone trainings share replica 0."""
_TEMPORARY_REPLICA = -2
"""The order of the batches that make temporary weights, where they have their own."""


class SupernetStepContext:
    """What an algorithm may ask during supernet step `step` (see `algorithms.StepContext`)."""

    def __init__(self, state: SearchState, step: int) -> None:
        self.step = step
        plan = state.supernet_plan
        self.num_steps = plan.schedule_steps
        self.is_warmup = step < plan.warmup_steps
        self._state = state
        self.culprit = f"{CULPRIT}{step}"
        """Name of what this works on among the faults."""
        self.failed: Configuration | None = None
        """The sample that could not be trained or scored."""
        self._train: TrainBatch | None = None
        self._temporary: TrainBatch | None = None
        self._reward: RewardBatch | None = None

    def train_batch(self) -> TrainBatch:
        """The step's training batch."""
        if self._train is None:
            self._train = self._batch(_SUPERNET_REPLICA)
        return self._train

    def temporary_batch(self) -> TrainBatch:
        """Another training batch."""
        if self._temporary is None:
            self._temporary = self._batch(_TEMPORARY_REPLICA)
        return self._temporary

    def _batch(self, replica: int) -> TrainBatch:
        search_task = self._state.search_task
        size, values = self._state.supernet_batch_size, search_task.custom.transform_values(search_task.space.default)
        batch = search_task.splits.train_batch(self.step, size, search_task.seed, replica=replica, values=values)
        return search_task.custom.augment(batch, search_task.space.default, "supernet", replica, self.step)

    def reward_batch(self) -> RewardBatch:
        """The step's reward batch."""
        search_task = self._state.search_task
        if self._reward is None:
            self._reward = search_task.splits.reward_batch(self.step, search_task.reward_batch_size, search_task.seed)
        return self._reward

    def gradient(self, configuration: Configuration, batch: TrainBatch) -> Gradient:
        """Gradient at the shared weights, clipped: temporary and shared updates see the same.

        A gradient that is not finite counts as a loss that is not: no scaling makes it an update.
        """
        self._state.search_task.custom.seed("supernet", self.step)
        with self.attribute_to(configuration):
            path, smoothing = self._state.search_task.path(configuration), self._smoothing(configuration)
            loss, tensors = self._state.supernet.gradient(path, batch, smoothing)
            norm = norm_of(tensors)
            is_owner = not self._state.search_task.custom.is_custom  # hooks of custom modules may keep what autograd gave them
            return Gradient(loss=torch.where(norm.isfinite(), loss, math.nan), tensors=clip(tensors, norm, is_owner=is_owner))

    @contextmanager
    def trial(self, configuration: Configuration, gradient: Gradient) -> Iterator[None]:
        """Temporary weights under the configuration's own hyperparameters, whose rate no restart of the supernet lowers: it is judged."""
        rule = rule_of(self._state.search_task.recipe(configuration), self._scheduled_rate(configuration))
        with self._state.supernet.trial(self._state.search_task.path(configuration), gradient.tensors, rule):
            yield

    def commit(self, configuration: Configuration, gradient: Gradient, reference: Configuration) -> None:
        """Update the shared weights, also by the gradient of a loss that is not finite: the next step puts the weights back."""
        rule = rule_of(self._state.search_task.recipe(reference), self.learning_rate(reference))
        self._state.supernet.commit(self._state.search_task.path(configuration), gradient.tensors, rule)

    def try_commit(self, configuration: Configuration, gradient: Gradient, reference: Configuration) -> Tensor:
        """Update the shared weights and take it back where the guard calls it harmful; whether it was kept, a boolean scalar tensor."""
        optimizer = self._state.search_task.recipe(reference).optimizer
        with self._state.supernet.revertible(self._state.search_task.path(configuration), optimizer) as revert_unless:
            self.commit(configuration, gradient, reference)
            is_kept = self._state.guards.update.judge(gradient.loss, self._training_loss(configuration))
            revert_unless(is_kept)
        return is_kept

    def loss(self, configuration: Configuration, batch: RewardBatch) -> Tensor:
        """Mean loss on the reward batch."""
        return self._measure(configuration, batch)[0]

    def quality(self, configuration: Configuration, batch: RewardBatch) -> Tensor:
        """Mean quality on the reward batch, without the price of size."""
        return self._measure(configuration, batch)[1]

    def objective(self, configuration: Configuration, quality: float) -> float:
        """Quality with the price of size."""
        return self._state.search_task.objective(quality, configuration)

    def _measure(self, configuration: Configuration, batch: RewardBatch) -> tuple[Tensor, Tensor]:
        """(loss, quality) on the reward batch, scalar tensors."""
        self._state.search_task.custom.seed("supernet", self.step)
        with self.attribute_to(configuration):
            return self._state.supernet.loss_and_quality(self._state.search_task.path(configuration), batch)

    def _training_loss(self, configuration: Configuration) -> Tensor:
        """The loss of `gradient` on the step's training batch with the weights as they stand: the same draws, the same mode."""
        self._state.search_task.custom.seed("supernet", self.step)
        batch, smoothing = self.train_batch(), self._smoothing(configuration)
        with self.attribute_to(configuration):
            return self._state.supernet.training_loss(self._state.search_task.path(configuration), batch, smoothing)

    def _smoothing(self, configuration: Configuration) -> float:
        return self._state.search_task.recipe(configuration).label_smoothing

    @contextmanager
    def attribute_to(self, configuration: Configuration) -> Iterator[None]:
        """Attribute a failure of the block to the sample; skip the block if the device failed at this step in an earlier process.

        Raises:
            CandidateError: The sample cannot be trained or scored.
        """
        self.failed = configuration
        if (fault := self._state.faults.get(self.culprit)) is not None:
            raise CandidateError(fault)
        with candidate_part(f"a sample at step {self.step}", culprit=self.culprit, is_custom=self._state.search_task.custom.is_custom):
            yield
        self.failed = None

    def learning_rate(self, configuration: Configuration) -> float:
        """Peak of the configuration times the supernet's own schedule, lowered by each restart."""
        return self._scheduled_rate(configuration) * self._state.guards.safety.rate_factor

    def _scheduled_rate(self, configuration: Configuration) -> float:
        return rate_at(self._state.search_task.recipe(configuration), self.step, self.num_steps)

    def rng(self, name: str) -> np.random.Generator:
        """A generator keyed by (seed, stage, step, name)."""
        return stream(self._state.search_task.seed, "supernet", self.step, name)

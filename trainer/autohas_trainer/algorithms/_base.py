"""What an algorithm is, and what it may ask of the engine.

Lifecycle: constructed at the start of every process; `load_state_dict` when a checkpoint exists; `step` once per supernet step, in
order; `candidates` once, when the supernet stage is over. An algorithm keeps no generator: it draws from `context.rng(stream)`.
It must not keep references to gradients or batches beyond a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from autohas_api.space.decisions import Configuration
from autohas_trainer.data import RewardBatch, TrainBatch
from autohas_trainer.space.policy import Policy

__all__ = ["Algorithm", "Candidate", "Gradient", "StepContext", "SupernetStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """Gradient of the training loss at the shared weights along one path: `loss` in nats, one tensor per sampled leaf."""

    loss: float
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetStep:
    """What happened in one step and what it cost.

    Attributes:
        sample: The configuration whose path was trained.
        loss: Training loss in nats before the update.
        learning_rate: Absolute rate of the update of the shared weights.
        num_gradients: Gradients that were taken.
        num_reward_forwards: Forward passes on a reward batch.
        num_train_forwards: Forward passes on a training batch, in addition to those of the gradients.
        reward: What the controller learned from; None when it learned nothing, or from a rejection that the sample is blamed for.
        advantage: What moved the controller; None when nothing did.
        is_rejected: Whether the update of the shared weights was taken back.
        has_learned: Whether the controller's policy was updated, with or without a `reward` of its own.
    """

    sample: Configuration
    loss: float
    learning_rate: float
    num_gradients: int = 1
    num_reward_forwards: int = 0
    num_train_forwards: int = 0
    reward: float | None = None
    advantage: float | None = None
    is_rejected: bool = False
    has_learned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A configuration for lanes or race, with the name that people see."""

    name: str
    configuration: Configuration


class StepContext(Protocol):
    """The weights, the data and the randomness of one supernet step."""

    @property
    def step(self) -> int:
        """Supernet steps done before this one, warm-up included."""

    @property
    def num_steps(self) -> int:
        """Steps that the supernet's schedule is laid out for, warm-up included; for hyperparameters alone only the first are taken."""

    @property
    def is_warmup(self) -> bool:
        """Whether the controller must not learn the architecture yet."""

    def train_batch(self) -> TrainBatch:
        """The step's training batch; the same object on every call."""

    def temporary_batch(self) -> TrainBatch:
        """Another training batch, for temporary weights with a gradient of their own; the same object on every call."""

    def reward_batch(self) -> RewardBatch:
        """The step's reward batch; the same object on every call."""

    def gradient(self, configuration: Configuration, batch: TrainBatch) -> Gradient:
        """Gradient at the shared weights; nothing changes."""

    def trial(self, configuration: Configuration, gradient: Gradient) -> AbstractContextManager[None]:
        """Temporary weights W* = update(W, gradient, hyperparameters of `configuration`) inside the block."""

    def commit(self, configuration: Configuration, gradient: Gradient, reference: Configuration) -> None:
        """Update the shared weights along `configuration`'s path with the hyperparameters of `reference`."""

    def try_commit(self, configuration: Configuration, gradient: Gradient, reference: Configuration) -> bool:
        """As `commit`, but take the update back, bit for bit, when it harms the step's own training batch; whether it was kept.

        Costs one forward pass on the training batch. The price of a configuration never counts here.
        """

    def loss(self, configuration: Configuration, batch: RewardBatch) -> float:
        """Mean loss of `configuration` on a reward batch with the weights as they stand."""

    def score(self, configuration: Configuration, batch: RewardBatch) -> float:
        """The objective of `configuration` on a reward batch with the weights as they stand."""

    def learning_rate(self, configuration: Configuration) -> float:
        """Absolute rate of this step under `configuration`: its peak times the schedule."""

    def rng(self, stream: str) -> np.random.Generator:
        """A generator keyed by (seed, stage, step, stream)."""


class Algorithm(Protocol):
    """One way to search a supernet."""

    @property
    def policy(self) -> Policy:
        """The controller, for reports."""

    def begin(self, reference: Configuration) -> None:
        """Take the configuration whose hyperparameters are the best known: the winner of the lanes, or the default."""

    def step(self, context: StepContext) -> SupernetStep:
        """One supernet step: sample, gradient, update, reward, controller."""

    def reject(self, sample: Configuration) -> bool:
        """Learn, after the warm-up, that a sample's network cannot be trained; whether the controller's policy was updated."""

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:
        """At most `count` configurations for the race, the most trusted first."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""

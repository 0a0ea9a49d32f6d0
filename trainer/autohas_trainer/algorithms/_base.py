"""What an algorithm is, and what it may ask of the engine.

Lifecycle: constructed at the start of every process; `load_state_dict` when a checkpoint exists; `candidates` once, when the supernet
is over. A supernet step t is four calls, of which the second is the engine's:

    sample t  →  gradient along its path  →  learn t - 1  →  train t: temporary weights, shared update, reward

So what step t - 1 has measured is read when the device has the gradient of step t to work on: the policy that draws step t has learned
from all steps but the one before. An algorithm keeps no generator: it draws from `context.rng(stream)`. It must not keep references to
gradients or batches beyond a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from autohas_api.space.decisions import Configuration
from autohas_trainer.data import RewardBatch, TrainBatch
from autohas_trainer.space.policy import Draw, Policy

__all__ = ["Algorithm", "Candidate", "Gradient", "Lesson", "Reading", "StepContext", "SupernetAlgorithm", "Update"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """Gradient of the training loss at the shared weights along one path, one tensor per sampled leaf.

    `loss` is a scalar tensor in nats, NaN where the gradient is not finite.
    """

    loss: Tensor
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What a step has queued, and what that costs; the tensors are scalars on the device, which nothing has waited for.

    Attributes:
        draw: The sample, whose path was trained.
        reference: The configuration whose hyperparameters moved the shared weights.
        loss: Training loss in nats before the update.
        num_gradients: Gradients that were taken.
        num_reward_forwards: Forward passes on a reward batch.
        num_train_forwards: Forward passes on a training batch, in addition to those of the gradients.
        is_kept: Whether the guard left the update of the shared weights; None if it did not look.
        quality: What the sample is rewarded by, without the price of its cost; None if it is not.
        rivals: Update rules that were compared along the sample's path.
        rival_losses: Loss on the reward batch of each of them.
    """

    draw: Draw
    reference: Configuration
    loss: Tensor
    num_gradients: int = 1
    num_reward_forwards: int = 0
    num_train_forwards: int = 0
    is_kept: Tensor | None = None
    quality: Tensor | None = None
    rivals: tuple[Draw, ...] = ()
    rival_losses: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The numbers of an `Update`, read from the device; NaN stands for every number that is not finite."""

    draw: Draw
    loss: float
    is_kept: bool
    quality: float | None
    rivals: tuple[Draw, ...]
    rival_losses: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What the controller made of a reading.

    Attributes:
        reward: What it learned from; None when it learned nothing, or from a rejection that the sample is blamed for.
        advantage: What moved it; None when nothing did.
        has_learned: Whether its policy was updated, with or without a `reward` of its own.
    """

    reward: float | None = None
    advantage: float | None = None
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

    def try_commit(self, configuration: Configuration, gradient: Gradient, reference: Configuration) -> Tensor:
        """As `commit`, but take the update back, bit for bit, when it harms the step's own training batch; whether it was kept.

        Costs one forward pass on the training batch. The price of a configuration never counts here.
        """

    def loss(self, configuration: Configuration, batch: RewardBatch) -> Tensor:
        """Mean loss of `configuration` on a reward batch with the weights as they stand."""

    def quality(self, configuration: Configuration, batch: RewardBatch) -> Tensor:
        """Mean quality of `configuration` on a reward batch with the weights as they stand."""

    def objective(self, configuration: Configuration, quality: float) -> float:
        """The quality with the price of what the configuration's network costs."""

    def rng(self, stream: str) -> np.random.Generator:
        """A generator keyed by (seed, stage, step, stream)."""


class Algorithm(Protocol):
    """One way to search."""

    @property
    def policy(self) -> Policy:
        """The controller, for reports."""

    def begin(self, reference: Configuration) -> None:
        """Take the configuration whose hyperparameters are the best known: the winner of the lanes, or the default."""

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:
        """At most `count` configurations for the race, the most trusted first."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, as JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""


@runtime_checkable
class SupernetAlgorithm(Algorithm, Protocol):
    """One way to search a supernet."""

    @property
    def has_lag(self) -> bool:
        """Whether a step is learned from after the gradient of the next one is queued; if not, at its own end, which waits."""

    def sample(self, context: StepContext) -> Draw:
        """Draw the configuration whose path the step trains."""

    def train(self, context: StepContext, draw: Draw, gradient: Gradient) -> Update:
        """Update the shared weights by the `gradient` of the draw on the step's training batch, and measure; nothing is read."""

    def learn(self, context: StepContext, reading: Reading) -> Lesson:
        """Learn from what a step has measured; `context` is that step's."""

    def reject(self, sample: Configuration) -> bool:
        """Learn, after the warm-up, that a sample's network cannot be trained; whether the controller's policy was updated."""

"""AutoHAS, strategy OneStep: the paper's shape, both kinds of decisions by REINFORCE on temporary weights.

    sample (a, h) → gradient along a → W* = update(W, gradient, h) → reward of a at W* → REINFORCE → shared W gets its own update

Source: AutoHAS abstract and overview figure. The text leaves two things open, so both are switches: whose hyperparameters the shared
update uses (`sharedUpdate`; Ours: those that the policy derives for the sample's architecture), and whether the temporary update has
a batch of its own (`temporaryBatch`; Ours: one gradient serves both). With Sampled and Shared the temporary weights *are* the next
shared ones.
Ours: hyperparameters learn inside a window only and are then frozen (see HYPERPARAMETER_WINDOW), and while they do, an update that
harms its own training batch is taken back. With preset Published neither holds: both kinds of decisions learn at every step.
"""

from __future__ import annotations

from typing import Self

from autohas_api.algorithms.auto_has_knobs import AutoHAS
from autohas_api.space.decisions import Configuration, Space
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Gradient, StepContext, SupernetStep
from autohas_trainer.algorithms.windowed import WindowedSearch
from autohas_trainer.space.policy import MAX_ADVANTAGE, Draw

__all__ = ["AutoHASOneStep"]


class AutoHASOneStep(WindowedSearch):
    """REINFORCE on architecture and update-rule hyperparameters with a reward one step ahead."""

    def __init__(self, space: Space, knobs: AutoHAS) -> None:
        super().__init__(space, knobs)
        self._commits_sample = knobs.commits_sample

    @classmethod
    def from_spec(cls, spec: Spec, space: Space) -> Self:
        """The algorithm of a search, at its start."""
        return cls(space, spec.algorithm.knobs_as(AutoHAS))

    def step(self, context: StepContext) -> SupernetStep:
        """Sample, take one gradient, reward the temporary weights, update the shared ones."""
        self.forget_baseline_at_edges(context)
        if self.is_in_window(context):
            return self._step_in_window(context, self.policy.sample(context.rng("sample")))
        draw = self.policy.sample(context.rng("sample"), self.derive_hyperparameters())
        sample = draw.configuration
        gradient = context.gradient(sample, context.train_batch())
        context.commit(sample, gradient, sample)
        rate = context.learning_rate(sample)
        learning = self.learning(context)
        if not learning:
            return SupernetStep(sample=sample, loss=gradient.loss, learning_rate=rate)
        reward = context.score(sample, context.reward_batch())
        advantage = self.policy.advantage(reward)
        self.policy.update(draw, advantage, learning)
        return SupernetStep(
            sample=sample,
            loss=gradient.loss,
            learning_rate=rate,
            num_reward_forwards=1,
            reward=reward,
            advantage=advantage,
            has_learned=True,
        )

    def _step_in_window(self, context: StepContext, draw: Draw) -> SupernetStep:
        sample = draw.configuration
        reference = sample if self._commits_sample else self.reference(sample)
        gradient = context.gradient(sample, context.train_batch())
        temporary, extra_gradients = self.temporary_gradient(context, sample, gradient)
        is_same_update = self._commits_sample and temporary is gradient
        reward = None if is_same_update else self._reward_ahead(context, sample, temporary)
        is_kept = self.commit_in_window(context, sample, gradient, reference)
        if is_same_update and is_kept:
            reward = context.score(sample, context.reward_batch())
        is_at_fault = self._commits_sample and not is_kept
        # A rejected sample still updates the policy, clipped: otherwise the policy would continue to propose it.
        advantage = -MAX_ADVANTAGE if is_at_fault or reward is None else self.policy.advantage(reward)
        self.policy.update(draw, advantage, (*self.hyperparameters, *self.learning(context)))
        return SupernetStep(
            sample=sample,
            loss=gradient.loss,
            learning_rate=context.learning_rate(reference),
            num_gradients=1 + extra_gradients,
            num_reward_forwards=int(reward is not None),
            num_train_forwards=self.num_guard_forwards,
            reward=None if is_at_fault else reward,
            advantage=advantage,
            is_rejected=not is_kept,
            has_learned=True,
        )

    def _reward_ahead(self, context: StepContext, sample: Configuration, gradient: Gradient) -> float:
        with context.trial(sample, gradient):
            return context.score(sample, context.reward_batch())

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

from torch import Tensor

from autohas_api.algorithms.auto_has_knobs import AutoHAS
from autohas_api.space.decisions import Configuration, Space
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Gradient, Lesson, Reading, StepContext, Update
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

    def sample(self, context: StepContext) -> Draw:
        """Draw both kinds of decisions in the window, elsewhere the architecture."""
        fixed = None if self.is_in_window(context) else self.derive_hyperparameters()
        return self.policy.sample(context.rng("sample"), fixed)

    def train(self, context: StepContext, draw: Draw, gradient: Gradient) -> Update:
        """Measure the temporary weights, update the shared ones; where both are the same, once."""
        if self.is_in_window(context):
            return self._train_in_window(context, draw, gradient)
        sample = draw.configuration
        context.commit(sample, gradient, sample)
        if not self.learning(context):
            return Update(draw=draw, reference=sample, loss=gradient.loss)
        quality = context.quality(sample, context.reward_batch())
        return Update(draw=draw, reference=sample, loss=gradient.loss, num_reward_forwards=1, quality=quality)

    def _train_in_window(self, context: StepContext, draw: Draw, gradient: Gradient) -> Update:
        sample = draw.configuration
        reference = sample if self._commits_sample else self.reference(sample)
        temporary, extra_gradients = self.temporary_gradient(context, sample, gradient)
        is_same_update = self._commits_sample and temporary is gradient
        quality = None if is_same_update else self._look_ahead(context, sample, temporary)
        is_kept = self.commit_in_window(context, sample, gradient, reference)
        return Update(
            draw=draw,
            reference=reference,
            loss=gradient.loss,
            num_gradients=1 + extra_gradients,
            num_reward_forwards=1,
            num_train_forwards=self.num_guard_forwards,
            is_kept=is_kept,
            quality=context.quality(sample, context.reward_batch()) if quality is None else quality,
        )

    def learn(self, context: StepContext, reading: Reading) -> Lesson:
        """Move the rows that the step rewards; a sample whose own update was taken back gets the lowest advantage.

        Otherwise the policy would continue to propose it.
        """
        self.forget_baseline_at_edges(context)
        if reading.quality is None:
            return Lesson()
        in_window = self.is_in_window(context)
        is_at_fault = in_window and self._commits_sample and not reading.is_kept
        reward = None if is_at_fault else context.objective(reading.draw.configuration, reading.quality)
        advantage = -MAX_ADVANTAGE if reward is None else self.policy.advantage(reward)
        self.policy.update(reading.draw, advantage, (*(self.hyperparameters if in_window else ()), *self.learning(context)))
        return Lesson(reward=reward, advantage=advantage, has_learned=True)

    def _look_ahead(self, context: StepContext, sample: Configuration, gradient: Gradient) -> Tensor:
        with context.trial(sample, gradient):
            return context.quality(sample, context.reward_batch())

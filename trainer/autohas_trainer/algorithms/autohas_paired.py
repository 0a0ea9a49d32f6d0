"""AutoHAS, strategy Paired: several update rules are compared on ONE gradient and ONE reward batch.

    sample a → gradient along a → for k = 1..K: h_k, W*_k = update(W, gradient, h_k), r_k = -loss of a at W*_k → REINFORCE on h
    with the other samples as baseline → shared W gets its own update → reward of a → REINFORCE on a

Ours: batch, path and weights are the same for all K, so what differs is the update rule alone; the loss
tells update rules apart where an accuracy of one batch is the same for all.
"""

from __future__ import annotations

from typing import Self

from torch import Tensor

from autohas_api.algorithms.auto_has_knobs import AutoHAS
from autohas_api.space.decisions import Configuration, Space
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Gradient, Lesson, Reading, StepContext, Update
from autohas_trainer.algorithms.windowed import WindowedSearch
from autohas_trainer.space.paired import leave_one_out_advantages
from autohas_trainer.space.policy import Draw

__all__ = ["AutoHASPaired"]


class AutoHASPaired(WindowedSearch):
    """REINFORCE on update rules by paired comparison, and on the architecture as OneStep does."""

    def __init__(self, space: Space, knobs: AutoHAS) -> None:
        super().__init__(space, knobs)
        self._num_samples = knobs.num_paired

    @classmethod
    def from_spec(cls, spec: Spec, space: Space) -> Self:
        """The algorithm of a search, at its start."""
        return cls(space, spec.algorithm.knobs_as(AutoHAS))

    def sample(self, context: StepContext) -> Draw:
        """Draw the architecture."""
        return self.policy.sample(context.rng("sample"), self.derive_hyperparameters())

    def train(self, context: StepContext, draw: Draw, gradient: Gradient) -> Update:
        """Measure update rules on one gradient while the window is open, update the shared weights, measure the path.

        The rules are drawn here, from a policy that has learned from all steps before this one.
        """
        sample, in_window = draw.configuration, self.is_in_window(context)
        rivals: tuple[Draw, ...] = ()
        losses: tuple[Tensor, ...] = ()
        extra_gradients, is_kept = 0, None
        if in_window:
            temporary, extra_gradients = self.temporary_gradient(context, sample, gradient)
            rivals = self._draw_rivals(context, sample)
            losses = tuple(self._look_ahead(context, rival.configuration, temporary) for rival in rivals)
            is_kept = self.commit_in_window(context, sample, gradient, sample)
        else:
            context.commit(sample, gradient, sample)
        quality = context.quality(sample, context.reward_batch()) if self.learning(context) else None
        return Update(
            draw=draw,
            reference=sample,
            loss=gradient.loss,
            num_gradients=1 + extra_gradients,
            num_reward_forwards=len(losses) + int(quality is not None),
            num_train_forwards=self.num_guard_forwards if in_window else 0,
            is_kept=is_kept,
            quality=quality,
            rivals=rivals,
            rival_losses=losses,
        )

    def learn(self, context: StepContext, reading: Reading) -> Lesson:
        """Move the policy of the update rules once by their rewards, and that of the architecture as OneStep does."""
        if reading.rivals:
            advantages = leave_one_out_advantages([-loss for loss in reading.rival_losses])
            self.policy.update_together(reading.rivals, advantages, self.hyperparameters)
        if reading.quality is None:
            return Lesson(has_learned=bool(reading.rivals))
        reward = context.objective(reading.draw.configuration, reading.quality)
        advantage = self.policy.advantage(reward)
        self.policy.update(reading.draw, advantage, self.learning(context))
        return Lesson(reward=reward, advantage=advantage, has_learned=True)

    def _draw_rivals(self, context: StepContext, sample: Configuration) -> tuple[Draw, ...]:
        path = self.architecture_of(sample)
        return tuple(self.policy.sample(context.rng(f"pair-{k}"), path) for k in range(self._num_samples))

    def _look_ahead(self, context: StepContext, rival: Configuration, gradient: Gradient) -> Tensor:
        with context.trial(rival, gradient):
            return context.loss(rival, context.reward_batch())

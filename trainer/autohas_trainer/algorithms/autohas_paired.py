"""AutoHAS, strategy Paired: several update rules are compared on ONE gradient and ONE reward batch.

    sample a → gradient along a → for k = 1..K: h_k, W*_k = update(W, gradient, h_k), r_k = -loss of a at W*_k → REINFORCE on h
    with the other samples as baseline → shared W gets its own update → reward of a → REINFORCE on a

Ours: batch, path and weights are the same for all K, so what differs is the update rule alone; the loss
tells update rules apart where an accuracy of one batch is the same for all.
"""

from __future__ import annotations

from typing import Self

from autohas_api.algorithms.auto_has_knobs import AutoHAS
from autohas_api.space.decisions import Configuration, Space
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Gradient, StepContext, SupernetStep
from autohas_trainer.algorithms.windowed import WindowedSearch
from autohas_trainer.space.paired import leave_one_out_advantages

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

    def step(self, context: StepContext) -> SupernetStep:
        """Compare update rules on one gradient while the window is open, update the shared weights, reward the path."""
        draw = self.policy.sample(context.rng("sample"), self.derive_hyperparameters())
        sample = draw.configuration
        gradient = context.gradient(sample, context.train_batch())
        in_window = self.is_in_window(context)
        num_gradients, num_forwards, is_kept = 1, 0, True
        if in_window:
            temporary, extra_gradients = self.temporary_gradient(context, sample, gradient)
            self._compare(context, sample, temporary)
            num_gradients, num_forwards = 1 + extra_gradients, self._num_samples
            is_kept = self.commit_in_window(context, sample, gradient, sample)
        else:
            context.commit(sample, gradient, sample)
        reward = advantage = None
        if learning := self.learning(context):
            reward = context.score(sample, context.reward_batch())
            advantage = self.policy.advantage(reward)
            self.policy.update(draw, advantage, learning)
        return SupernetStep(
            sample=sample,
            loss=gradient.loss,
            learning_rate=context.learning_rate(sample),
            num_gradients=num_gradients,
            num_reward_forwards=num_forwards + int(reward is not None),
            num_train_forwards=self.num_guard_forwards if in_window else 0,
            reward=reward,
            advantage=advantage,
            is_rejected=not is_kept,
            has_learned=in_window or bool(learning),
        )

    def _compare(self, context: StepContext, sample: Configuration, gradient: Gradient) -> None:
        """Reward K update rules along the sample's path and move their policy once."""
        path = self.architecture_of(sample)
        rivals = [self.policy.sample(context.rng(f"pair-{k}"), path) for k in range(self._num_samples)]
        rewards = [self._reward_ahead(context, rival.configuration, gradient) for rival in rivals]
        self.policy.update_together(rivals, leave_one_out_advantages(rewards), self.hyperparameters)

    def _reward_ahead(self, context: StepContext, rival: Configuration, gradient: Gradient) -> float:
        with context.trial(rival, gradient):
            return -context.loss(rival, context.reward_batch())

"""AutoHAS, strategy OneStep: the paper's shape, both kinds of decisions by REINFORCE on temporary weights.

    sample (a, h) → gradient along a → W* = update(W, gradient, h) → reward of a at W* → REINFORCE → shared W gets its own update

Source: AutoHAS abstract and overview figure. The text leaves open whose hyperparameters the shared update uses and whether the
temporary update has a batch of its own; Ours: those of the currently derived configuration, and one gradient serves both.
Ours: hyperparameters learn in steps 5 to 20 % only and are then frozen (performance.md section 3: later rewards prefer rates that
are 10 to 100 times too small).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from autohas_api.space import Configuration, Decision, Role, Space
from autohas_trainer.algorithms._base import Candidate, Gradient, StepContext, SupernetStep
from autohas_trainer.algorithms.policy_candidates import policy_candidates
from autohas_trainer.space.policy import Policy

__all__ = ["AutoHASOneStep"]

_WINDOW: Final = (0.05, 0.20)
"""Share of the supernet steps in which hyperparameters are sampled and learned."""


class AutoHASOneStep:
    """REINFORCE on architecture and update-rule hyperparameters with a reward one step ahead."""

    def __init__(self, space: Space, policy_learning_rate: float) -> None:
        self.policy = Policy(space, policy_learning_rate)
        self._architecture = space.searched(Role.ARCHITECTURE)
        self._hyperparameters = space.searched(Role.UPDATE_RULE)

    def begin(self, reference: Configuration) -> None:
        """Nothing to take: there are no lanes, and the policy derives its own reference."""

    def step(self, context: StepContext) -> SupernetStep:
        """Sample, take one gradient, reward the temporary weights, update the shared ones."""
        in_window = self._is_in_window(context)
        derived = self.policy.most_likely()
        sample = self.policy.sample(context.rng("sample"), None if in_window else self._hyperparameters_of(derived))
        gradient = context.gradient(sample, context.train_batch())
        learning = self._learning(context, in_window=in_window)
        reward = self._reward(context, sample, gradient) if learning and in_window else None
        context.commit(sample, gradient, derived)
        if learning and not in_window:
            reward = context.score(sample, context.reward_batch())
        advantage = None
        if reward is not None:
            advantage = self.policy.advantage(reward)
            self.policy.update(sample, advantage, learning)
        return SupernetStep(
            sample=sample,
            loss=gradient.loss,
            learning_rate=context.learning_rate(sample),
            num_forwards=int(reward is not None),
            reward=reward,
            advantage=advantage,
        )

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:
        """Argmax, then samples of the architecture with the derived hyperparameters."""
        return policy_candidates(self.policy, count, self._hyperparameters_of(self.policy.most_likely()), rng)

    def state_dict(self) -> dict[str, Any]:
        """The policy."""
        return {"policy": self.policy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.policy.load_state_dict(state["policy"])

    def _is_in_window(self, context: StepContext) -> bool:
        first, last = _WINDOW
        return bool(self._hyperparameters) and first * context.num_steps <= context.step < last * context.num_steps

    def _learning(self, context: StepContext, *, in_window: bool) -> tuple[Decision, ...]:
        hyperparameters = self._hyperparameters if in_window else ()
        return (*hyperparameters, *(() if context.is_warmup else self._architecture))

    def _hyperparameters_of(self, derived: Configuration) -> dict[str, str]:
        values = zip(self.policy.decisions, derived.values, strict=True)
        return {d.name: value for d, value in values if d.role is not Role.ARCHITECTURE}

    def _reward(self, context: StepContext, sample: Configuration, gradient: Gradient) -> float:
        with context.trial(sample, gradient):
            return context.score(sample, context.reward_batch())

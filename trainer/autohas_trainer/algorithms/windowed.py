"""What OneStep and Paired share: a policy over both kinds of decisions, and the window in which hyperparameters learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from autohas_api.algorithms.auto_has_knobs import AutoHAS
from autohas_api.space.decisions import Configuration, Decision, Role, Space
from autohas_trainer.algorithms._base import Candidate, Gradient, StepContext
from autohas_trainer.algorithms.policy_candidates import policy_candidates
from autohas_trainer.space.policy import Policy

__all__ = ["WindowedSearch"]


class WindowedSearch:
    """REINFORCE on architecture and update-rule hyperparameters; the latter learn inside the window and are then frozen."""

    def __init__(self, space: Space, knobs: AutoHAS) -> None:
        """Start undecided."""
        self.policy = Policy(space, knobs.controller_rate)
        self._space = space
        self.architecture = space.searched_decisions(Role.ARCHITECTURE)
        self.hyperparameters = space.searched_decisions(Role.UPDATE_RULE)
        self._window = knobs.window
        self._has_own_batch = knobs.has_own_batch
        self._has_guard = knobs.has_guard
        self.has_lag = knobs.has_lag

    def begin(self, reference: Configuration) -> None:
        """Nothing to take: there are no lanes, and the policy derives its own reference."""

    def reject(self, sample: Configuration) -> bool:
        """Blame the architecture: its network failed, whatever the update rule."""
        self.policy.reject(self._space.as_mapping(sample), self.architecture)
        return bool(self.architecture)

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:
        """Argmax, then samples of the architecture with the derived hyperparameters.

        An expectation was never scored, so it races, and the argmax of its bases races against it.
        """
        derived, likeliest = self.policy.derive(), self.policy.most_likely()
        proposed = policy_candidates(self.policy, count, self.derive_hyperparameters(), rng)
        if derived == likeliest:
            return proposed
        first = [Candidate(name="expectation", configuration=derived), Candidate(name="argmax", configuration=likeliest)]
        return [*first, *(c for c in proposed if c.configuration not in (derived, likeliest))][:count]

    def state_dict(self) -> dict[str, Any]:
        """The policy."""
        return {"policy": self.policy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.policy.load_state_dict(state["policy"])

    def is_in_window(self, context: StepContext) -> bool:
        """Whether this step samples hyperparameters."""
        return self._is_in_window(context.step, context.num_steps)

    def _is_in_window(self, step: int, num_steps: int) -> bool:
        first, last = self._window
        return bool(self.hyperparameters) and first * num_steps <= step < last * num_steps

    def forget_baseline_at_edges(self, context: StepContext) -> None:
        """Forget the baseline before the first reward in the window, and before the first one after it.

        Rewards inside are those of sampled hyperparameters.

        They are lower on average, so that with their baseline almost every reward after the window would look good.
        """
        if self._is_in_window(context.step, context.num_steps) != self._is_in_window(context.step - 1, context.num_steps):
            self.policy.forget_baseline()

    def reference(self, sample: Configuration) -> Configuration:
        """The sample's architecture with the derived hyperparameters, those under a condition on it included."""
        return self._space.configuration({**self.architecture_of(sample), **self.derive_hyperparameters()})

    def derive_hyperparameters(self) -> dict[str, str]:
        """Hyperparameter to the value that the policy derives, also where the derived architecture leaves it inactive.

        A hyperparameter under a condition on the architecture so keeps what it learned for the samples that activate it.
        """
        values = self.policy.derive_values()
        return {d.name: values[d.name] for d in self.policy.decisions if d.role is not Role.ARCHITECTURE}

    def architecture_of(self, configuration: Configuration) -> dict[str, str]:
        """Architecture decision to choice."""
        values = zip(self.policy.decisions, configuration.values, strict=True)
        return {d.name: value for d, value in values if d.role is Role.ARCHITECTURE}

    def learning(self, context: StepContext) -> tuple[Decision, ...]:
        """The architecture decisions, once the warm-up is over."""
        return () if context.is_warmup else self.architecture

    def commit_in_window(self, context: StepContext, sample: Configuration, gradient: Gradient, reference: Configuration) -> Tensor | None:
        """Update the shared weights while hyperparameters are sampled; whether the guard kept the update, None without a guard."""
        if self._has_guard:
            return context.try_commit(sample, gradient, reference)
        context.commit(sample, gradient, reference)
        return None

    @property
    def num_guard_forwards(self) -> int:
        """Forward passes on the training batch that a step of the window takes."""
        return int(self._has_guard)

    def temporary_gradient(self, context: StepContext, sample: Configuration, shared: Gradient) -> tuple[Gradient, int]:
        """The gradient that makes temporary weights, and how many gradients that took in addition to `shared`."""
        if not self._has_own_batch:
            return shared, 0
        return context.gradient(sample, context.temporary_batch()), 1

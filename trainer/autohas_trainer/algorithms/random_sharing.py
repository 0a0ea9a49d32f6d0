"""RandomSharing: random search with weight sharing, the one-shot control.

Source: Li & Talwalkar, "Random Search and Reproducibility for Neural Architecture Search": train shared weights on uniformly drawn
configurations, score n of them on held-out data with those weights, train the best. No controller, no default in a race.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from autohas_api.space.decisions import Configuration, Role, Space, initial_points
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Candidate, Gradient, Lesson, Reading, StepContext, Update
from autohas_trainer.space.policy import Draw, Policy

__all__ = ["RandomSharing"]


class RandomSharing:
    """Uniform sampling; the policy never learns."""

    has_lag = True

    def __init__(self, space: Space, initial: Sequence[Configuration] = ()) -> None:
        """Start uniform; `initial` are scored before what is drawn."""
        self._initial = initial
        self.policy = Policy(space, learning_rate=1.0)
        self._hyperparameters = {d.name: d.default for d in space.decisions if d.role is not Role.ARCHITECTURE}

    @classmethod
    def from_spec(cls, spec: Spec, space: Space) -> Self:
        """The algorithm of a search, at its start."""
        return cls(space, initial_points(spec, space))

    def begin(self, reference: Configuration) -> None:
        """Nothing to take: there are no lanes."""

    def sample(self, context: StepContext) -> Draw:
        """Draw a path uniformly; its hyperparameters are the default's."""
        return self.policy.sample(context.rng("sample"), self._hyperparameters)

    def train(self, context: StepContext, draw: Draw, gradient: Gradient) -> Update:
        """Update the path."""
        sample = draw.configuration
        context.commit(sample, gradient, sample)
        return Update(draw=draw, reference=sample, loss=gradient.loss)

    def learn(self, context: StepContext, reading: Reading) -> Lesson:  # noqa: ARG002 - the protocol's
        """Nothing learns."""
        return Lesson()

    def reject(self, sample: Configuration) -> bool:  # noqa: ARG002 - the protocol's
        """Nothing learns."""
        return False

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:
        """`count` samples to score on the shared weights: the ones given, then uniform ones."""
        drawn = (self.policy.sample(rng).configuration for _ in range(count - len(self._initial)))
        return [Candidate(name=f"sample {i + 1}", configuration=c) for i, c in enumerate((*self._initial, *drawn))]

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

"""AutoHAS, strategy Lanes: hyperparameters come from lanes, the supernet searches the architecture with the winner's.

Source: TuNAS for the order within a step (weight step, then the same sample with the updated weights on the reward batch).
Ours: hyperparameters are not rewarded one step ahead, because that reward is biased: see HYPERPARAMETER_WINDOW.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from autohas_api.algorithms.auto_has_knobs import AutoHAS
from autohas_api.space.decisions import Configuration, Role, Space
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Candidate, Gradient, Lesson, Reading, StepContext, Update
from autohas_trainer.algorithms.policy_candidates import policy_candidates
from autohas_trainer.space.policy import Draw, Policy

__all__ = ["AutoHASLanes"]


class AutoHASLanes:
    """REINFORCE on the architecture at the hyperparameters of the best lane."""

    has_lag = True

    def __init__(self, space: Space, policy_learning_rate: float) -> None:
        self.policy = Policy(Space(decisions=tuple(d for d in space.decisions if d.role is Role.ARCHITECTURE)), policy_learning_rate)
        self._space = space
        self._reference = space.default

    @classmethod
    def from_spec(cls, spec: Spec, space: Space) -> Self:
        """The algorithm of a search, at its start."""
        return cls(space, spec.algorithm.knobs_as(AutoHAS).controller_rate)

    def begin(self, reference: Configuration) -> None:
        """Take the best lane's hyperparameters for every step."""
        self._reference = reference

    def sample(self, context: StepContext) -> Draw:
        """Draw a path; its hyperparameters are the best lane's."""
        architecture = self.policy.sample(context.rng("sample"))
        return Draw(configuration=self._with_hyperparameters(architecture.configuration), drawn=architecture.drawn)

    def train(self, context: StepContext, draw: Draw, gradient: Gradient) -> Update:
        """Update the path, and after the warm-up measure it with the updated weights."""
        sample = draw.configuration
        context.commit(sample, gradient, sample)
        if context.is_warmup:
            return Update(draw=draw, reference=sample, loss=gradient.loss)
        quality = context.quality(sample, context.reward_batch())
        return Update(draw=draw, reference=sample, loss=gradient.loss, num_reward_forwards=1, quality=quality)

    def learn(self, context: StepContext, reading: Reading) -> Lesson:
        """Move the policy of the architecture by the reward."""
        if reading.quality is None:
            return Lesson()
        reward = context.objective(reading.draw.configuration, reading.quality)
        advantage = self.policy.advantage(reward)
        self.policy.update(self._architecture_of(reading.draw), advantage, self.policy.decisions)
        return Lesson(reward=reward, advantage=advantage, has_learned=True)

    def reject(self, sample: Configuration) -> bool:
        """Blame the architecture."""
        self.policy.reject(self._space.as_mapping(sample), self.policy.decisions)
        return True

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:
        """The default architecture with the best lane's hyperparameters, argmax, samples."""
        default = self._with_hyperparameters(Configuration(values=tuple(d.default for d in self.policy.decisions)))
        proposed = policy_candidates(self.policy, count - 1, {}, rng)
        return [
            Candidate(name="default architecture", configuration=default),
            *(Candidate(name=c.name, configuration=self._with_hyperparameters(c.configuration)) for c in proposed),
        ]

    def state_dict(self) -> dict[str, Any]:
        """Policy and reference."""
        return {"policy": self.policy.state_dict(), "reference": list(self._reference.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.policy.load_state_dict(state["policy"])
        self._reference = Configuration(values=tuple(state["reference"]))

    def _architecture_of(self, draw: Draw) -> Draw:
        """The draw in the policy's own space."""
        chosen = self._space.as_mapping(draw.configuration)
        return Draw(configuration=Configuration(values=tuple(chosen[d.name] for d in self.policy.decisions)), drawn=draw.drawn)

    def _with_hyperparameters(self, architecture: Configuration) -> Configuration:
        chosen = dict(zip((d.name for d in self.policy.decisions), architecture.values, strict=True))
        return self._space.configuration({**self._space.as_mapping(self._reference), **chosen})

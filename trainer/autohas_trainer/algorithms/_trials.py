"""What every algorithm that trains trials is: it proposes them one after another, and has neither shared weights nor state of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from autohas_api.space.decisions import Configuration, Space
from autohas_trainer.algorithms._base import Candidate
from autohas_trainer.algorithms._proposer import TrialRecord
from autohas_trainer.space.policy import Policy

__all__ = ["TrialAlgorithm"]


class TrialAlgorithm(ABC):
    """An `Algorithm` whose race is `Race.BRACKETS`."""

    def __init__(self, space: Space) -> None:
        """Propose configurations of `space`; the controller, which is there for reports, learns nothing."""
        self.policy = Policy(space, learning_rate=1.0)
        self._space = space

    @abstractmethod
    def propose(self, number: int, seed: int, history: Sequence[TrialRecord], left_out: Collection[Configuration]) -> Configuration | None:
        """The configuration of trial `number`, none of `left_out`; trial 0 is the default. A function of its arguments.

        `left_out` are the trials with smaller numbers, or some of them: numbers are asked for in increasing order. None: the space has no
        more of them, or only unlikely ones.
        """

    def find_parent(self, number: int, configuration: Configuration, history: Sequence[TrialRecord]) -> int | None:  # noqa: ARG002 - for those that breed trials
        """The trial of which trial `number` is a copy with one change; None where it was not bred. The history may be a later one."""
        return None

    def begin(self, reference: Configuration) -> None:  # noqa: B027 - not abstract: it is true of all
        """Nothing to take: there are no lanes."""

    def candidates(self, count: int, rng: object) -> list[Candidate]:  # noqa: ARG002 - the protocol's
        """Refuse: each trial is proposed when those before it are compared."""
        raise RuntimeError("a multi-trial algorithm proposes its trials one after another")

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes: proposals are a function of seed and history."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - as above
        """Nothing to load."""

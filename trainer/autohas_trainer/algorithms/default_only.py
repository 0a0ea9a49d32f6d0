"""DefaultOnly: no search. It proposes the default configuration, which the last stage trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from autohas_api.space.decisions import Configuration, Space
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Candidate
from autohas_trainer.events import DEFAULT
from autohas_trainer.space.policy import Policy

__all__ = ["DefaultOnly"]


class DefaultOnly:
    """Has one candidate, no shared weights and no controller that learns."""

    def __init__(self, space: Space) -> None:
        """Propose the default of `space`."""
        self.policy = Policy(space, learning_rate=1.0)
        self._default = space.default

    @classmethod
    def from_spec(cls, spec: Spec, space: Space) -> Self:  # noqa: ARG003 - the builders' form
        """The algorithm of a search, at its start."""
        return cls(space)

    def begin(self, reference: Configuration) -> None:
        """Nothing to take: there are no lanes."""

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:  # noqa: ARG002 - the protocol's
        """The default, however many are asked for."""
        return [Candidate(name=DEFAULT, configuration=self._default)]

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

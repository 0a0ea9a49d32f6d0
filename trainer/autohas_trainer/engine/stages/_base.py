"""What a stage is: work that can stop and continue between any two calls of `advance`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from autohas_api.wire.messages import Stage

__all__ = ["SearchStage"]


class SearchStage(Protocol):
    """One stage. Lifecycle: `begin` once when the stage before it ended (not after a restore), then `advance` until it is False."""

    @property
    def name(self) -> Stage:
        """Name of the stage in progress reports."""

    @property
    def num_steps(self) -> int:
        """The most steps it can take: its part of the progress."""

    def begin(self) -> None:
        """Take from the search state what earlier stages left."""

    def advance(self) -> bool:
        """Do one step's worth of work; False when nothing is left."""

    def state_dict(self) -> dict[str, Any]:
        """Its own position, as JSON; weights and policy belong to the search state."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""

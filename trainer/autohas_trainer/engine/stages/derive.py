"""Evaluate without a race: what the controller derives is trained once, and nothing else is.

Source: AutoHAS, whose derived configuration is trained as an ordinary network.
"""

from __future__ import annotations

from autohas_trainer.engine.search_state import DEFAULT
from autohas_trainer.engine.stages.evaluate import EvaluateStage
from autohas_trainer.seeding import stream

__all__ = ["DeriveStage"]


class DeriveStage(EvaluateStage):
    """Leaves the winner, its training and its test score; the default is trained only where it is what was derived."""

    def begin(self) -> None:
        """Enter the derived configuration, unless the search ended early with another one."""
        state = self._state
        if state.winner is None:
            (derived,) = state.algorithm.candidates(1, stream(state.search_task.seed, "race", "candidates"))
            is_default = derived.configuration == state.search_task.space.default
            state.winner = state.enter(DEFAULT if is_default else derived.name, derived.configuration)
        super().begin()

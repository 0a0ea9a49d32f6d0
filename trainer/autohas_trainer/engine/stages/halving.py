"""Successive halving: candidates are trained to a rung one after another, compared, and some continue to the next.

Used by lanes and race. One call of `advance` trains one step or compares one candidate, so that a checkpoint fits between any two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from autohas_api.wire.messages import Stage
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.ranking import report_rung

__all__ = ["Halving"]

Choose = Callable[[int, list[str]], list[str]]
"""(rung, candidates compared there) -> candidates that continue; an empty list ends the halving."""

More = Callable[[int, list[str]], list[str]]
"""(rung, candidates compared there) -> further candidates for the same rung."""


Keep = Callable[[int, list[str], int], Collection[str]]
"""(rung, candidates compared there so far, number of all) -> those of them that may continue; the networks of the others are freed."""


class Halving:
    """The halving of one stage."""

    def __init__(
        self, state: SearchState, stage: Stage, choose: Choose, more: More = lambda *_: [], keep: Keep = lambda _, names, __: names
    ) -> None:
        """No candidates yet; `begin` or `load_state_dict` brings them."""
        self._more, self._keep = more, keep
        self._state = state
        self._stage = stage
        self._choose = choose
        self._rung = 0
        self._position = 0
        self._entrants: list[str] = []

    def begin(self, entrants: list[str], rung: int = 0) -> None:
        """Start at a rung, the first if none is given, with these candidates, in this order."""
        self._rung, self._position, self._entrants = rung, 0, list(entrants)

    def advance(self) -> bool:
        """Do one step's worth of work; False when nothing is left."""
        if not self._entrants:
            return False
        name = self._entrants[self._position]
        training = self._state.trainings[name]
        is_compared = self._rung in self._state.comparisons.get(name, {})  # one that was freed since then repeats no steps for this rung
        if training.num_steps_done < training.rung(self._rung) and not training.is_diverged and not is_compared:
            self._state.train(self._stage, name)
            return True
        self._state.compare(self._stage, name, self._rung)
        self._position += 1
        if (winner := self._state.goal_reached_by) is not None:  # the others are not trained any further (see `early_stopping`)
            report_rung(self._state, self._stage, self._rung, self._entrants[: self._position], [winner])
            return True
        if self._position == len(self._entrants):
            self._entrants += self._more(self._rung, self._entrants)
        if self._position == len(self._entrants):
            self._next_rung()
        else:
            compared = self._entrants[: self._position]
            kept = self._keep(self._rung, compared, len(self._entrants))
            self._state.rewind(other for other in compared if other not in kept)
        return bool(self._entrants)

    def _next_rung(self) -> None:
        kept = self._choose(self._rung, self._entrants)
        report_rung(self._state, self._stage, self._rung, self._entrants, kept)
        self._rung, self._position, self._entrants = self._rung + 1, 0, kept
        if self._rung == len(self._state.search_task.plan.rungs):
            self._entrants = []

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"rung": self._rung, "position": self._position, "entrants": self._entrants}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._rung, self._position = int(state["rung"]), int(state["position"])
        self._entrants = list(state["entrants"])

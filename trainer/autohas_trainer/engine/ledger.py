"""The books of a search: position, cost and time per stage. Costs are exact sums, times are not part of any digest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from autohas_api.messages import Stage

__all__ = ["Ledger"]


class Ledger:
    """What has been done and what it cost.

    Attributes:
        step: Position over all stages: steps planned for the finished stages plus steps done in the current one. Never falls, since
            checkpoints are ordered by it: where rounding takes a stage beyond its plan (see `Training.units_done`), the next begins there.
        steps: Steps planned over all stages.
    """

    def __init__(self, steps: int, clock: Callable[[], float]) -> None:
        """Start at zero; `clock` returns monotonic seconds."""
        self.step = 0
        self.steps = steps
        self._clock = clock
        self._mark = clock()
        self._cost: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._paces: dict[str, tuple[float, float]] = {}
        """(trainings, seconds) per candidate: a step of a larger batch is more of a training, so steps of two batches are no unit."""

    @property
    def cost(self) -> float:
        """Trainings spent so far; summed exactly, since a restored book lists its stages in another order."""
        return math.fsum(self._cost.values())

    @property
    def active_seconds(self) -> float:
        """Seconds of work kept so far: what a kill repeats counts once."""
        return math.fsum(self._seconds.values())

    def advance_to(self, step: int) -> None:
        """Move to a later position, the last one at most."""
        self.step = max(self.step, min(step, self.steps))

    def book_time(self, stage: Stage) -> None:
        """Book the time since the last booking, so that a checkpoint knows it."""
        now = self._clock()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._mark
        self._mark = now

    def spend(self, stage: Stage, trainings: float, *, candidate: str | None = None) -> None:
        """Book a cost and the time since the last booking; `candidate`: the cost is one training step of it."""
        self._cost[stage] = self._cost.get(stage, 0.0) + trainings
        before = self._mark
        self.book_time(stage)
        if candidate is not None:
            done, seconds = self._paces.get(candidate, (0.0, 0.0))
            self._paces[candidate] = (done + trainings, seconds + self._mark - before)

    def seconds_per_training(self, candidate: str | None) -> float:
        """Seconds of a full training at the pace of a candidate's steps; at the search's pace when it has taken none or is None."""
        trainings, seconds = self._paces.get(candidate or "", (0.0, 0.0))
        if trainings:
            return seconds / trainings
        return self.active_seconds / self.cost if self.cost else 0.0

    def cost_by_stage(self) -> dict[str, float]:
        """Trainings per stage."""
        return dict(self._cost)

    def seconds_by_stage(self) -> dict[str, float]:
        """Seconds per stage."""
        return dict(self._seconds)

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"step": self.step, "cost": self._cost, "seconds": self._seconds, "paces": {n: list(p) for n, p in self._paces.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`; the clock starts now."""
        self.step = int(state["step"])
        self._cost, self._seconds = dict(state["cost"]), dict(state["seconds"])
        self._paces = {name: (float(trainings), float(seconds)) for name, (trainings, seconds) in state["paces"].items()}
        self._mark = self._clock()

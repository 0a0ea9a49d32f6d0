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
        step: Position over all stages: steps planned for the finished stages plus steps done in the current one.
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

    @property
    def cost(self) -> float:
        """Trainings spent so far; summed exactly, since a restored book lists its stages in another order."""
        return math.fsum(self._cost.values())

    @property
    def active_seconds(self) -> float:
        """Seconds of work kept so far: what a kill repeats counts once."""
        return math.fsum(self._seconds.values())

    def spend(self, stage: Stage, trainings: float) -> None:
        """Book a cost and the time since the last booking."""
        self._cost[stage] = self._cost.get(stage, 0.0) + trainings
        now = self._clock()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._mark
        self._mark = now

    def cost_by_stage(self) -> dict[str, float]:
        """Trainings per stage."""
        return dict(self._cost)

    def seconds_by_stage(self) -> dict[str, float]:
        """Seconds per stage."""
        return dict(self._seconds)

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"step": self.step, "cost": self._cost, "seconds": self._seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`; the clock starts now."""
        self.step = int(state["step"])
        self._cost, self._seconds = dict(state["cost"]), dict(state["seconds"])
        self._mark = self._clock()

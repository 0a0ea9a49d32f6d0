"""The books of a search: position, cost and time per stage. Costs are exact sums, times are not part of any digest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from autohas_api.wire.messages import Stage
from autohas_trainer.engine.accounting.usage import Usage

__all__ = ["Ledger"]


class Ledger:
    """What has been done and what it cost.

    Attributes:
        step: Position over all stages: the steps done. Never falls, since checkpoints are ordered by it: the next stage begins where a
            stage ended, before its plan or, by rounding (see `Training.units_done`), beyond it.
        steps: Steps over all stages: those that the stages behind took and those that are planned for the others.
        stages: The same per stage, in their order.
        usage: What the steps used, for people.
    """

    def __init__(self, steps: int, clock: Callable[[], float]) -> None:
        """Start at zero; `clock` returns monotonic seconds."""
        self.step = 0
        self.steps = steps
        self.stages: dict[Stage, int] = {}
        self._begun = 0
        """Position at which the stage at work began."""
        self.usage = Usage()
        self._clock = clock
        self._mark = clock()
        self._cost: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._paces: dict[str, tuple[float, float]] = {}
        """(trainings, seconds) per candidate: a step of a larger batch is more of a training, so steps of two batches are no unit."""
        self._supernet_pace = (0.0, 0.0)
        """The same of the supernet's steps, by the work that their gradients would be in a training."""

    @property
    def cost(self) -> float:
        """Trainings spent so far; summed exactly, since a restored book lists its stages in another order."""
        return math.fsum(self._cost.values())

    @property
    def active_seconds(self) -> float:
        """Seconds of work kept so far: what a kill repeats counts once."""
        return math.fsum(self._seconds.values())

    def lay_out(self, planned: Mapping[Stage, int]) -> None:
        """Take the steps planned for the stage at work, from its first one on, and for those after it."""
        self.stages.update(planned)
        self.steps = sum(self.stages.values())

    def close(self, stage: Stage) -> None:
        """End a stage, or pass it over: what it took takes the place of what was planned for it."""
        if self.step > self._begun:
            self.usage.observe_memory(stage, ends=True)
        self.lay_out({stage: self.step - self._begun})
        self._begun = self.step

    @property
    def steps_in_stage(self) -> int:
        """Steps that the stage at work has taken."""
        return self.step - self._begun

    def advance_to(self, step: int) -> None:
        """Move to a later position, the last one at most."""
        self.step = max(self.step, min(step, self.steps))

    def book_time(self, stage: Stage) -> None:
        """Book the time since the last booking, so that a checkpoint knows it."""
        now = self._clock()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._mark
        self._mark = now

    def spend(self, stage: Stage, trainings: float, *, candidate: str | None = None, gradients: float = 0.0) -> None:
        """Book a cost and the time since the last booking.

        Args:
            stage: The stage at work.
            trainings: The cost.
            candidate: The cost is one training step of it.
            gradients: The cost is a step of the supernet, whose gradients would cost this much in a training.
        """
        self._cost[stage] = self._cost.get(stage, 0.0) + trainings
        before = self._mark
        self.book_time(stage)
        if candidate is not None:
            done, seconds = self._paces.get(candidate, (0.0, 0.0))
            self._paces[candidate] = (done + trainings, seconds + self._mark - before)
        if gradients:
            done, seconds = self._supernet_pace
            self._supernet_pace = (done + gradients, seconds + self._mark - before)

    def seconds_per_training(self, candidate: str | None) -> float:
        """Seconds of a full training at the pace of a candidate's steps; at the search's pace when it has taken none or is None.

        The search's pace is that of all candidates' steps, before the first of them that of the supernet's gradients, or that of all its
        work if this is slower. How much longer than a gradient a supernet's step and a forward pass take depends on the device: by their
        prices alone a training would seem faster than it is.
        """
        if candidate in self._paces:
            return _divide(*reversed(self._paces[candidate]))
        trainings, seconds = (math.fsum(pace[index] for pace in self._paces.values()) for index in (0, 1))
        steps = _divide(seconds, trainings) if trainings else _divide(*reversed(self._supernet_pace))
        return max(steps, _divide(self.active_seconds, self.cost))

    def cost_by_stage(self) -> dict[str, float]:
        """Trainings per stage."""
        return dict(self._cost)

    def seconds_by_stage(self) -> dict[str, float]:
        """Seconds per stage."""
        return dict(self._seconds)

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "step": self.step,
            "begun": self._begun,
            "stages": self.stages,
            "cost": self._cost,
            "seconds": self._seconds,
            "paces": {n: list(p) for n, p in self._paces.items()},
            "supernetPace": list(self._supernet_pace),
            "usage": self.usage.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`; the clock starts now."""
        self.step, self._begun = int(state["step"]), int(state["begun"])
        self.lay_out({Stage(name): int(steps) for name, steps in state["stages"].items()})
        self._cost, self._seconds = dict(state["cost"]), dict(state["seconds"])
        self._paces = {name: (float(trainings), float(seconds)) for name, (trainings, seconds) in state["paces"].items()}
        trainings, seconds = state["supernetPace"]
        self._supernet_pace = (float(trainings), float(seconds))
        self.usage.load_state_dict(state.get("usage", {}))  # a checkpoint of an earlier version has none
        self._mark = self._clock()


def _divide(seconds: float, trainings: float) -> float:
    """Seconds per training; 0 before the first work."""
    return seconds / trainings if trainings else 0.0

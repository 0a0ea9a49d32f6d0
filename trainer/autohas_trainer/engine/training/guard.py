"""The guards of the supernet: one takes back updates that do harm, one notices a controller that has collapsed, one keeps a way back.

Ours: one update with a rate of 3 ruins shared weights, and with ruined weights the rewards are noise on which the controller decides
all the same (measured, docs/algorithm.md).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from autohas_trainer.engine.training.safety_copy import SafetyCopy
from autohas_trainer.tasks import Task

__all__ = ["CollapseWatch", "SupernetGuards", "UpdateGuard"]

_MEMORY: Final = 64
_MIN_MEMORY: Final = 16
_WIDTH: Final = 4.0
"""Robust standard deviations below the median at which an update is harmful."""
_MAD_TO_DEVIATION: Final = 1.4826
"""Deviation of a normal distribution in units of its median absolute deviation."""
_MIN_DEVIATION: Final = 1e-6

_KEEP: Final = 0.95
_MIN_REWARDS: Final = 40
"""Two times the memory of the average: enough that one bad batch is not a collapse."""
_LOW_ENTROPY: Final = 0.5
_MARGIN: Final = 0.05
"""Share of the way from chance to perfect that the average quality must have come."""


class UpdateGuard:
    """Judges an update by what it did to the loss of its own training batch."""

    def __init__(self) -> None:
        """Nothing seen yet: only updates whose loss is not finite are harmful."""
        self._improvements: list[float] = []
        self.num_rejected = 0

    def accepts(self, before: float, after: float) -> bool:
        """Whether an update may stay.

        Args:
            before: Mean training loss of the path before the update.
            after: The same loss of the same batch and path afterwards: same smoothing, same mode, same draws.
        """
        improvement = before - after
        is_kept = math.isfinite(improvement) and improvement >= self._lowest()
        if is_kept:
            self._improvements = [*self._improvements, improvement][-_MEMORY:]
        else:
            self.num_rejected += 1
        return is_kept

    def _lowest(self) -> float:
        if len(self._improvements) < _MIN_MEMORY:
            return -math.inf
        median = statistics.median(self._improvements)
        spread = statistics.median(abs(improvement - median) for improvement in self._improvements)
        return median - _WIDTH * max(_MAD_TO_DEVIATION * spread, _MIN_DEVIATION)

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"improvements": self._improvements, "numRejected": self.num_rejected}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._improvements, self.num_rejected = list(state["improvements"]), int(state["numRejected"])


class CollapseWatch:
    """Notices a controller that has decided while the shared weights know nothing."""

    def __init__(self, chance: float) -> None:
        """Watch a quality whose value for a constant answer is `chance` and whose best is 1."""
        self._lowest = chance + _MARGIN * (1 - chance)
        self._floor = chance - (1 - chance)
        """As far below chance as perfect is above: a worse batch counts as that, or a single one would look like a collapse for long."""
        self._sum = 0.0
        self._weight = 0.0
        self._rewards = 0

    def is_collapsed(self, quality: float, entropy: float) -> bool:
        """Take the quality of one sample, without its price, and the policy's normalised entropy after it."""
        self._sum = _KEEP * self._sum + (1 - _KEEP) * (max(quality, self._floor) if math.isfinite(quality) else 0.0)
        self._weight = _KEEP * self._weight + (1 - _KEEP)
        self._rewards += 1
        return self._rewards >= _MIN_REWARDS and entropy < _LOW_ENTROPY and self._sum / self._weight < self._lowest

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"sum": self._sum, "weight": self._weight, "rewards": self._rewards}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._sum, self._weight, self._rewards = float(state["sum"]), float(state["weight"]), int(state["rewards"])


class SupernetGuards:
    """The three guards of one search."""

    def __init__(self, task: Task) -> None:
        """Nothing seen yet."""
        self.update = UpdateGuard()
        self.collapse = CollapseWatch(task.constant_quality)
        self.safety = SafetyCopy(task.constant_loss)

    def learned_state(self) -> dict[str, Any]:
        """What the first two guards have learned of the shared weights, as JSON: it belongs to a copy of them."""
        return {"update": self.update.state_dict(), "collapse": self.collapse.state_dict()}

    def load_learned_state(self, state: Mapping[str, Any]) -> None:
        """Go back to `learned_state`; updates that were taken back since then stay counted."""
        self.update.load_state_dict({**state["update"], "numRejected": self.update.num_rejected})
        self.collapse.load_state_dict(state["collapse"])

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the safety copy by name."""
        return self.safety.tensors()

    def state_dict(self) -> dict[str, Any]:
        """Everything that is no tensor, as JSON."""
        return {**self.learned_state(), "safety": self.safety.state_dict()}

    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict` and `tensors`."""
        self.update.load_state_dict(state["update"])
        self.collapse.load_state_dict(state["collapse"])
        self.safety.load(state["safety"], tensors)

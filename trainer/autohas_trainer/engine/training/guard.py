"""The guards of the supernet: one takes back updates that do harm, one notices a controller that has collapsed, one keeps a way back.

Ours: one update with a rate of 3 ruins shared weights, and with ruined weights the rewards are noise on which the controller decides
all the same (measured, docs/algorithm.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
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
    """Judges an update by what it did to the loss of its own training batch, on the device: no judgement waits for it."""

    def __init__(self, device: torch.device) -> None:
        """Nothing seen yet: only updates whose loss is not finite are harmful."""
        self._improvements = torch.zeros(_MEMORY, dtype=torch.float64, device=device)
        """(_MEMORY,) those of the latest accepted updates, by their number modulo _MEMORY; unused places are 0."""
        self._num_accepted = torch.zeros((), dtype=torch.int64, device=device)
        self._places = torch.arange(_MEMORY, device=device)
        self.num_rejected = 0
        """Updates that were taken back, as far as they have been read."""

    @torch.no_grad()
    def judge(self, before: Tensor, after: Tensor) -> Tensor:
        """Return whether an update may stay, a boolean scalar tensor.

        Args:
            before: Mean training loss of the path before the update, a scalar tensor.
            after: The same loss of the same batch and path afterwards: same smoothing, same mode, same draws.
        """
        improvement = before.double() - after.double()
        is_kept = improvement.isfinite() & (improvement >= self._find_lowest())
        is_here = is_kept & (self._places == self._num_accepted % _MEMORY)
        self._improvements = torch.where(is_here, improvement, self._improvements)
        self._num_accepted = self._num_accepted + is_kept
        return is_kept

    def _find_lowest(self) -> Tensor:
        """The least improvement of an update that may stay."""
        is_used = self._places < self._num_accepted
        count = self._num_accepted.clamp(1, _MEMORY)
        median = _median(torch.where(is_used, self._improvements, math.inf), count)
        spread = _median(torch.where(is_used, (self._improvements - median).abs(), math.inf), count)
        lowest = median - _WIDTH * (_MAD_TO_DEVIATION * spread).clamp(min=_MIN_DEVIATION)
        return torch.where(self._num_accepted < _MIN_MEMORY, -math.inf, lowest)

    def state_dict(self) -> dict[str, Any]:
        """As JSON; waits for the device."""
        used = min(count := int(self._num_accepted), _MEMORY)
        return {"improvements": self._improvements[:used].tolist(), "numAccepted": count, "numRejected": self.num_rejected}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        values = [*state["improvements"], *[0.0] * (_MEMORY - len(state["improvements"]))]
        self._improvements = torch.tensor(values, dtype=torch.float64, device=self._places.device)
        self._num_accepted = torch.tensor(state["numAccepted"], dtype=torch.int64, device=self._places.device)
        self.num_rejected = int(state["numRejected"])


def _median(values: Tensor, count: Tensor) -> Tensor:
    """Return the median of the `count` least values, a scalar tensor: the mean of the middle two where they are even."""
    ordered, _ = values.sort()
    middle = torch.stack(((count - 1) // 2, count // 2))
    return ordered.index_select(0, middle).mean()


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

    def __init__(self, task: Task, device: torch.device) -> None:
        """Nothing seen yet."""
        self.update = UpdateGuard(device)
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

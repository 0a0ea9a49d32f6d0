"""The last finite state of the supernet and of what learns from it: a supernet that diverges is restarted from there.

Ours: two restarts, each at a third of the rate before. A supernet that diverges at a ninth of the rate is not worth a third try.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from autohas_trainer.engine.training.loss_window import are_finite

__all__ = ["MAX_RESTARTS", "SafetyCopy"]

MAX_RESTARTS: Final = 2
_SLOWER: Final = 3
"""What the rate is divided by at each restart."""
_COPIES: Final = 20
"""Copies over the supernet's schedule: a restart loses a twentieth of it at most, and more only while no state was healthy."""


class SafetyCopy:
    """One copy of the supernet's tensors and of the state that belongs to them, replaced now and then by a newer healthy one.

    A state is healthy when all of its tensors are finite and the losses since the copy before have not risen by more than that of a
    constant answer: weights that are lost are large before they are infinite.
    """

    def __init__(self, constant_loss: float) -> None:
        """No copy yet; `constant_loss` is the mean loss of the best constant answer."""
        self._constant_loss = constant_loss
        self._losses: list[float] = []
        self._level: float | None = None
        """The lowest median loss between two copies; before the second copy the first loss."""
        self._tensors: dict[str, Tensor] = {}
        self.state: dict[str, Any] = {}
        """What was given with the tensors; empty where there is no copy."""
        self.num_restarts = 0
        self.trainings_lost = 0.0
        """Cost of the steps that the restarts gave up."""

    @property
    def rate_factor(self) -> float:
        """What the rates of the shared updates are multiplied by."""
        return 1.0 / float(_SLOWER**self.num_restarts)

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether the state before step `step` of a schedule of `num_steps` is to be copied, if it is healthy."""
        return step % max(1, num_steps // _COPIES) == 0

    def record(self, loss: float) -> None:
        """Take the training loss of one step."""
        if math.isfinite(loss):
            self._losses.append(loss)
            self._level = loss if self._level is None else self._level

    def is_healthy(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether a state may replace the copy; the losses of the next one are counted from here on."""
        losses, self._losses = self._losses, []
        if not are_finite(tensor.detach() for tensor in tensors.values() if tensor.is_floating_point()):
            return False
        if not losses or self._level is None:
            return True
        level = statistics.median(losses)
        is_calm = level <= self._level + self._constant_loss
        self._level = min(self._level, level)
        return is_calm

    @torch.no_grad()
    def keep(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the copy by these tensors and this JSON state.

        In the memory of the copy before: fresh memory takes three times as long, for the pages that the system has to find.
        """
        self._tensors = {name: _copy_into(self._tensors.get(name), tensor) for name, tensor in tensors.items()}
        self.state = copy.deepcopy(dict(state))

    def restart(self, trainings_lost: float) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Count a restart and return the copy; None when there is none, or there were enough restarts: the supernet must be left."""
        if not self.state or self.num_restarts == MAX_RESTARTS:
            return None
        self.num_restarts += 1
        self.trainings_lost += trainings_lost
        self._losses = []
        return self._tensors, copy.deepcopy(self.state)

    def drop(self) -> None:
        """Free the copy; the counts stay."""
        self._tensors, self.state = {}, {}

    def tensors(self) -> dict[str, Tensor]:
        """The copied tensors by name."""
        return self._tensors

    def state_dict(self) -> dict[str, Any]:
        """Everything that is no tensor, as JSON."""
        return {
            "losses": self._losses,
            "level": self._level,
            "state": self.state,
            "restarts": self.num_restarts,
            "trainingsLost": self.trainings_lost,
        }

    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict` and `tensors`."""
        self._losses, self._level = list(state["losses"]), state["level"]
        self.num_restarts, self.trainings_lost = int(state["restarts"]), float(state["trainingsLost"])
        self._tensors, self.state = dict(tensors), dict(state["state"])


def _copy_into(kept: Tensor | None, tensor: Tensor) -> Tensor:
    """Return a copy of `tensor`, in the memory of `kept` where it fits: counts of Adam's updates change their shapes."""
    if kept is None or (kept.shape, kept.dtype, kept.device) != (tensor.shape, tensor.dtype, tensor.device):
        return tensor.clone()
    return kept.copy_(tensor)

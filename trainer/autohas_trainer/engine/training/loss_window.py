"""The losses of the latest steps, on the device: written in every step, read in some, so that no other step waits for the device."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
import torch
from torch import Tensor

__all__ = ["LENGTH", "LossWindow", "are_finite"]

LENGTH: Final = 16
"""Ours: steps between two readings. A training that diverges computes at most 15 steps more, and one wait in 16 steps costs nothing."""


class LossWindow:
    """The losses since the last step whose number is a multiple of LENGTH; the rest of the window is older and finite."""

    def __init__(self, device: torch.device) -> None:
        """Nothing written: zeros, which are finite."""
        self.losses = torch.zeros(LENGTH, dtype=torch.float64, device=device)
        """(LENGTH,) in nats, float64 so that a loss of any type is kept as it is; part of a checkpoint."""
        self._on_host = self.losses.numpy() if device.type == "cpu" else None

    def write(self, step: int, loss: Tensor) -> None:
        """Keep the loss (scalar tensor) of step `step`; nothing waits."""
        self.losses[step % LENGTH].copy_(loss)

    def are_finite(self) -> Tensor | bool:
        """Whether every loss so far was finite: a boolean scalar on the device, and a number on a CPU, which nothing waits for."""
        return self.losses.isfinite().all() if self._on_host is None else bool(np.isfinite(self._on_host).all())

    def read(self, num_steps: int) -> tuple[float, int | None]:
        """Wait for the device; return the loss of the latest of `num_steps` steps, and the first step whose loss was not finite, if any."""
        count = (num_steps - 1) % LENGTH + 1
        losses = self.losses[:count].tolist()
        first = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), None)
        return (losses[-1], None) if first is None else (losses[first], num_steps - count + first)


@torch.no_grad()
def are_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all elements are finite; one wait for the device."""
    return bool(torch.stack([_is_finite(tensor) for tensor in tensors]).all())


def _is_finite(tensor: Tensor) -> Tensor:
    """Whether all elements are finite, by least and greatest, which are NaN where one is: a pass without temporary tensors."""
    if tensor.numel() == 0 or tensor.is_complex():
        return tensor.isfinite().all()
    return torch.stack(torch.aminmax(tensor)).isfinite().all()

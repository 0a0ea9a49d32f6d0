"""How what lies on the host reaches the device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["put_on"]


def put_on(values: Tensor, device: torch.device) -> Tensor:
    """Copy values of the host to a device: to a GPU from pinned memory, so that the host continues at once.

    The host runs ahead of a GPU, by up to 16 steps of a training, so that batches and draws are there before they are needed. That the
    copy of a real GPU overlaps with its kernels was not tried: no machine with one was there.
    """
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)

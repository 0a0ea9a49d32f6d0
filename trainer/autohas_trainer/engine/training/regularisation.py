"""Mixup: examples and their targets mixed in pairs. A function of the step's stream, so that a resumed training draws the same.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization": one share per batch, drawn from Beta(alpha, alpha).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autohas_trainer.data import TrainBatch

__all__ = ["Mixture", "keep_unmixed", "mix", "put_on"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Inputs and targets of one step; `share` of each example is its own, the rest its partner's, whose targets are `partners_B`."""

    inputs: Tensor
    targets_B: Tensor
    share: float
    partners_B: Tensor | None

    def split(self, count: int) -> Iterator[Mixture]:
        """Yield `count` parts of equal size, in order; `count` divides the batch."""
        size = len(self.targets_B) // count
        for start in range(0, size * count, size):
            yield Mixture(
                inputs=self.inputs.narrow(0, start, size),
                targets_B=self.targets_B.narrow(0, start, size),
                share=self.share,
                partners_B=None if self.partners_B is None else self.partners_B.narrow(0, start, size),
            )


def put_on(draw: Tensor, device: torch.device) -> Tensor:
    """Copy numbers that were drawn on the host to a device: to a GPU from pinned memory, so that the host continues at once.

    The host runs ahead of a GPU, by up to 16 steps of a training, so that draws are there before they are needed. That the copy of a real
    GPU overlaps with its kernels was not tried: no machine with one was there.
    """
    return draw.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else draw.to(device)


def keep_unmixed(batch: TrainBatch) -> Mixture:
    """The batch as it is."""
    return Mixture(inputs=batch.inputs, targets_B=batch.targets_B, share=1.0, partners_B=None)


def mix(batch: TrainBatch, alpha: float, rng: np.random.Generator) -> Mixture:
    """Mix each example with another of the batch; `alpha` is greater than 0. The host waits for no device."""
    share = float(rng.beta(alpha, alpha))
    order_B = put_on(torch.from_numpy(rng.permutation(len(batch.targets_B))), batch.inputs.device)
    inputs = batch.inputs * share + batch.inputs.index_select(0, order_B) * (1 - share)
    return Mixture(inputs=inputs, targets_B=batch.targets_B, share=share, partners_B=batch.targets_B.index_select(0, order_B))

"""Mixup and CutMix: examples and their targets mixed in pairs. A function of the step's streams, so that a resume draws the same.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization": one share per batch, drawn from Beta(alpha, alpha); Yun et al., "CutMix":
a rectangle of the partner instead of a weighted mean, whose area is the partner's share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autohas_trainer.data import TrainBatch
from autohas_trainer.data.examples import put_on
from autohas_trainer.seeding import stream

__all__ = ["Mixture", "cut_mix", "keep_unmixed", "mix", "mix_by_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Inputs and targets of one step; `share` of each example is its own, the rest its partner's, whose targets are `partners_B`."""

    inputs: Tensor
    targets_B: Tensor
    share: float
    partners_B: Tensor | None

    def split(self, count: int) -> Iterator[Mixture]:
        """Yield `count` parts of equal size, in order; `count` divides the batch."""
        if count == 1:
            yield self
            return
        size = len(self.targets_B) // count
        for start in range(0, size * count, size):
            yield Mixture(
                inputs=self.inputs.narrow(0, start, size),
                targets_B=self.targets_B.narrow(0, start, size),
                share=self.share,
                partners_B=None if self.partners_B is None else self.partners_B.narrow(0, start, size),
            )


def keep_unmixed(batch: TrainBatch) -> Mixture:
    """The batch as it is."""
    return Mixture(inputs=batch.inputs, targets_B=batch.targets_B, share=1.0, partners_B=None)


def mix(batch: TrainBatch, alpha: float, rng: np.random.Generator) -> Mixture:
    """Mix each example with another of the batch; `alpha` is greater than 0. The host waits for no device."""
    share = float(rng.beta(alpha, alpha))
    order_B = put_on(torch.from_numpy(rng.permutation(len(batch.targets_B))), batch.inputs.device)
    inputs = batch.inputs * share + batch.inputs.index_select(0, order_B) * (1 - share)
    return Mixture(inputs=inputs, targets_B=batch.targets_B, share=share, partners_B=batch.targets_B.index_select(0, order_B))


def cut_mix(batch: TrainBatch, alpha: float, rng: np.random.Generator) -> Mixture:
    """Put a rectangle of another image of the batch into each image (B, C, H, W); all have the same rectangle."""
    height, width = batch.inputs.shape[-2:]
    side = math.sqrt(1 - float(rng.beta(alpha, alpha)))
    (top, bottom), (left, right) = (_side(size, side, rng) for size in (height, width))
    order_B = put_on(torch.from_numpy(rng.permutation(len(batch.targets_B))), batch.inputs.device)
    inputs = batch.inputs.clone()
    inputs[..., top:bottom, left:right] = batch.inputs[..., top:bottom, left:right].index_select(0, order_B)
    share = 1 - (bottom - top) * (right - left) / (height * width)  # the rectangle may reach beyond the image
    return Mixture(inputs=inputs, targets_B=batch.targets_B, share=share, partners_B=batch.targets_B.index_select(0, order_B))


def _side(size: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """Return first and last px of a side of the rectangle, around a centre anywhere in the image."""
    half, centre = int(size * share) // 2, int(rng.integers(size))
    return max(0, centre - half), min(size, centre + half)


def mix_by_key(batch: TrainBatch, mixup: float, cutmix: float, seed: int, *draw: int) -> Mixture:
    """Mix a batch by the alphas, of which 0 means not at all; by one of both, each with probability 1/2, where both are greater than 0."""
    if cutmix > 0 and (mixup <= 0 or stream(seed, "mixup-or-cutmix", *draw).random() < 0.5):  # noqa: PLR2004 - a fair coin
        return cut_mix(batch, cutmix, stream(seed, "cutmix", *draw))
    return mix(batch, mixup, stream(seed, "mixup", *draw)) if mixup > 0 else keep_unmixed(batch)

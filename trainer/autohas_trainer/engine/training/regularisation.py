"""Mixup: examples and their targets mixed in pairs. A function of the step's stream, so that a resumed training draws the same.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization": one share per batch, drawn from Beta(alpha, alpha).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autohas_trainer.data import TrainBatch

__all__ = ["Mixture", "keep_unmixed", "mix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Inputs of one step; `share` of each example is its own, the rest its partner's, whose targets are `partners_B`."""

    inputs: Tensor
    share: float
    partners_B: Tensor | None


def keep_unmixed(batch: TrainBatch) -> Mixture:
    """The batch as it is."""
    return Mixture(inputs=batch.inputs, share=1.0, partners_B=None)


def mix(batch: TrainBatch, alpha: float, rng: np.random.Generator) -> Mixture:
    """Mix each example with another of the batch; `alpha` is greater than 0."""
    share = float(rng.beta(alpha, alpha))
    order_B = torch.from_numpy(rng.permutation(len(batch.targets_B))).to(batch.inputs.device)
    inputs = batch.inputs * share + batch.inputs.index_select(0, order_B) * (1 - share)
    return Mixture(inputs=inputs, share=share, partners_B=batch.targets_B.index_select(0, order_B))

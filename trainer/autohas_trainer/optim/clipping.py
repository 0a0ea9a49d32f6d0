"""The norm that a gradient of the shared weights may have.

Ours: a path of the supernet meets weights that other paths have moved since it was last sampled, so that single gradients are far
larger than any of a stand-alone training; mlp-small at a rate of 0.1 lost its shared weights within a hundred steps in most searches
(`benchmarks.spending`). A stand-alone training is clipped only by
`recipe.gradientClip`.

A limit relative to a running norm follows a supernet that diverges (docs/decisions/algorithms.md has the measurement).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

__all__ = ["MAX_NORM", "clip", "norm_of"]

MAX_NORM: Final = 1.0
"""Euclidean norm of the gradient of one sampled path, over all of its leaves together, in nats per unit of weight."""


def norm_of(gradients: Mapping[str, Tensor]) -> Tensor:
    """Return the Euclidean norm over all gradients together, a scalar tensor; nothing waits for the device."""
    norms = torch._foreach_norm(list(gradients.values()))  # noqa: SLF001 - as `sliced`; `get_total_norm` first sorts them by device
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm


def clip(gradients: Mapping[str, Tensor], norm: Tensor) -> dict[str, Tensor]:
    """Return the gradients scaled to MAX_NORM where `norm`, their own, is larger, and times 1, which changes no bit, where it is not.

    Nothing waits for the device.
    """
    factor = torch.where(norm > MAX_NORM, MAX_NORM / norm, 1.0)
    return dict(zip(gradients, torch._foreach_mul(list(gradients.values()), factor), strict=True))  # noqa: SLF001 - as `sliced`

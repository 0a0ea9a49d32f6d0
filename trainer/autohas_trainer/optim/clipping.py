"""The norm that a gradient of the shared weights may have.

Ours: a path of the supernet meets weights that other paths have moved since it was last sampled, so that single gradients are far
larger than any of a stand-alone training; mlp-small at a rate of 0.1 lost its shared weights within a hundred steps in most searches
(`benchmarks.spending`). A stand-alone training is clipped only by
`recipe.gradientClip`.

A limit relative to a running norm follows a supernet that diverges (docs/decisions/algorithms.md has the measurement).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

__all__ = ["MAX_NORM", "clip", "norm_of"]

MAX_NORM: Final = 1.0
"""Euclidean norm of the gradient of one sampled path, over all of its leaves together, in nats per unit of weight."""
_LARGE: Final = 2**14
"""Elements from which on a gradient is overwritten: fresh memory of this size is mapped and cleared for each step."""


def norm_of(gradients: Mapping[str, Tensor]) -> Tensor:
    """Return the Euclidean norm over all gradients together, a scalar tensor; nothing waits for the device."""
    norms = torch._foreach_norm(list(gradients.values()))  # noqa: SLF001 - as `sliced`; `get_total_norm` first sorts them by device
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm


def clip(gradients: Mapping[str, Tensor], norm: Tensor, *, is_owner: bool = False) -> dict[str, Tensor]:
    """Return the gradients scaled to MAX_NORM where `norm`, their own, is larger, and times 1, which changes no bit, where it is not.

    Nothing waits for the device.

    Args:
        gradients: Of every leaf.
        norm: Their `norm_of`.
        is_owner: Whether the caller gives the gradients away: those that are worth it are then overwritten.
    """
    factor = torch.where(norm > MAX_NORM, MAX_NORM / norm, 1.0)
    overwritten = _find_unshared(gradients) if is_owner else {}
    others = {name: gradient for name, gradient in gradients.items() if name not in overwritten}
    clipped = dict(overwritten)
    if others:
        clipped |= zip(others, torch._foreach_mul(list(others.values()), factor), strict=True)  # noqa: SLF001 - as `sliced`
    if overwritten:  # last: the others may be views of them
        torch._foreach_mul_(list(overwritten.values()), factor)
    return {name: clipped[name] for name in gradients}


def _find_unshared(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the large gradients on a CPU that are no view of a part and whose memory no other large gradient has.

    autograd gives two leaves that are added one gradient, and a leaf that is summed one number with strides of 0.
    """
    large = {
        name: gradient
        for name, gradient in gradients.items()
        if gradient.is_cpu
        and gradient.numel() >= _LARGE
        and gradient.untyped_storage().nbytes() == gradient.nbytes
        and torch._debug_has_internal_overlap(gradient) == 0  # noqa: SLF001 - what torch itself asks before it writes
    }
    uses = Counter(gradient.data_ptr() for gradient in large.values())
    return {name: gradient for name, gradient in large.items() if uses[gradient.data_ptr()] == 1}

"""Switches gradients off where a flag says so, without a wait for the device."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["keep_gradients"]

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def keep_gradients(gradients: Iterable[Tensor], is_kept: Tensor | bool) -> None:  # noqa: FBT001 - a flag, wherever it lies
    """Set gradients to 0, in place, unless `is_kept`: a boolean scalar on their device, or a flag that the host has.

    By their bits, as integers: 0 times NaN is NaN, but 0 times its bits are those of 0, and 1 times them are the same bits. A sparse
    gradient stays as it is.
    """
    if is_kept is True:
        return
    views: dict[torch.dtype, list[Tensor]] = {}
    for gradient in gradients:
        if gradient.layout is torch.strided and (bits := _BITS.get(gradient.element_size())) is not None:
            views.setdefault(bits, []).append(gradient.view(bits))
    for bits, group in views.items():
        torch._foreach_mul_(group, is_kept.to(bits) if isinstance(is_kept, Tensor) else 0)

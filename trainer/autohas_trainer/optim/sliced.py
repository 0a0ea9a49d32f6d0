"""SGD with momentum on slices of shared tensors, in place.

Called by the supernet with the views that one path samples: decay and momentum touch those views and nothing else. The operations
and their order are torch.optim.SGD's (foreach), so a path that is the whole network moves bit for bit as a stand-alone one.
Knows nothing of paths, names or losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from autohas_trainer.optim.rule import UpdateRule, decays

__all__ = ["Slices", "apply_update", "temporary_update"]

# torch keeps its multi-tensor operations under a leading underscore; torch.optim is built on them and so are we, only in this file.
_add = torch._foreach_add  # noqa: SLF001
_add_ = torch._foreach_add_
_copy_ = torch._foreach_copy_
_mul = torch._foreach_mul  # noqa: SLF001
_mul_ = torch._foreach_mul_


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """What one update touches: views of the shared weights and of their momentum, in the same order and shapes.

    Decaying tensors stand first, so that decay is one operation over a prefix.
    """

    weights: tuple[Tensor, ...]
    momenta: tuple[Tensor, ...]
    num_decaying: int

    def __post_init__(self) -> None:
        """Hold the order that `num_decaying` promises."""
        flags = [decays(weight.ndim) for weight in self.weights]
        if len(self.weights) != len(self.momenta) or flags != sorted(flags, reverse=True) or sum(flags) != self.num_decaying:
            message = "slices must pair weights with momenta, decaying tensors first"
            raise ValueError(message)


def _decayed(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> list[Tensor]:
    """Return g + d·w; the given gradients stay as they are, since trial and commit share them."""
    if rule.weight_decay == 0 or slices.num_decaying == 0:
        return list(grads)
    n = slices.num_decaying
    return [*_add(list(grads[:n]), list(slices.weights[:n]), alpha=rule.weight_decay), *grads[n:]]


@torch.no_grad()
def apply_update(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> None:
    """Move weights and momentum one step, in place.

    Args:
        slices: The views to move.
        grads: Gradients in the order of `slices.weights`; not modified.
        rule: The numbers of this step.
    """
    direction = _decayed(slices, grads, rule)
    if rule.momentum != 0:
        momenta = list(slices.momenta)
        _mul_(momenta, rule.momentum)
        _add_(momenta, direction)
        direction = momenta
    _add_(list(slices.weights), direction, alpha=-rule.learning_rate)


@contextmanager
def temporary_update(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> Iterator[None]:
    """Hold the weights at W* = update(W) inside the block; afterwards they are W again, bit for bit.

    The momentum's next value is computed beside the buffer, so only weights need saving. Restored by copy: subtracting the step
    again would leave rounding behind, and NaN forever.
    """
    weights = list(slices.weights)
    with torch.no_grad():
        saved = [weight.clone() for weight in weights]
        direction = _decayed(slices, grads, rule)
        if rule.momentum != 0:
            ahead = list(_mul(list(slices.momenta), rule.momentum))
            _add_(ahead, direction)
            direction = ahead
        _add_(weights, direction, alpha=-rule.learning_rate)
    try:
        yield
    finally:
        with torch.no_grad():
            _copy_(weights, saved)

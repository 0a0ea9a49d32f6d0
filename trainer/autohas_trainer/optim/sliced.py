"""Updates on slices of shared tensors, in place: SGD, RMSprop and Adam.

Called by the supernet with the views that one path samples: decay and moments touch those views and nothing else. The operations and
their order are torch.optim's (foreach), so a path that is the whole network moves bit for bit as a stand-alone one. Adam's number of
updates belongs to the shared tensor and grows when any slice of it is sampled (Ours: a count per element would cost as much as a
moment, and only the first steps would show it). Knows nothing of paths or losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from autohas_trainer.optim.rule import STATE_KEYS, UpdateRule, decays

__all__ = ["Slices", "apply_update", "temporary_update"]

ALPHA: Final = 0.99
BETA2: Final = 0.999
EPSILON: Final = 1e-8

# torch keeps its multi-tensor operations under a leading underscore; torch.optim is built on them and so are we, only in this file.
_add = torch._foreach_add  # noqa: SLF001
_sqrt = torch._foreach_sqrt  # noqa: SLF001
_add_ = torch._foreach_add_
_addcdiv_ = torch._foreach_addcdiv_
_addcmul_ = torch._foreach_addcmul_
_copy_ = torch._foreach_copy_
_div_ = torch._foreach_div_
_lerp_ = torch._foreach_lerp_
_mul_ = torch._foreach_mul_

_Moments = Mapping[str, list[Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """What one update touches: views of the shared weights and of their moments, in the same order and shapes.

    Decaying tensors stand first, so that decay is one operation over a prefix.

    Attributes:
        names: The shared tensors that the views belong to.
        weights: Views of the weights.
        moments: Views of the moments by torch's name for them; of the optimizers in use only.
        counts: Adam's updates so far by shared tensor; owned by the supernet and changed by `apply_update`.
        num_decaying: How many of the weights decay.
    """

    names: tuple[str, ...]
    weights: tuple[Tensor, ...]
    moments: Mapping[str, tuple[Tensor, ...]]
    counts: MutableMapping[str, int]
    num_decaying: int

    def __post_init__(self) -> None:
        """Hold the order that `num_decaying` promises."""
        flags = [decays(weight.ndim) for weight in self.weights]
        lengths = {len(self.weights), len(self.names), *map(len, self.moments.values())}
        if len(lengths) > 1 or flags != sorted(flags, reverse=True) or sum(flags) != self.num_decaying:
            message = "slices must pair weights with names and moments, decaying tensors first"
            raise ValueError(message)


@torch.no_grad()
def apply_update(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> None:
    """Move weights and moments one step, in place.

    Args:
        slices: The views to move.
        grads: Gradients in the order of `slices.weights`; not modified.
        rule: The numbers of this step.
    """
    moments = {key: list(slices.moments[key]) for key in STATE_KEYS[rule.optimizer]}
    if rule.optimizer == "adam":
        for name in slices.names:
            slices.counts[name] = slices.counts.get(name, 0) + 1
    counts = [slices.counts.get(name, 0) for name in slices.names]
    _move(list(slices.weights), _decayed(slices, grads, rule), moments, counts, rule)


@contextmanager
def temporary_update(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> Iterator[None]:
    """Hold the weights at W* = update(W) inside the block; afterwards they are W again, bit for bit.

    Moments are computed on copies, so only weights need restoring. Restored by copy: subtracting the step again would leave rounding
    behind, and NaN forever.
    """
    weights = list(slices.weights)
    with torch.no_grad():
        saved = [weight.clone() for weight in weights]
        moments = {key: [moment.clone() for moment in slices.moments[key]] for key in STATE_KEYS[rule.optimizer]}
        counts = [slices.counts.get(name, 0) + 1 for name in slices.names]
        _move(weights, _decayed(slices, grads, rule), moments, counts, rule)
    try:
        yield
    finally:
        with torch.no_grad():
            _copy_(weights, saved)


def _decayed(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> list[Tensor]:
    """Return g + d·w; the given gradients stay as they are, since trial and commit share them."""
    if rule.weight_decay == 0 or slices.num_decaying == 0:
        return list(grads)
    n = slices.num_decaying
    return [*_add(list(grads[:n]), list(slices.weights[:n]), alpha=rule.weight_decay), *grads[n:]]


def _move(weights: list[Tensor], direction: list[Tensor], moments: _Moments, counts: list[int], rule: UpdateRule) -> None:
    """Step `weights` and `moments` in place; `counts` are Adam's updates with this one."""
    match rule.optimizer:
        case "sgd":
            _move_sgd(weights, direction, moments["momentum_buffer"], rule)
        case "rmsprop":
            _move_rmsprop(weights, direction, moments["square_avg"], rule)
        case "adam":
            _move_adam(weights, direction, moments, counts, rule)


def _move_sgd(weights: list[Tensor], direction: list[Tensor], buffers: list[Tensor], rule: UpdateRule) -> None:
    if rule.momentum != 0:
        _mul_(buffers, rule.momentum)
        _add_(buffers, direction)
        direction = buffers
    _add_(weights, direction, alpha=-rule.learning_rate)


def _move_rmsprop(weights: list[Tensor], direction: list[Tensor], squares: list[Tensor], rule: UpdateRule) -> None:
    _mul_(squares, ALPHA)
    _addcmul_(squares, direction, direction, value=1 - ALPHA)
    scales = list(_sqrt(squares))
    _add_(scales, EPSILON)
    _addcdiv_(weights, direction, scales, value=-rule.learning_rate)


def _move_adam(weights: list[Tensor], direction: list[Tensor], moments: _Moments, counts: list[int], rule: UpdateRule) -> None:
    averages, squares = moments["exp_avg"], moments["exp_avg_sq"]
    _lerp_(averages, direction, 1 - rule.momentum)
    _mul_(squares, BETA2)
    _addcmul_(squares, direction, direction, 1 - BETA2)
    scales = list(_sqrt(squares))
    _div_(scales, [(1 - BETA2**count) ** 0.5 for count in counts])
    _add_(scales, EPSILON)
    _addcdiv_(weights, averages, scales, [-rule.learning_rate / (1 - rule.momentum**count) for count in counts])

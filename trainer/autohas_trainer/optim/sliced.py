"""Updates on slices of shared tensors, in place: SGD, RMSprop, Adam and AdamW.

Called by the supernet with the views that one path samples: decay and moments touch those views and nothing else. On a CPU a path that is
the whole network moves bit for bit as a stand-alone one: AdamW by torch's fused kernel (see `fused`), the others by the operations of
torch.optim (foreach) in their order. An accelerator's buffer takes those for AdamW too.

Adam corrects the bias of its moments by the updates that each cell of a tensor had (see `cells`): a count per tensor would be too large for
slices that are sampled less often than others, and their steps with it. RMSprop and SGD correct nothing, so they count nothing: what they
keep is kept per element already. Knows nothing of paths or losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.optim.cells import Cells, Piece
from autohas_trainer.optim.fused import move_adamw
from autohas_trainer.optim.rule import STATE_KEYS, UpdateRule, counts_updates, decays

__all__ = ["Slices", "apply_update", "look_ahead", "temporary_update"]

ALPHA: Final = 0.99

# torch keeps its multi-tensor operations under a leading underscore; torch.optim is built on them and so are we.
_add = torch._foreach_add  # noqa: SLF001
_sqrt = torch._foreach_sqrt  # noqa: SLF001
_add_ = torch._foreach_add_
_addcdiv_ = torch._foreach_addcdiv_
_addcmul = torch._foreach_addcmul  # noqa: SLF001
_addcmul_ = torch._foreach_addcmul_
_copy_ = torch._foreach_copy_
_div_ = torch._foreach_div_
_lerp_ = torch._foreach_lerp_
_mul_ = torch._foreach_mul_

_Moments = Mapping[str, list[Tensor]]
_Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """What one update touches: views of the shared weights and of their moments, in the same order and shapes.

    Decaying tensors stand first, so that decay is one operation over a prefix.

    Attributes:
        weights: Views of the weights.
        moments: Views of the moments by torch's name for them; of the optimizers in use only.
        cells: Adam's updates so far, in the same order; changed by `apply_update`. None where Adam is not in use.
        num_decaying: How many of the weights decay.
    """

    weights: tuple[Tensor, ...]
    moments: Mapping[str, tuple[Tensor, ...]]
    cells: Cells | None
    num_decaying: int

    def __post_init__(self) -> None:
        """Hold the order that `num_decaying` promises."""
        flags = [decays(weight.ndim) for weight in self.weights]
        lengths = {len(self.weights), *map(len, self.moments.values())}
        if len(lengths) > 1 or flags != sorted(flags, reverse=True) or sum(flags) != self.num_decaying:
            message = "slices must pair weights with moments, decaying tensors first"
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
    counts = _next_counts(slices, rule)
    _move(slices, _decay(slices, grads, rule), moments, counts, rule)
    if slices.cells is not None and counts is not None:
        slices.cells.put(counts)


@torch.no_grad()
def look_ahead(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> None:
    """As `apply_update`, but Adam's counts stay: for weights and moments that the caller puts back."""
    moments = {key: list(slices.moments[key]) for key in STATE_KEYS[rule.optimizer]}
    _move(slices, _decay(slices, grads, rule), moments, _next_counts(slices, rule), rule)


@contextmanager
def temporary_update(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> Iterator[None]:
    """Hold the weights at W* = update(W) inside the block; afterwards they are W again, bit for bit.

    Moments are computed on copies, so only weights need restoring. Restored by copy: subtracting the step again would leave rounding
    behind, and NaN forever.
    """
    weights = list(slices.weights)
    with torch.no_grad():
        saved = [weight.clone() for weight in weights]
        moments = {key: tuple(moment.clone() for moment in slices.moments[key]) for key in STATE_KEYS[rule.optimizer]}
        look_ahead(replace(slices, moments=moments), grads, rule)
    try:
        yield
    finally:
        with torch.no_grad():
            _copy_(weights, saved)


def _decay(slices: Slices, grads: Sequence[Tensor], rule: UpdateRule) -> list[Tensor]:
    """Return g + d·w, of adamw g; the given gradients stay as they are, since trial and commit share them."""
    if rule.optimizer == "adamw":
        return list(grads)
    grads = [grad.contiguous() for grad in grads]  # those of a narrow matrix lie transposed, and mixed layouts are slow
    n = _num_decaying(slices, rule)
    if n == 0:
        return grads
    return [*_add(grads[:n], list(slices.weights[:n]), alpha=rule.weight_decay), *grads[n:]]


def _num_decaying(slices: Slices, rule: UpdateRule) -> int:
    """Return how many of the weights, the first ones, decay under `rule`."""
    if rule.weight_decay == 0:
        return 0
    return len(slices.weights) if rule.decays_vectors else slices.num_decaying


def _next_counts(slices: Slices, rule: UpdateRule) -> _Counts | None:
    """Return Adam's updates of each cell with this one; None for rules that count nothing."""
    if not counts_updates(rule.optimizer):
        return None
    if slices.cells is None:
        message = f"slices without cells cannot be moved by {rule.optimizer}"
        raise ValueError(message)
    return slices.cells.current() + 1


def _move(slices: Slices, direction: list[Tensor], moments: _Moments, counts: _Counts | None, rule: UpdateRule) -> None:
    """Step the weights of `slices` and `moments` in place; `counts` are Adam's updates of each cell with this one."""
    weights = list(slices.weights)
    match rule.optimizer:
        case "sgd":
            _move_sgd(weights, direction, moments["momentum_buffer"], rule)
        case "rmsprop":
            _move_rmsprop(weights, direction, moments["square_avg"], rule)
        case "adam" | "adamw":
            assert slices.cells is not None  # noqa: S101 - `_next_counts` has asked
            assert counts is not None  # noqa: S101
            n = _num_decaying(slices, rule) if rule.optimizer == "adamw" else 0
            if rule.optimizer == "adamw" and slices.cells.is_divisible:
                tensors = list(zip(weights, direction, moments["exp_avg"], moments["exp_avg_sq"], strict=True))
                move_adamw(slices.cells.divide(counts, tensors[:n]), rule, rule.weight_decay)
                move_adamw(slices.cells.divide(counts, tensors[n:], n), rule, 0.0)
            else:
                if n:
                    _mul_(weights[:n], 1 - rule.learning_rate * rule.weight_decay)
                _move_adam(weights, direction, moments, _Corrections(slices.cells, counts), rule)


def _move_sgd(weights: list[Tensor], direction: list[Tensor], buffers: list[Tensor], rule: UpdateRule) -> None:
    if rule.momentum != 0:
        _mul_(buffers, rule.momentum)
        _add_(buffers, direction)
        direction = list(_add(direction, buffers, alpha=rule.momentum)) if rule.is_nesterov else buffers
    _add_(weights, direction, alpha=-rule.learning_rate)


def _move_rmsprop(weights: list[Tensor], direction: list[Tensor], squares: list[Tensor], rule: UpdateRule) -> None:
    _mul_(squares, ALPHA)
    _addcmul_(squares, direction, direction, value=1 - ALPHA)
    scales = list(_sqrt(squares))
    _add_(scales, rule.epsilon)
    _addcdiv_(weights, direction, scales, value=-rule.learning_rate)


def _move_adam(weights: list[Tensor], direction: list[Tensor], moments: _Moments, corrections: _Corrections, rule: UpdateRule) -> None:
    averages, squares = moments["exp_avg"], moments["exp_avg_sq"]
    _lerp_(averages, direction, 1 - rule.momentum)
    _mul_(squares, rule.beta2)
    _addcmul_(squares, direction, direction, 1 - rule.beta2)
    scales = list(_sqrt(squares))
    places, counts = corrections.common()
    if places:
        even = [scales[place] for place in places]
        _div_(even, [(1 - rule.beta2**count) ** 0.5 for count in counts])
        _add_(even, rule.epsilon)
        rates = [-rule.learning_rate / (1 - rule.momentum**count) for count in counts]
        _addcdiv_([weights[place] for place in places], [averages[place] for place in places], even, rates)
    if len(places) < len(weights):
        rest = sorted(set(range(len(weights))).difference(places))
        pieces = corrections.spread(rest, rule)
        factors, summands = ([piece.numbers[number] for piece in pieces] for number in (0, 1))
        divisors = list(_addcmul(summands, [piece.of(scales) for piece in pieces], factors))
        _addcdiv_([piece.of(weights) for piece in pieces], [piece.of(averages) for piece in pieces], divisors, value=-rule.learning_rate)


@dataclass(frozen=True, slots=True)
class _Corrections:
    """The bias of Adam's moments, per cell: `counts` are the updates with this one."""

    cells: Cells
    counts: _Counts

    def common(self) -> tuple[list[int], list[int]]:
        """Return the places of the tensors whose cells all have one count, and that count."""
        counted = [(place, count) for place, count in enumerate(self.cells.common(self.counts)) if count is not None]
        return [place for place, _ in counted], [count for _, count in counted]

    def spread(self, places: Sequence[int], rule: UpdateRule) -> list[Piece]:
        """Return, per element, the factor a of the root of the squares and the summand e in m·r / (a·√s + e), for the other tensors.

        With n updates a = (1 - β1ⁿ) / √(1 - β2ⁿ) and e = (1 - β1ⁿ)·ε: the same as dividing both moments by their bias first.
        """
        first, second = 1 - rule.momentum**self.counts, np.sqrt(1 - rule.beta2**self.counts)
        return self.cells.spread(np.stack((first / second, first * rule.epsilon)), places)

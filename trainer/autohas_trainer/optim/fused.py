"""AdamW on slices by torch's fused kernel: it passes over weights, gradient and moments once, torch's multi-tensor operations 20 times.

The kernel takes dense tensors and one number of updates for each. So slices are divided into blocks of cells with equal counts (see
`cells`); a block that is not dense is copied, moved and copied back, few enough at a time to stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from autohas_trainer.optim.rule import UpdateRule

__all__ = ["move_adamw"]

_MAX_COPIED: Final = 2**18
"""Ours: elements of the blocks that are moved by one call, a large one apart: 4 MB with gradient and moments."""

# torch keeps its kernels under a leading underscore; torch.optim is built on them and so are we.
_adamw_ = torch._fused_adamw_
_copy_ = torch._foreach_copy_


_Block = tuple[int, tuple[Tensor, ...]]
"""The updates that every element has had with this one; weights, gradient and the two moments."""


def move_adamw(blocks: Sequence[_Block], rule: UpdateRule, weight_decay: float) -> None:
    """Move weights and moments one step, in place.

    Args:
        blocks: Updates of each element with this one; weights, gradient and the two moments, of one shape.
        rule: The numbers of this step; its own decay is not read.
        weight_decay: That of `blocks`.
    """
    batch: list[_Block] = []
    num_elements = 0
    for block in blocks:
        batch.append(block)
        num_elements += block[1][0].numel()
        if num_elements >= _MAX_COPIED:
            _move(batch, rule, weight_decay)
            batch, num_elements = [], 0
    if batch:
        _move(batch, rule, weight_decay)


def _move(blocks: Sequence[_Block], rule: UpdateRule, weight_decay: float) -> None:
    views = list(zip(*(of_block for _, of_block in blocks), strict=True))
    weights, gradients, averages, squares = ([view if view.is_contiguous() else view.contiguous() for view in kind] for kind in views)
    _adamw_(
        weights,
        gradients,
        averages,
        squares,
        [],
        torch.tensor([count for count, _ in blocks], dtype=torch.float32).unbind(),
        lr=rule.learning_rate,
        beta1=rule.momentum,
        beta2=rule.beta2,
        weight_decay=weight_decay,
        eps=rule.epsilon,
        amsgrad=False,
        maximize=False,
    )
    moved = (views[0], weights), (views[2], averages), (views[3], squares)
    copies = [pair for kind, tensors in moved for pair in zip(kind, tensors, strict=True) if pair[0] is not pair[1]]
    if copies:
        _copy_([view for view, _ in copies], [tensor for _, tensor in copies])

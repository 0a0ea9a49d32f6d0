"""What one path samples of the shared tensors, as views into them: the form of a CPU.

Ours: view leaves. A leaf is `shared[name][index].detach().requires_grad_()`: the gradient is taken with respect to the slice, and the
update writes through the view. No zero-padded gradients, no optimizer pass over unsampled weights. A CPU runs the operations of an
update tensor by tensor anyway, so gathering the slices first would only add to them (docs/decisions/trainer.md has the measurement).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch
from torch import Tensor

from autohas_trainer.optim import STATE_KEYS, OptimizerName, Slices, UpdateRule, apply_update, counts_updates, temporary_update
from autohas_trainer.optim.cells import Cells

__all__ = ["Cut", "ViewCut", "puts_back_counts"]


class Cut(Protocol):
    """The slices of one path: leaves that gradients are taken at, and what is done to them; see the methods of `Supernet`."""

    @property
    def leaves(self) -> Mapping[str, Tensor]:
        """Leaves by name, decaying ones first: float32, requiring gradients."""

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Set the weights of every leaf."""

    def trial(self, grads: Mapping[str, Tensor], rule: UpdateRule) -> AbstractContextManager[None]:
        """Hold the leaves at update(W, grads, rule) inside the block."""

    def commit(self, grads: Mapping[str, Tensor], rule: UpdateRule) -> None:
        """Move weights and moments one step."""

    def revertible(self, optimizer: OptimizerName) -> AbstractContextManager[Callable[[], None]]:
        """Yield a function that puts weights and the optimizer's moments back to what they are now."""


class ViewCut:
    """A cut whose leaves and moments are views of the shared tensors."""

    def __init__(self, leaves: Mapping[str, Tensor], slices: Slices) -> None:
        """`slices` holds the same leaves in the same order, with their moments."""
        self.leaves = leaves
        self._slices = slices

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Copy into the shared tensors."""
        for name, leaf in self.leaves.items():
            leaf.copy_(weights[name])

    @contextmanager
    def trial(self, grads: Mapping[str, Tensor], rule: UpdateRule) -> Iterator[None]:
        """Change the shared weights inside the block."""
        with temporary_update(self._slices, [grads[name] for name in self.leaves], rule):
            yield

    def commit(self, grads: Mapping[str, Tensor], rule: UpdateRule) -> None:
        """Move the shared tensors in place."""
        apply_update(self._slices, [grads[name] for name in self.leaves], rule)

    @contextmanager
    def revertible(self, optimizer: OptimizerName) -> Iterator[Callable[[], None]]:
        """Copy every view now, and back when the function is called."""
        live = [*self._slices.weights, *(moment for key in STATE_KEYS[optimizer] for moment in self._slices.moments[key])]
        saved, put_back_counts = [tensor.detach().clone() for tensor in live], puts_back_counts(self._slices.cells, optimizer)

        @torch.no_grad()
        def revert() -> None:
            for tensor, value in zip(live, saved, strict=True):
                tensor.copy_(value)
            put_back_counts()

        yield revert


def puts_back_counts(cells: Cells | None, optimizer: OptimizerName) -> Callable[[], None]:
    """Return a function that puts the counts of an optimizer that counts back to what they are now; for others it does nothing."""
    if cells is None or not counts_updates(optimizer):
        return lambda: None
    counts = cells.current()
    return lambda: cells.put(counts)

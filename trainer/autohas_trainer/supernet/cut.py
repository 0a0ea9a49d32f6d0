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

__all__ = ["Cut", "ViewCut", "discount_update"]


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

    def revertible(self, optimizer: OptimizerName) -> AbstractContextManager[Callable[[Tensor], None]]:
        """Yield a function that puts weights and the optimizer's moments back to what they are now, unless its argument is true."""

    def discount(self, optimizer: OptimizerName) -> None:
        """Take one update back from the counts of an optimizer that counts; for others it does nothing."""


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
    def revertible(self, optimizer: OptimizerName) -> Iterator[Callable[[Tensor], None]]:
        """Copy every view now, and back when the function is called."""
        live = [*self._slices.weights, *(moment for key in STATE_KEYS[optimizer] for moment in self._slices.moments[key])]
        saved = [tensor.detach().clone() for tensor in live]

        @torch.no_grad()
        def revert_unless(is_kept: Tensor) -> None:
            for tensor, value in zip(live, saved, strict=True):
                tensor.copy_(torch.where(is_kept, tensor, value))

        yield revert_unless

    def discount(self, optimizer: OptimizerName) -> None:
        """Lower the counts of the path's cells."""
        discount_update(self._slices.cells, optimizer)


def discount_update(cells: Cells | None, optimizer: OptimizerName) -> None:
    """Lower the counts of `cells` by one, if the optimizer counts its updates."""
    if cells is not None and counts_updates(optimizer):
        cells.put(cells.current() - 1)

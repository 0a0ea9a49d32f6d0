"""What one path samples of the shared tensors, gathered into one buffer: the form of an accelerator.

A multi-tensor operation on an accelerator is one kernel only where every tensor is dense; one narrow slice among them makes it a kernel
for each tensor. So the path is gathered into a buffer by one kernel, leaves are views of the buffer, a trial changes and restores the
buffer, and a commit scatters it. The operations on weights are those of `optim.sliced`, in its order; a step launches as many kernels
for many leaves as for few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.data.examples.transfer import put_on
from autohas_trainer.optim import STATE_KEYS, OptimizerName, Slices, UpdateRule, apply_update, decays, look_ahead
from autohas_trainer.optim.cells import DenseCells, UpdateCounts
from autohas_trainer.supernet.cut import discount_update
from autohas_trainer.templates import Index

__all__ = ["Arena", "DenseCut"]

_ALIGNMENT: Final = 16
"""Elements: tensors of an arena begin at multiples of 64 bytes, as those of torch's allocators do."""
_WIDE_LOADS: Final = 4
"""Elements that a kernel loads at once where a tensor begins at a multiple of them."""

_Integers = npt.NDArray[np.int64]


class Arena:
    """Named tensors in one allocation."""

    def __init__(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Copy `tensors`, all float32, to the device."""
        sizes = [math.ceil(tensor.numel() / _ALIGNMENT) * _ALIGNMENT for tensor in tensors.values()]
        self.offsets = dict(zip(tensors, (0, *accumulate(sizes)), strict=False))  # the last end begins no tensor
        """Where each tensor begins in `flat`."""
        self.flat = torch.zeros(sum(sizes), dtype=torch.float32, device=device)
        self.tensors = {name: self.flat[self.offsets[name] :][: tensor.numel()].view(tensor.shape) for name, tensor in tensors.items()}
        """The tensors by name: views of `flat`."""
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The slices of a path in one buffer: names, shapes and sizes in the order of the update, and the place of each element."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    sizes: tuple[int, ...]
    places: Tensor
    """(P,) int64 on the device: where each element of the buffer stands in an arena."""

    def split(self, buffer: Tensor) -> tuple[Tensor, ...]:
        """(P,) as dense tensors of the shapes of the slices: views."""
        return tuple(part.view(shape) for part, shape in zip(buffer.split_with_sizes(self.sizes), self.shapes, strict=True))


class DenseCut:
    """A cut whose leaves are views of one buffer. The shared tensors change by `put`, `commit` and a revert only.

    The buffer holds what the shared tensors were when the cut was made, so a cut is used until another one commits, and no longer.
    """

    def __init__(self, weights: Arena, moments: Mapping[str, Arena], indices: Mapping[str, Index], counts: UpdateCounts | None) -> None:
        """Gather the weights; `indices` are the path's slices by name."""
        self._weights, self._moments = weights, moments
        self._layout = _lay_out(weights, indices)
        self._buffer = self._gather(weights)
        self._cells = None if counts is None else DenseCells(counts, {name: indices[name] for name in self._layout.names})
        parts = self._layout.split(self._buffer)
        self._parts = parts
        self.leaves = {name: part.detach().requires_grad_() for name, part in zip(self._layout.names, parts, strict=True)}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Copy into the buffer, then into the shared tensors."""
        self._buffer.copy_(self._join(weights))
        self._scatter(self._weights, self._buffer)

    @contextmanager
    def trial(self, grads: Mapping[str, Tensor], rule: UpdateRule) -> Iterator[None]:
        """Change the buffer inside the block; the shared tensors stay."""
        with torch.no_grad():
            saved = self._buffer.clone()
            look_ahead(self._slices(self._gather_moments(rule.optimizer)), self._gradients(grads), rule)
        try:
            yield
        finally:
            with torch.no_grad():
                self._buffer.copy_(saved)

    @torch.no_grad()
    def commit(self, grads: Mapping[str, Tensor], rule: UpdateRule) -> None:
        """Move the buffer and gathered moments, then scatter both."""
        moments = self._gather_moments(rule.optimizer)
        apply_update(self._slices(moments), self._gradients(grads), rule)
        self._scatter(self._weights, self._buffer)
        for key, buffer in moments.items():
            self._scatter(self._moments[key], buffer)

    @contextmanager
    def revertible(self, optimizer: OptimizerName) -> Iterator[Callable[[Tensor], None]]:
        """Keep copies of the buffers; the function scatters them."""
        with torch.no_grad():
            saved, moments = self._buffer.clone(), self._gather_moments(optimizer)

        @torch.no_grad()
        def revert_unless(is_kept: Tensor) -> None:
            self._buffer.copy_(torch.where(is_kept, self._buffer, saved))
            self._scatter(self._weights, self._buffer)
            for key, buffer in moments.items():
                self._scatter(self._moments[key], torch.where(is_kept, self._gather(self._moments[key]), buffer))

        yield revert_unless

    def discount(self, optimizer: OptimizerName) -> None:
        """Lower the counts of the path's cells."""
        discount_update(self._cells, optimizer)

    def _slices(self, moments: Mapping[str, Tensor]) -> Slices:
        return Slices(
            weights=self._parts,
            moments={key: self._layout.split(buffer) for key, buffer in moments.items()},
            cells=self._cells,
            num_decaying=sum(decays(len(shape)) for shape in self._layout.shapes),
        )

    def _gradients(self, grads: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return self._layout.split(self._join(grads))

    def _join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([tensors[name].reshape(-1) for name in self._layout.names])

    def _gather_moments(self, optimizer: OptimizerName) -> dict[str, Tensor]:
        return {key: self._gather(self._moments[key]) for key in STATE_KEYS[optimizer]}

    def _gather(self, arena: Arena) -> Tensor:
        return arena.flat.index_select(0, self._layout.places)

    def _scatter(self, arena: Arena, buffer: Tensor) -> None:
        arena.flat.index_copy_(0, self._layout.places, buffer)


def _lay_out(weights: Arena, indices: Mapping[str, Index]) -> _Layout:
    """Decaying slices first, and among them those first after which the next one begins where wide loads are possible."""
    shapes = {name: weights.tensors[name][index].shape for name, index in indices.items()}
    names = sorted(indices, key=lambda name: (not decays(len(shapes[name])), shapes[name].numel() % _WIDE_LOADS != 0))
    starts, lengths = [], []
    for name in names:
        first, length = _runs(tuple(weights.tensors[name].shape), indices[name])
        starts.append(weights.offsets[name] + first)
        lengths.append(np.full(first.size, length))
    repeats = np.concatenate(lengths)
    offset = np.concatenate(starts) - (np.cumsum(repeats) - repeats)  # from the place in the buffer to that in the arena
    device, size = weights.flat.device, int(repeats.sum())
    offsets, times = put_on(torch.from_numpy(np.stack((offset, repeats))), device).unbind()
    places = offsets.repeat_interleave(times, output_size=size).add_(torch.arange(size, device=device))
    ordered = tuple(shapes[name] for name in names)
    return _Layout(tuple(names), ordered, tuple(shape.numel() for shape in ordered), places)


def _runs(shape: tuple[int, ...], index: Index) -> tuple[_Integers, int]:
    """(where the runs of elements that lie one after another in a contiguous tensor begin, elements of each run) of a slice."""
    length, starts, stride, is_whole = 1, np.zeros(1, dtype=np.int64), 1, True
    for size, part in zip(reversed(shape), reversed(index), strict=True):
        if is_whole:  # every dimension behind this one is whole, so that this one continues the run
            length, starts = length * (part.stop - part.start), starts + part.start * stride
        else:
            starts = (np.arange(part.start, part.stop)[:, None] * stride + starts[None, :]).reshape(-1)
        is_whole = is_whole and part.start == 0 and part.stop == size
        stride *= size
    return starts, length

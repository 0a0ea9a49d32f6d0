"""Number of Adam updates of each part of each shared tensor.

Every cut that a path makes in a shared tensor, in any of its dimensions, is a line of a grid; the cells between the lines have been
updated equally often at each of their elements, because every update so far touched whole cells. So one number per cell is exact, and
few numbers are enough: a kernel tensor of `conv-small` has up to a few hundred cells. A new cut splits cells in two that keep their count.

Called by `sliced` with the cells of one path. Knows nothing of weights, moments or rates.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.data.examples.transfer import put_on

__all__ = ["Cells", "DenseCells", "Piece", "UpdateCounts"]

Index = tuple[tuple[int, int], ...]
"""Where a slice begins and ends, per dimension."""
Counts = npt.NDArray[np.int64]


_LARGE: Final = 2**14
"""Elements from which on a tensor is moved in pieces; below, the operations that this adds cost more than the numbers that it saves."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Numbers (K, ...), to be broadcast over `rows` of the tensor at `place` in the order of the update."""

    place: int
    rows: slice
    numbers: Tensor

    def of(self, tensors: Sequence[Tensor]) -> Tensor:
        """The rows of one of `tensors`, which are in the order of the update."""
        tensor = tensors[self.place]
        return tensor if self.rows == slice(None) else tensor[self.rows]


Views = tuple[Tensor, ...]
"""Views of one part of several tensors of one shape."""


@dataclass(frozen=True)
class _Part:
    """The part of a grid that one slice covers.

    `places` are its cells in the block of its tensor, flat; `shape` is theirs as a grid. `lengths` are the elements of each cell per
    dimension; `device` is where the weights lie.
    """

    places: Counts
    shape: tuple[int, ...]
    lengths: tuple[Counts, ...]
    device: torch.device

    @cached_property
    def sizes(self) -> tuple[list[int], ...]:
        """`lengths` as numbers of Python."""
        return tuple(of_one.tolist() for of_one in self.lengths)

    @cached_property
    def elements(self) -> tuple[Tensor | None, ...]:
        """The cell of each element per dimension, None in a dimension of one cell."""
        cells = (None if of_one.size == 1 else np.repeat(np.arange(of_one.size), of_one) for of_one in self.lengths)
        return tuple(None if of_one is None else torch.from_numpy(of_one).to(self.device) for of_one in cells)

    def runs(self) -> tuple[Counts, Counts]:
        """Cell and length of each run of elements that lie one after another in memory and in one cell, where the slice is dense."""
        cells = np.arange(self.places.size).reshape(self.shape)
        for dimension, lengths in enumerate(self.lengths[:-1]):
            cells = np.repeat(cells, lengths, axis=dimension)
        last = self.lengths[-1] if self.lengths else np.ones(1, dtype=np.int64)
        return cells.reshape(-1), np.tile(last, cells.size // last.size)


class UpdateCounts:
    """The counts of all shared tensors: one array over all cells, of which each tensor has a block in the shape of its grid."""

    def __init__(self, shapes: Mapping[str, Sequence[int]], device: torch.device) -> None:
        """Start at 0, each tensor one cell; `device` is where the weights lie."""
        self.device = device
        self.version = 0
        """Grows with every cut, since it moves cells to other places of `flat`."""
        self._bounds = {name: [[0, size] for size in shape] for name, shape in shapes.items()}
        self._parts: dict[str, dict[Index, _Part]] = {name: {} for name in shapes}
        self._lay_out({name: np.zeros([1] * len(shape), dtype=np.int64) for name, shape in shapes.items()})

    def _lay_out(self, blocks: Mapping[str, Counts]) -> None:
        """Take the counts of every tensor."""
        self.flat: Counts = np.concatenate([block.reshape(-1) for block in blocks.values()])
        self._shapes = {name: block.shape for name, block in blocks.items()}
        ends = np.cumsum([block.size for block in blocks.values()]).tolist()
        self.offsets = dict(zip(blocks, (0, *ends), strict=False))  # the last end begins no block
        """Where the block of each tensor begins in `flat`."""
        self.version += 1

    def _blocks(self) -> dict[str, Counts]:
        """The counts of every tensor in the shape of its grid."""
        return {name: self.flat[self.offsets[name] :][: math.prod(shape)].reshape(shape) for name, shape in self._shapes.items()}

    def parts(self, indices: Mapping[str, Index]) -> list[_Part]:
        """The parts of a path's slices; draws the lines that they need, whose cells keep their counts."""
        unknown = {name: index for name, index in indices.items() if index not in self._parts[name]}
        if unknown:
            self._cut(unknown)
            for name, index in unknown.items():
                self._parts[name][index] = self._part(name, index)
        return [self._parts[name][index] for name, index in indices.items()]

    def _cut(self, indices: Mapping[str, Index]) -> None:
        cut: dict[str, Counts] = {}
        blocks = self._blocks()
        for name, index in indices.items():
            for dimension, part in enumerate(index):
                bounds = self._bounds[name][dimension]
                for bound in part:
                    place = bisect_left(bounds, bound)
                    if bounds[place] != bound:
                        block = cut.get(name, blocks[name])
                        cut[name] = np.insert(block, place, block.take(place - 1, axis=dimension), axis=dimension)
                        bounds.insert(place, bound)
        for name in cut:
            self._parts[name].clear()
        if cut:
            self._lay_out(blocks | cut)

    def _part(self, name: str, index: Index) -> _Part:
        spans = [
            (bounds, bisect_left(bounds, start), bisect_left(bounds, stop))
            for bounds, (start, stop) in zip(self._bounds[name], index, strict=True)
        ]
        block = np.arange(math.prod(self._shapes[name])).reshape(self._shapes[name])
        places = block[tuple(slice(first, last) for _, first, last in spans)]
        lengths = tuple(np.diff(bounds[first : last + 1]) for bounds, first, last in spans)
        return _Part(places.reshape(-1), places.shape, lengths, self.device)

    def state_dict(self) -> dict[str, Tensor]:
        """Return `counts/<tensor>`, one number per cell, and `bounds/<tensor>`, the lines of each dimension one after another."""
        state = {f"counts/{name}": torch.from_numpy(block.copy()) for name, block in self._blocks().items()}
        lines = {name: [bound for dimension in bounds for bound in dimension] for name, bounds in self._bounds.items()}
        return state | {f"bounds/{name}": torch.tensor(bounds, dtype=torch.int64) for name, bounds in lines.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`.

        Raises:
            ValueError: The lines or the counts of a tensor are not those of its shape; names it; nothing was changed.
        """
        read = {name: _read_bounds(state[f"bounds/{name}"].tolist()) for name in self._bounds}
        counts = {name: np.asarray(state[f"counts/{name}"].numpy().copy(), dtype=np.int64) for name in self._bounds}
        for name, bounds in read.items():
            sizes = [dimension[-1] for dimension in self._bounds[name]]
            is_grid = [dimension[-1] for dimension in bounds] == sizes and all(b > a for line in bounds for a, b in pairwise(line))
            if not is_grid or counts[name].shape != tuple(len(dimension) - 1 for dimension in bounds):
                message = f"{name}: lines {bounds} and {counts[name].shape} counts are no grid over {tuple(sizes)}"
                raise ValueError(message)
        self._bounds = read
        for parts in self._parts.values():
            parts.clear()
        self._lay_out(counts)


class Cells:
    """The cells of one path's slices, tensor by tensor in the order of the update."""

    is_divisible: ClassVar[bool] = True
    """Whether to `divide` costs less than to `spread`."""

    def __init__(self, counts: UpdateCounts, slices: Mapping[str, tuple[slice, ...]]) -> None:
        """Cut nothing yet: a path that Adam never moves has no lines. Vectors must stand last, as in `sliced.Slices`."""
        self._counts = counts
        self._indices = {name: tuple((part.start, part.stop) for part in parts) for name, parts in slices.items()}
        self._version = self._version_of_vectors = -1

    def current(self) -> Counts:
        """The updates so far of every cell, one tensor's after another's; a copy."""
        self._look_up()
        return np.asarray(self._counts.flat[self._places])

    def put(self, values: Counts) -> None:
        """Set the updates of every cell; in the order of `current`."""
        self._look_up()
        self._counts.flat[self._places] = values

    def _look_up(self) -> None:
        """Find the cells, drawing the lines that are missing; again only when some path has drawn more."""
        if self._version == self._counts.version:
            return
        self._parts = self._counts.parts(self._indices)
        sizes = [part.places.size for part in self._parts]
        offsets = np.repeat([self._counts.offsets[name] for name in self._indices], sizes)
        self._places = np.concatenate([part.places for part in self._parts]) + offsets
        self._bounds = [0, *accumulate(sizes)]
        self._version = self._counts.version

    def _look_up_vectors(self) -> None:
        """Find the cell of each element of the vectors, the last of the order.

        They lie end to end: they are most of the tensors, short, and one look-up serves them all.
        """
        if self._version_of_vectors == self._version:
            return
        self._first_vector = sum(len(part.shape) > 1 for part in self._parts)
        vectors = self._parts[self._first_vector :]
        each = [part.lengths[0] if part.lengths else np.ones(1, dtype=np.int64) for part in vectors]
        lengths = np.concatenate([np.zeros(0, dtype=np.int64), *each])
        self._vector_bounds = [0, *accumulate(int(of_one.sum()) for of_one in each)]
        cells = np.repeat(np.arange(self._bounds[self._first_vector], self._bounds[-1]), lengths)
        self._vector_elements = torch.from_numpy(cells).to(self._counts.device)
        self._version_of_vectors = self._version

    def divide(self, values: Counts, tensors: Sequence[Views], first: int = 0) -> list[tuple[int, Views]]:
        """Return a value and the views of the elements that have it, for every part of every tensor.

        Args:
            values: As `current` gives them.
            tensors: Tensors of one shape for each place of the order, from place `first` on.
            first: Place of the first of them.
        """
        divided: list[tuple[int, Views]] = []
        for place, views in enumerate(tensors, start=first):
            part, own = self._parts[place], values[self._bounds[place] : self._bounds[place + 1]]
            if own.size == 1:
                divided.append((int(own[0]), views))
            else:
                _divide(views, own.reshape(part.shape).tolist(), part.sizes, divided)
        return divided

    def common(self, values: Counts) -> list[int | None]:
        """Per tensor the count that all of its cells have, None where they differ; `values` as `current` gives them."""
        least, most = (reduce.reduceat(values, self._bounds[:-1]).tolist() for reduce in (np.minimum, np.maximum))
        return [low if low == high else None for low, high in zip(least, most, strict=True)]

    def spread(self, values: npt.NDArray[np.float64], tensors: Sequence[int]) -> list[Piece]:
        """Give every element the numbers of its cell, float32 on the device, for the tensors at these places of the order.

        A large tensor is given in pieces whose rows lie in the same cells: numbers of one row are enough for each.

        Args:
            values: (K, cells) numbers in the order of `current`.
            tensors: Places in the order of the update.

        Returns:
            Pieces that cover these tensors; in their numbers a dimension of one cell has length 1.
        """
        self._look_up_vectors()
        on_device = torch.from_numpy(values.astype(np.float32)).to(self._counts.device)
        vectors = on_device.index_select(1, self._vector_elements)
        pieces = []
        for tensor in tensors:
            if (place := tensor - self._first_vector) >= 0:
                numbers = vectors[:, self._vector_bounds[place] : self._vector_bounds[place + 1]]
                pieces.append(Piece(tensor, slice(None), numbers))
                continue
            part = self._parts[tensor]
            cells = on_device[:, self._bounds[tensor] : self._bounds[tensor + 1]].view(len(values), *part.shape)
            for dimension, elements in reversed(list(enumerate(part.elements[1:], start=2))):
                cells = cells if elements is None else cells.index_select(dimension, elements)
            if math.prod(int(of_one.sum()) for of_one in part.lengths) >= _LARGE:
                ends = accumulate(part.lengths[0].tolist(), initial=0)
                pieces += [Piece(tensor, slice(*rows), cells[:, row : row + 1]) for row, rows in enumerate(pairwise(ends))]
            else:
                cells = cells if part.elements[0] is None else cells.index_select(1, part.elements[0])
                pieces.append(Piece(tensor, slice(None), cells))
        return pieces


class DenseCells(Cells):
    """The cells of slices that lie one after another in one buffer: as many operations on the device for many tensors as for one."""

    is_divisible = False

    def spread(self, values: npt.NDArray[np.float64], tensors: Sequence[int]) -> list[Piece]:
        """As `Cells.spread`; every piece is a whole tensor, and no dimension is left to be broadcast."""
        runs = [part.runs() for part in self._parts]
        numbers = np.concatenate([cells + first for (cells, _), first in zip(runs, self._bounds, strict=False)])
        lengths = np.concatenate([of_one for _, of_one in runs])
        shapes = [tuple(int(of_one.sum()) for of_one in part.lengths) for part in self._parts]
        sizes = [math.prod(shape) for shape in shapes]
        device = self._counts.device
        places, repeats = put_on(torch.from_numpy(np.stack((numbers, lengths))), device).unbind()
        on_runs = put_on(torch.from_numpy(values.astype(np.float32)), device).index_select(1, places)
        parts = on_runs.repeat_interleave(repeats, dim=1, output_size=sum(sizes)).split_with_sizes(sizes, dim=1)
        return [Piece(tensor, slice(None), parts[tensor].view(len(values), *shapes[tensor])) for tensor in tensors]


def _divide(views: Views, values: Any, sizes: Sequence[Sequence[int]], divided: list[tuple[int, Views]]) -> None:  # noqa: ANN401 - lists in lists
    """Cut the last dimensions of `views`, as many as there are `sizes`, between neighbours of different `values`; add to `divided`."""
    if not sizes:
        divided.append((values, views))
        return
    runs: list[list[Any]] = []
    for inner, size in zip(values, sizes[0], strict=True):
        if runs and runs[-1][0] == inner:
            runs[-1][1] += size
        else:
            runs.append([inner, size])
    if len(runs) == 1:
        _divide(views, runs[0][0], sizes[1:], divided)
        return
    lengths = [length for _, length in runs]
    for (inner, _), *parts in zip(runs, *[view.split_with_sizes(lengths, -len(sizes)) for view in views], strict=True):
        _divide(tuple(parts), inner, sizes[1:], divided)


def _read_bounds(lines: Sequence[int]) -> list[list[int]]:
    """Return the lines of each dimension: every dimension begins at 0."""
    starts = [*(place for place, bound in enumerate(lines) if bound == 0), len(lines)]
    return [list(lines[start:stop]) for start, stop in pairwise(starts)]

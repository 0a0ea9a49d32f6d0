"""The supernet: full-size shared tensors, of which a step touches only the slices its path samples.

Called by the engine's step context, once per gradient, trial, commit and score. Knows nothing of policies, rewards or schedules.

A path is a `Cut`: views of the shared tensors on a CPU, one gathered buffer on an accelerator; the arithmetic is the same. A step of
conv-small costs 1.06 to 1.09 times its floor on a CPU (benchmarks/results), where a copy and a second gradient cost twice as much.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from autohas_trainer.data.batches import RewardBatch, SelectionBatch, TrainBatch
from autohas_trainer.errors import CheckpointError
from autohas_trainer.optim import STATE_KEYS, OptimizerName, Slices, UpdateRule, counts_updates, decays
from autohas_trainer.optim.cells import Cells, UpdateCounts
from autohas_trainer.seeding import Key
from autohas_trainer.supernet.cut import Cut, ViewCut
from autohas_trainer.supernet.dense import Arena, DenseCut
from autohas_trainer.tasks import Task
from autohas_trainer.templates import Index, Path, Template

__all__ = ["Supernet"]

SGD: Final[OptimizerName] = "sgd"
_WEIGHTS: Final = "weights"
_GRIDS: Final = ("counts/", "bounds/")
"""Names of what `UpdateCounts` keeps begin so."""
_Named = dict[str, Tensor]
_CutKey = tuple[str, *tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _View:
    """One slice of a shared tensor: the leaf that gradients are taken at, and its moments."""

    leaf: Tensor
    moments: dict[str, Tensor]


class Supernet:
    """Shared weights of a template with their moments, one set per optimizer in use, on one device.

    Tensors stay where they are for the life of the object: updates and `load_state_dict` write in place, so views never go stale.
    """

    _MAX_CUTS = 4096

    def __init__(  # noqa: PLR0913 - what a network is, what it learns, where and how
        self,
        template: Template,
        task: Task,
        rng_key: Key,
        device: torch.device,
        *,
        dtype: torch.dtype | None = None,
        optimizers: Collection[OptimizerName] = (SGD,),
        is_dense: bool | None = None,
    ) -> None:
        """Initialise the shared weights.

        Args:
            template: The family of networks.
            task: What they minimise and are rewarded for.
            rng_key: Names the initialisation stream.
            device: Where weights, moments and batches live.
            dtype: `torch.bfloat16` computes forwards under autocast; None computes in float32. Weights are always float32. Searches
                give None; the other is there for the test of the autocast trap (see `_autocast`).
            optimizers: The kinds of rule that `trial` and `commit` may be given.
            is_dense: Whether a path is gathered into a buffer; None: on every device but a CPU. The other values are there for tests.
        """
        self._template = template
        self._task = task
        self._device = device
        self._dtype = dtype
        self._is_dense = device.type != "cpu" if is_dense is None else is_dense
        weights = template.shared(rng_key)
        keys = sorted({key for optimizer in optimizers for key in STATE_KEYS[optimizer]})
        self._arenas, self._weights, self._moments = _place(weights, keys, device, is_dense=self._is_dense)
        shapes = {name: tuple(weight.shape) for name, weight in self._weights.items()}
        self._counts = UpdateCounts(shapes, device) if any(map(counts_updates, optimizers)) else None
        self._views: dict[_CutKey, _View] = {}
        self._cuts: dict[tuple[str, ...], Cut] = {}

    def leaves(self, path: Path) -> Mapping[str, Tensor]:
        """Return the leaves of `path` by name: float32, requiring gradients; they hold its weights until another path is asked for."""
        return self._cut(path).leaves

    def gradient(self, path: Path, batch: TrainBatch, label_smoothing: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean training loss, a scalar tensor, and its gradient by leaf name.

        Only leaves get gradients, and the shared weights are not changed. Nothing waits for the device.
        """
        leaves = self._cut(path).leaves
        with torch.enable_grad():
            loss = self._training_loss(path, batch, label_smoothing)
            grads = torch.autograd.grad(loss, list(leaves.values()))
        return loss.detach(), dict(zip(leaves, grads, strict=True))

    def training_loss(self, path: Path, batch: TrainBatch, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss that `gradient` would, in the same mode, so that both can be compared; nothing is differentiated."""
        with torch.enable_grad():  # own modules are in training mode where gradients could be taken
            return self._training_loss(path, batch, label_smoothing).detach()

    def _training_loss(self, path: Path, batch: TrainBatch, label_smoothing: float) -> Tensor:
        with self._autocast():
            outputs_BK = self._template.forward(batch.inputs, path, self._cut(path).leaves)
            return self._task.training_losses(outputs_BK, batch.targets_B, label_smoothing).mean()

    @torch.no_grad()
    def adopt(self, path: Path, weights: Mapping[str, Tensor]) -> bool:
        """Begin from a trained stand-alone network: copy its parameters into the slices of `path`; moments and counts stay.

        Returns whether they fit: custom hyperparameters may change an own network, and then the shared weights stay as they are.
        """
        cut = self._cut(path)
        if {name: leaf.shape for name, leaf in cut.leaves.items()} != {name: weight.shape for name, weight in weights.items()}:
            return False
        cut.put(weights)
        return True

    def trial(self, path: Path, grads: Mapping[str, Tensor], rule: UpdateRule) -> AbstractContextManager[None]:
        """Hold the weights of `path` at update(W, grads, rule) inside the block; afterwards everything is as before, bit for bit."""
        return self._cut(path).trial(grads, rule)

    def commit(self, path: Path, grads: Mapping[str, Tensor], rule: UpdateRule) -> None:
        """Move the weights and the moments of `path` one step; what the path does not sample is untouched."""
        self._cut(path).commit(grads, rule)

    def revertible(self, path: Path, optimizer: OptimizerName) -> AbstractContextManager[Callable[[Tensor], None]]:
        """Yield a function that puts weights and the optimizer's moments of `path` back to what they are now, bit for bit.

        It does so unless its argument, a boolean scalar on the device, is true; nothing waits for the device. By copy, never by undoing
        the step: rounding would stay behind, and NaN forever. Adam's counts stay: see `discount`.
        """
        return self._cut(path).revertible(optimizer)

    def discount(self, path: Path, optimizer: OptimizerName) -> None:
        """Take an update that was put back from Adam's counts, before the next update: they are numbers of the host."""
        self._cut(path).discount(optimizer)

    @torch.no_grad()
    def loss_and_quality(self, path: Path, batch: TrainBatch | RewardBatch | SelectionBatch) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the mean quality of `path` on `batch`, scalar float32 tensors.

        A forward only, normalised by the batch's own statistics, reading the shared weights as they stand now. Nothing waits for the
        device: read the tensors when you need numbers.
        """
        with self._autocast():
            outputs_BK = self._template.forward(batch.inputs, path, self._cut(path).leaves)
            loss = self._task.losses(outputs_BK, batch.targets_B).mean()
        return loss, self._task.qualities(outputs_BK, batch.targets_B).mean()

    def state_dict(self) -> dict[str, Tensor]:
        """Return `weights/<leaf>`, `<moment>/<leaf>` and Adam's counts: live tensors, to be written before the next step."""
        tensors = {f"weights/{name}": weight for name, weight in self._weights.items()}
        for key, moments in self._moments.items():
            tensors |= {f"{key}/{name}": moment for name, moment in moments.items()}
        return tensors if self._counts is None else tensors | self._counts.state_dict()

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a saved state into the shared tensors; their memory, and so their alignment and sums, stay the same.

        Raises:
            CheckpointError: Names, shapes or types are not this supernet's; nothing was changed.
        """
        mine = self.state_dict()
        for name in sorted(mine.keys() | state.keys()):
            have, want = state.get(name), mine.get(name)
            is_count = name.startswith(_GRIDS)  # as many as there are cells
            if have is None or want is None or have.dtype != want.dtype or (have.shape != want.shape and not is_count):
                message = f"the checkpoint's supernet tensor {name} is {_describe(have)} where this search has {_describe(want)}"
                raise CheckpointError(message)
        if self._counts is not None:
            try:
                self._counts.load_state_dict(state)
            except ValueError as error:
                message = f"the checkpoint's counts of Adam's updates do not fit this search: {error}"
                raise CheckpointError(message) from error
        for name, tensor in mine.items():
            if not name.startswith(_GRIDS):
                tensor.copy_(state[name])
        if self._is_dense:
            self._cuts.clear()

    def _autocast(self) -> AbstractContextManager[Any]:
        """Open a region of our own, without its weight cache, whatever region the caller is in; none where none is open and none needed.

        Inside one region the cache returns the *old* value of a leaf that was changed in place, so a reward would not see the trial.
        """
        if self._dtype is None and not torch.is_autocast_enabled(self._device.type):
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype is not None, cache_enabled=False)

    def _view(self, name: str, index: Index) -> _View:
        """Return leaf and moment views of one slice, cut once: different paths share most of theirs."""
        key = (name, *(bound for part in index for bound in (part.start, part.stop)))
        view = self._views.get(key)
        if view is None:
            leaf = _slice(self._weights[name], index).detach().requires_grad_()
            view = self._views[key] = _View(leaf, {key: _slice(moments[name], index) for key, moments in self._moments.items()})
        return view

    def _cut(self, path: Path) -> Cut:
        """Return the cut of `path`: views are kept for many paths, a buffer for the latest one."""
        key = tuple(path[decision.name] for decision in self._template.decisions)
        cut = self._cuts.get(key)
        if cut is None:
            if len(self._cuts) >= (1 if self._is_dense else self._MAX_CUTS):
                self._cuts.clear()
            indices = self._template.slices(path)
            cut = self._cuts[key] = self._dense_cut(indices) if self._is_dense else self._view_cut(indices)
        return cut

    def _dense_cut(self, indices: Mapping[str, Index]) -> DenseCut:
        moments = {key: self._arenas[key] for key in self._moments}
        return DenseCut(self._arenas[_WEIGHTS], moments, indices, self._counts)

    def _view_cut(self, indices: Mapping[str, Index]) -> ViewCut:
        """Cut views, decaying leaves first."""
        views = {name: self._view(name, index) for name, index in indices.items()}
        decaying = {name: view for name, view in views.items() if decays(view.leaf.ndim)}
        ordered = decaying | views
        slices = Slices(
            weights=tuple(view.leaf for view in ordered.values()),
            moments={moment: tuple(view.moments[moment] for view in ordered.values()) for moment in self._moments},
            cells=None if self._counts is None else Cells(self._counts, {name: indices[name] for name in ordered}),
            num_decaying=len(decaying),
        )
        return ViewCut({name: view.leaf for name, view in ordered.items()}, slices)


def _place(
    weights: Mapping[str, Tensor], kinds: Collection[str], device: torch.device, *, is_dense: bool
) -> tuple[dict[str, Arena], _Named, dict[str, _Named]]:
    """Return (arenas, none unless dense; weights; moments by kind, zeros) on the device."""
    if not is_dense:
        placed = {name: weight.to(device) for name, weight in weights.items()}
        return {}, placed, {kind: {name: torch.zeros_like(weight) for name, weight in placed.items()} for kind in kinds}
    arenas = {kind: Arena({name: torch.zeros_like(weight) for name, weight in weights.items()}, device) for kind in kinds}
    moments = {kind: arena.tensors for kind, arena in arenas.items()}
    arenas[_WEIGHTS] = Arena(weights, device)
    return arenas, arenas[_WEIGHTS].tensors, moments


def _slice(tensor: Tensor, index: Index) -> Tensor:
    """Return `tensor[index]` by one view in place of one for each dimension."""
    strides = tensor.stride()
    offset = sum(part.start * stride for part, stride in zip(index, strides, strict=True))
    return tensor.as_strided([part.stop - part.start for part in index], strides, tensor.storage_offset() + offset)


def _describe(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"

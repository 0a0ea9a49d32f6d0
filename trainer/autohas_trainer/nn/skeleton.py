"""A network without weights of its own: what a supernet calls with slices of shared tensors.

Parameters that train lie on the meta device, so that a thousand paths cost no memory; constants (buffers, persistent or not, and frozen
parameters) are kept, one copy for all paths where they are equal. Running statistics are gone: the batch's own stand for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import replace_all_batch_norm_modules_
from torch.overrides import TorchFunctionMode

from autohas_trainer.seeding import Key, seeded_block

__all__ = ["PathNetwork", "Skeleton", "Skeletons", "Slot", "build_seeded", "use_batch_statistics"]

_DRAWS: Final = frozenset(
    f"{name}_" for name in (
        "uniform", "normal", "trunc_normal", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "erfinv"
    )
)  # fmt: skip


class _WithoutDrawing(TorchFunctionMode):
    """Leaves parameters undefined where a function would fill them with random numbers: most of the time that making a layer takes."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the function gives
        """Call `func`, unless it draws into a parameter."""
        target = args[0] if args else (kwargs or {}).get("tensor")
        if isinstance(target, nn.Parameter) and getattr(func, "__name__", "") in _DRAWS:
            return target
        return func(*args, **(kwargs or {}))


def use_batch_statistics(module: nn.Module) -> nn.Module:
    """Set a network to evaluation with the batch's own statistics, as a supernet computes: dropout off, batch normalisation on."""
    module.eval()
    for inner in module.modules():
        if isinstance(inner, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the one base of all batch normalisations
            inner.train()
    return module


@lru_cache(maxsize=1024)
def _empty(shape: torch.Size, dtype: torch.dtype) -> nn.Parameter:
    """Return what stands for the weights of a layer between two calls: one for all layers of a shape."""
    return nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"))


_MAX_MODULES: Final = 2**15
"""Modules of all networks that are kept: 3 kB each, 100 MB in all."""

_Table = dict[str, Any]
"""Where a module keeps its parameters, or its buffers, by name."""


class Slot(NamedTuple):
    """Where a leaf goes in a call.

    Attributes:
        table: The parameters of its module, by name.
        name: Its name there.
        leaf: Its name in the network; tied weights have the first of their names.
        shape: Its shape.
        empty: What stands there between two calls.
    """

    table: _Table
    name: str
    leaf: str
    shape: tuple[int, ...]
    empty: nn.Parameter


class PathNetwork(Protocol):
    """The network of one path without weights."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Leaf name → shape; tied weights have the first of their names."""

    @property
    def num_modules(self) -> int:
        """What it costs to keep it."""

    def forward(self, inputs: Tensor, leaves: Mapping[str, Tensor], *, is_training: bool) -> Tensor:
        """Return the network's outputs with weights `leaves`: in training mode, or whole with the batch's own statistics."""


class Skeleton:
    """One network. Every call puts the leaves into the tables of its modules, and takes them out again."""

    def __init__(self, network: nn.Module, constants: Mapping[str, Tensor], copies: dict[tuple[int, torch.device], Tensor]) -> None:
        """Take over `network`, whose weights are dropped.

        Args:
            network: Its constants are moved to the CPU.
            constants: Those of the whole network by name; they stand for equal ones of this network.
            copies: Where copies of `constants` on other devices are kept for all paths, by identity and device.
        """
        self.network = network
        modules = dict(network.named_modules())
        self._modes = _Modes(network, list(modules.values()))
        self._shared = {id(tensor) for tensor in constants.values()}
        self._copies = copies
        self.slots: list[Slot] = []
        """Of all parameters that train, in the order of the modules."""
        self.has_frozen = False
        """Whether some parameters do not train."""
        self._constants: list[tuple[_Table, str, Tensor]] = []
        first_names: dict[int, str] = {}
        for prefix, module in modules.items():
            for own, table, tensor in _list_tensors(module):
                name = f"{prefix}.{own}" if prefix else own
                is_parameter = table is module._parameters  # noqa: SLF001 - as in `_list_tensors`
                if is_parameter and tensor.requires_grad:
                    leaf = first_names.setdefault(id(tensor), name)
                    self.slots.append(Slot(table, own, leaf, tuple(tensor.shape), _empty(tensor.shape, tensor.dtype)))
                else:
                    self.has_frozen = self.has_frozen or is_parameter
                    self._constants.append((table, own, _share(tensor.detach().cpu(), constants.get(name))))
        self.shapes = {slot.leaf: slot.shape for slot in self.slots}
        _take_out(self.slots)
        self._device = torch.device("cpu")
        self._placed = self._constants

    @property
    def num_modules(self) -> int:
        """What it costs to keep it."""
        return self._modes.num_modules

    def forward(self, inputs: Tensor, leaves: Mapping[str, Tensor], *, is_training: bool) -> Tensor:
        """Return the network's outputs with weights `leaves`: in training mode, or whole with the batch's own statistics."""
        return self.call(inputs, leaves, self.slots, is_training=is_training)

    def call(self, inputs: Tensor, leaves: Mapping[str, Tensor], slots: Sequence[Slot], *, is_training: bool) -> Tensor:
        """As `forward`, with weights in `slots` only: those of the modules that take part."""
        self._modes.switch(is_training=is_training)
        if self._device != inputs.device:
            self._device = inputs.device
            self._placed = [(table, own, self._place(tensor, inputs.device)) for table, own, tensor in self._constants]
        for table, own, constant in self._placed:  # at every call: a forward may set another
            table[own] = constant
        for table, own, leaf, _, _ in slots:
            table[own] = leaves[leaf]
        try:
            outputs: Tensor = self.network(inputs)
        finally:
            _take_out(slots)
        return outputs

    def _place(self, constant: Tensor, device: torch.device) -> Tensor:
        """Return a constant on a device; one copy serves all paths that share it."""
        if id(constant) not in self._shared:
            return constant.to(device)
        copy = self._copies.get((id(constant), device))
        if copy is None:
            copy = self._copies[id(constant), device] = constant.to(device)
        return copy


class Skeletons:
    """The networks of the latest paths, the least recently used goes first."""

    def __init__(self, constants: Mapping[str, Tensor]) -> None:
        """Keep none yet; `constants` are those of the whole network by name."""
        self._constants = constants
        self._copies: dict[tuple[int, torch.device], Tensor] = {}
        self._kept: OrderedDict[tuple[Any, ...], PathNetwork] = OrderedDict()
        self._num_modules = 0

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def strip(self, network: nn.Module) -> Skeleton:
        """Take the weights of a network; its constants are shared with those of all others."""
        return Skeleton(network, self._constants, self._copies)

    def get(self, key: tuple[Any, ...], make: Callable[[], PathNetwork]) -> PathNetwork:
        """Return the network of the path that `key` names, by `make` where it is not kept."""
        network = self._kept.get(key)
        if network is not None:
            self._kept.move_to_end(key)
            return network
        network = self._kept[key] = make()
        self._num_modules += network.num_modules
        while self._num_modules > _MAX_MODULES and len(self._kept) > 1:
            self._num_modules -= self._kept.popitem(last=False)[1].num_modules
        return network


def _take_out(slots: Sequence[Slot]) -> None:
    """Hold no weights: those of a device are freed with the path that they belong to."""
    for table, own, _, _, empty in slots:
        table[own] = empty


class _Modes:
    """Switches a network between training and evaluation, as `train` and `use_batch_statistics` do, without a call for each module."""

    def __init__(self, network: nn.Module, modules: Sequence[nn.Module]) -> None:
        """Take the running statistics from the normalisations among the `modules` of `network`, which then never leave training mode."""
        self._network = network
        self.num_modules = len(modules)
        self._is_training: bool | None = None
        self._flags: list[dict[str, Any]] = []
        has_own_modes = False
        for module in modules:
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the one base of all batch normalisations
                replace_all_batch_norm_modules_(module)
                module.training = True
            else:
                self._flags.append(vars(module))
            has_own_modes = has_own_modes or type(module).train is not nn.Module.train or type(module).eval is not nn.Module.eval
        self._has_own_modes = has_own_modes

    def switch(self, *, is_training: bool) -> None:
        """Set the mode of every module; one that defines `train` or `eval` itself is asked."""
        if self._is_training is is_training:
            return
        self._is_training = is_training
        if self._has_own_modes:
            self._network.train() if is_training else use_batch_statistics(self._network)
            return
        for flags in self._flags:
            flags["training"] = is_training


def _list_tensors(module: nn.Module) -> Iterator[tuple[str, _Table, Tensor]]:
    """Yield name, table and tensor of each parameter and buffer that a module itself has, as they stand now."""
    for table in (module._parameters, module._buffers):  # noqa: SLF001 - named_parameters gives no table
        for name, tensor in list(table.items()):
            if tensor is not None:
                yield name, table, tensor


def _share(constant: Tensor, shared: Tensor | None) -> Tensor:
    """Return the whole network's constant in place of an equal one."""
    return shared if shared is not None and shared.shape == constant.shape and torch.equal(shared, constant) else constant


def build_seeded(key: Key, build: Callable[[], nn.Module], *, draws: bool) -> nn.Module:
    """Return what `build` makes with the global generators seeded by `key`; without draws its weights are undefined.

    A network is also built in the middle of a step, when its path is met for the first time in this process.
    """
    with seeded_block(*key):
        if draws:
            return build()
        with _WithoutDrawing():
            return build()

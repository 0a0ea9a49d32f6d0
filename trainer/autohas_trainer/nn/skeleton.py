"""The network of a path without weights of its own: what a supernet calls with slices of shared tensors.

Parameters that train lie on the meta device, so that a thousand paths cost no memory; constants (buffers, persistent or not, and frozen
parameters) are kept, one copy for all paths where they are equal. Running statistics are gone: the batch's own stand for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_
from torch.overrides import TorchFunctionMode

from autohas_trainer.seeding import Key, seeded_block

__all__ = ["Skeleton", "build_seeded", "use_batch_statistics"]

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


def _names_of_parameters(parameters: Mapping[str, nn.Parameter]) -> dict[str, tuple[str, ...]]:
    """Return the first name of every parameter that trains → all its names: tied weights have several."""
    names: dict[int, list[str]] = {}
    for name, parameter in parameters.items():
        if parameter.requires_grad:
            names.setdefault(id(parameter), []).append(name)
    return {group[0]: tuple(group) for group in names.values()}


class Skeleton:
    """One path's network."""

    def __init__(self, network: nn.Module, constants: Mapping[str, Tensor], copies: dict[tuple[int, torch.device], Tensor]) -> None:
        """Take over `network`, whose weights are dropped.

        Args:
            network: The path's network, on the CPU.
            constants: Those of the whole network by name; they stand for equal ones of this network.
            copies: Where copies of `constants` on other devices are kept for all paths, by identity and device.
        """
        replace_all_batch_norm_modules_(network)
        self.network = network
        parameters = dict(network.named_parameters(remove_duplicate=False))
        self.names = _names_of_parameters(parameters)
        self.shapes = {name: tuple(parameters[name].shape) for name in self.names}
        frozen = {name: parameter.detach() for name, parameter in parameters.items() if not parameter.requires_grad}
        self._constants = frozen | dict(network.named_buffers(remove_duplicate=False))
        for name, tensor in self._constants.items():
            shared = constants.get(name)
            if shared is not None and shared.shape == tensor.shape and torch.equal(shared, tensor):
                self._constants[name] = shared
        self._shared = {id(tensor) for tensor in constants.values()}
        self._copies = copies
        self._device = torch.device("cpu")
        self._placed = self._constants
        self._is_training: bool | None = None
        _drop_weights(network)

    def forward(self, inputs: Tensor, leaves: Mapping[str, Tensor], *, is_training: bool) -> Tensor:
        """Return the network's outputs with weights `leaves`: in training mode, or whole with the batch's own statistics."""
        if self._is_training is not is_training:
            self._is_training = is_training
            self.network.train() if is_training else use_batch_statistics(self.network)
        if self._device != inputs.device:
            self._device = inputs.device
            self._placed = {name: self._place(tensor, inputs.device) for name, tensor in self._constants.items()}
        given = dict(self._placed)
        for name, others in self.names.items():
            for other in others:
                given[other] = leaves[name]
        outputs: Tensor = functional_call(self.network, given, (inputs,), tie_weights=False)
        return outputs

    def _place(self, constant: Tensor, device: torch.device) -> Tensor:
        """Return a constant on a device; one copy serves all paths that share it."""
        if id(constant) not in self._shared:
            return constant.to(device)
        copy = self._copies.get((id(constant), device))
        if copy is None:
            copy = self._copies[id(constant), device] = constant.to(device)
        return copy


def _drop_weights(network: nn.Module) -> None:
    """Put the parameters on the meta device, tied ones together."""
    moved: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in module._parameters.items():  # noqa: SLF001 - named_parameters leaves out tied ones
            if parameter is not None:
                empty = moved.setdefault(
                    id(parameter), nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)
                )
                module._parameters[name] = empty  # noqa: SLF001


def build_seeded(key: Key, build: Callable[[], nn.Module], *, draws: bool) -> nn.Module:
    """Return what `build` makes with the global generators seeded by `key`; without draws its weights are undefined.

    A network is also built in the middle of a step, when its path is met for the first time in this process.
    """
    with seeded_block(*key):
        if draws:
            return build()
        with _WithoutDrawing():
            return build()

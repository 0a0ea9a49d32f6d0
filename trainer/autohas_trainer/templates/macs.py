"""Multiply-accumulates of one forward of one example: matrix products, convolutions and attention. All else counts nothing.

A template that knows a closed form has `num_macs`; any other network is run once under `torch.utils.flop_counter`, which sees the
operations that PyTorch runs, whatever layer or function asks for them, and counts two floating-point operations for a multiply-accumulate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils.flop_counter import FlopCounterMode

from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.searchable import Searchable
from autohas_trainer.templates._base import Path, Template

__all__ = ["CountsMacs", "MacCount", "count_macs", "count_path", "measure_macs", "measure_path"]

_FREE: Final = (
    nn.modules.batchnorm._NormBase,  # noqa: SLF001 - the one base of all batch and instance normalisations
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.PReLU,
    nn.Embedding,
    nn.EmbeddingBag,
    ParametrizationList,
)
"""Layers with weights and no matrix product; a parametrization computes the weight of its layer, which has the product."""
_MATRIX_DIMENSIONS: Final = 2
"""A weight of fewer dimensions scales or shifts; it is part of no matrix product."""


@runtime_checkable
class CountsMacs(Protocol):
    """A template with a closed form."""

    def num_macs(self, path: Path) -> int:
        """Return the multiply-accumulates of one forward of the network `path` on one example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MacCount:
    """Multiply-accumulates, and the first layer whose matrix of weights ran without one; None: there is none."""

    macs: int
    uncounted: str | None


def count_macs(network: nn.Module, example: Tensor) -> int:
    """Count by running `network` once on `example`: a batch of one, of the type and on the device that it takes.

    Raises:
        ConfigurationError: a layer has a matrix of weights and ran without an operation that PyTorch's counter knows.
    """
    return _require_counted(measure_macs(network, example))


def count_path(template: Template, path: Path, example: Tensor) -> int:
    """As `count_macs`, for the network of `path` of a template without a closed form."""
    return _require_counted(measure_path(template, path, example))


def _require_counted(count: MacCount) -> int:
    if count.uncounted is not None:
        message = (
            f"objective.cost.metric macs: layer {count.uncounted} has weights, but PyTorch counts no multiply-accumulates in it;"
            " use metric parameters or latencyMilliseconds"
        )
        raise ConfigurationError(message)
    return count.macs


def measure_path(template: Template, path: Path, example: Tensor) -> MacCount:
    """Count the network of `path`, on the meta device where it runs there: no numbers are computed.

    Args:
        template: The family of networks.
        path: The choices, with custom hyperparameters.
        example: A batch of one, of the type that the network takes.
    """
    if isinstance(template, Searchable):
        try:
            return measure_macs(template.build_undrawn(path).to("meta"), example.to("meta"))
        except (RuntimeError, NotImplementedError):  # a constant that is no buffer, an operation that must see its numbers
            pass
    network = template.build(path, (0, "work"))
    return measure_macs(network.to(example.device), example)


@torch.no_grad()
def measure_macs(network: nn.Module, example: Tensor) -> MacCount:
    """As `count_macs`, but say which layer is not counted."""
    was_training = network.training
    counter = FlopCounterMode(display=False, custom_mapping=_FURTHER_FORMULAS)
    uncounted: list[str] = []
    try:
        with _decomposed(), counter, _watch_layers(network, counter, uncounted):
            network.eval()(example)
    finally:
        network.train(was_training)
    return MacCount(macs=int(counter.get_total_flops()) // 2, uncounted=uncounted[0] if uncounted else None)


@contextmanager
def _decomposed() -> Iterator[None]:
    """Run recurrent layers and attention as the products that they consist of: the fused kernels are not counted."""
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    are_enabled, has_fast_path = [library.enabled for library in libraries], torch.backends.mha.get_fastpath_enabled()
    try:
        for library in libraries:
            library.enabled = False  # their `flags` also set, and warn of, what other machines have
        torch.backends.mha.set_fastpath_enabled(value=False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(value=has_fast_path)
        for library, is_enabled in zip(libraries, are_enabled, strict=True):
            library.enabled = is_enabled


@contextmanager
def _watch_layers(network: nn.Module, counter: FlopCounterMode, uncounted: list[str]) -> Iterator[None]:
    """Collect the layers with a matrix of weights in whose forward nothing is counted; what does not run counts nothing rightly."""
    begun: dict[str, int] = {}

    def begin(name: str) -> Callable[..., None]:
        return lambda *_: begun.__setitem__(name, counter.get_total_flops())

    def end(name: str, text: str) -> Callable[..., None]:
        return lambda *_: uncounted.append(text) if counter.get_total_flops() == begun[name] else None

    with ExitStack() as handles:
        for name, layer in network.named_modules():
            is_matrix = any(weight.dim() >= _MATRIX_DIMENSIONS for weight in layer.parameters(recurse=False))
            if is_matrix and not isinstance(layer, (*_FREE, torch.jit.ScriptModule)):  # scripted layers take no hooks, but are counted
                text = f"{name or 'of the model'} ({type(layer).__name__})"
                handles.callback(layer.register_forward_pre_hook(begin(name)).remove)
                handles.callback(layer.register_forward_hook(end(name, text)).remove)
        yield


def _mv(matrix: Sequence[int], *_: object, **__: object) -> int:
    return 2 * math.prod(matrix)


def _addmv(_: object, matrix: Sequence[int], *__: object, **___: object) -> int:
    return 2 * math.prod(matrix)


_FURTHER_FORMULAS: Final = {torch.ops.aten.mv: _mv, torch.ops.aten.addmv: _addmv, torch.ops.aten.dot: _mv}
"""Products of PyTorch that its counter has no formula for: from the shapes of the operands to floating-point operations."""

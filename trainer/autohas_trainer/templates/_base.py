"""What a template is, and the pieces that all templates share.

A template turns a *path* (decision name → choice) into a network twice: as slices of shared tensors with a functional forward
(supernet) and as an ordinary module (stand-alone). Leaf names and the module's parameter names are the same, so weights travel by
name. Called by the supernet and by stand-alone trainings; knows nothing of optimizers, data or policies.

Shape letters: B batch, C channels or classes, H height, W width, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.searchable import Index, Path, Shape
from autohas_trainer.nn.skeleton import use_batch_statistics
from autohas_trainer.seeding import Key, stream

__all__ = [
    "ACTIVATIONS",
    "NORM_EPSILON",
    "Index",
    "Path",
    "Shape",
    "Template",
    "cut_leading",
    "default_path",
    "export_leaves",
    "initial_leaves",
    "load_leaves",
    "materialise",
    "normalise",
    "tied_names",
    "trained_parameters",
    "untied_copy",
    "use_batch_statistics",
    "whole_path",
]

ACTIVATIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "relu": torch.relu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}

NORM_EPSILON: Final = 1e-5
"""Added to the variance; torch's own default, spelled out because both forms must agree."""


class Template(Protocol):
    """A family of networks that share weights."""

    @property
    def decisions(self) -> tuple[TemplateDecision, ...]:
        """The decisions of a path, parents first."""

    def shared(self, rng_key: Key) -> dict[str, Tensor]:
        """Return freshly initialised full-size tensors, float32 on the CPU; a pure function of `rng_key`."""

    def slices(self, path: Path) -> dict[str, Index]:
        """Return the leaves that `path` uses, and only those, as indices into `shared`."""

    def forward(self, inputs_BCHW: Tensor, path: Path, leaves: Mapping[str, Tensor]) -> Tensor:
        """Return logits_BC of the network `path` with weights `leaves`, normalised by batch statistics."""

    def build(self, path: Path, rng_key: Key) -> nn.Module:
        """Return the stand-alone network on the CPU; its parameters are named as the leaves and depend on both arguments only."""

    def num_parameters(self, path: Path) -> int:
        """Return the number of trainable parameters of the network `path`."""


def default_path(decisions: Iterable[TemplateDecision]) -> dict[str, str]:
    """Return the path with every decision at its default."""
    return {decision.name: decision.default for decision in decisions}


def whole_path(decisions: Iterable[TemplateDecision], chosen: Mapping[str, str]) -> Path:
    """Return the path with `chosen`, and what a search of a custom model does not list at the model's default."""
    return {**default_path(decisions), **chosen}


def cut_leading(shapes: Mapping[str, Shape]) -> dict[str, Index]:
    """Return the indices that cut the leading corner of each shape."""
    return {name: tuple(slice(0, size) for size in shape) for name, shape in shapes.items()}


def _initial_leaf(name: str, shape: Shape, rng_key: Key) -> Tensor:
    """Return one leaf, float32: He by fan-in for hidden weights, fan-in for the head, ones and zeros for vectors."""
    leaf = torch.empty(shape, dtype=torch.float32)  # torch aligns memory to 64 bytes, numpy to 16; sums may follow
    if len(shape) == 1:
        return leaf.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    gain = 1.0 if name == "head.weight" else math.sqrt(2.0)
    values = stream(*rng_key, "initialise", name).standard_normal(shape, dtype=np.float32)
    values *= np.float32(gain / math.sqrt(math.prod(shape[1:])))
    return leaf.copy_(torch.from_numpy(values))


def initial_leaves(shapes: Mapping[str, Shape], rng_key: Key) -> dict[str, Tensor]:
    """Return initialised leaves; each depends on its own name, its shape and `rng_key`, never on its neighbours."""
    return {name: _initial_leaf(name, shape, rng_key) for name, shape in shapes.items()}


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of a stand-alone network by leaf name: those that are not frozen, tied ones under their first name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def tied_names(module: nn.Module) -> set[str]:
    """Return the further names of parameters and buffers that have several."""
    everything = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    once = {name for name, _ in module.named_parameters()} | {name for name, _ in module.named_buffers()}
    return {name for name, _ in everything if name not in once}


def untied_copy(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by every name that they have; of names that share memory, as no file can, each has a copy."""
    tied = tied_names(module)
    state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    return {name: tensor.clone() if name in tied else tensor for name, tensor in state.items()}


def export_leaves(module: nn.Module) -> dict[str, Tensor]:
    """Return the trained parameters of a stand-alone network by leaf name, detached but sharing memory."""
    return {name: parameter.detach() for name, parameter in trained_parameters(module).items()}


@torch.no_grad()
def load_leaves(module: nn.Module, leaves: Mapping[str, Tensor]) -> None:
    """Copy `leaves` into the trained parameters of a stand-alone network.

    Raises:
        ConfigurationError: Names or shapes differ: the leaves are another path's.
    """
    parameters = trained_parameters(module)
    have = {name: tuple(leaf.shape) for name, leaf in leaves.items()}
    want = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    if have != want:
        wrong = sorted(name for name in have.keys() | want.keys() if have.get(name) != want.get(name))
        message = f"leaf {wrong[0]} has shape {have.get(wrong[0])} but the network wants {want.get(wrong[0])}"
        raise ConfigurationError(message)
    for name, parameter in parameters.items():
        parameter.copy_(leaves[name])


def materialise(network: nn.Module, leaves: Mapping[str, Tensor]) -> nn.Module:
    """Give a network built on the meta device memory on the CPU, and `leaves` as its weights.

    Built there, torch's layers draw nothing from the global generator for weights that are overwritten at once.
    """
    network = network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
    load_leaves(network, leaves)
    return network


def normalise(features: Tensor, leaves: Mapping[str, Tensor], name: str) -> Tensor:
    """Return features (B, C, ...) normalised by the statistics of this batch, at least two values per channel.

    A supernet has no running statistics, since every path would need its own.
    """
    weight_C, bias_C = leaves[f"{name}.weight"], leaves[f"{name}.bias"]
    return functional.batch_norm(features, None, None, weight_C, bias_C, training=True, eps=NORM_EPSILON)

"""What the templates written with `autohas.nn` share: the decisions of the row, first weights by leaf, sums of closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn

from autohas_api.templates.table import TEMPLATES
from autohas_trainer.nn import Choice, ElasticBatchNorm2d, ElasticConv2d, OneOf, Searchable, Size
from autohas_trainer.seeding import Key, stream
from autohas_trainer.templates._base import Path, Shape
from autohas_trainer.templates.layer_size import LayerSize, network_size
from autohas_trainer.templates.step_cost import NetworkSize, StepCost

__all__ = ["AveragePool", "Choices", "ConvNorm", "ModuleTemplate", "make_activation"]

Choices = Mapping[str, Choice]
"""Decision name → decision, as the modules of a network take it."""

_ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
_LARGE_IMAGE_PX: Final = 64
"""Height and width from which a stem halves the image."""
_TABLE_DEVIATION: Final = 0.02
"""Of first weights that are looked up by an index. Source: GPT-2's code."""


class ModuleTemplate(Searchable):
    """A built-in family of networks; see `Template` for the contract.

    Subclasses give `name` (of the row), `step_cost`, `make` and `layers`. Leaves that are called `table` are looked up by an index.
    """

    name: ClassVar[str]
    step_cost: StepCost
    gain: ClassVar[float] = math.sqrt(2.0)
    """Of hidden weights: He's for half-linear activations."""
    is_switched: ClassVar[bool] = True
    """Whether every module that differs between paths says how, so that one network serves them all."""

    def __init__(self, input_shape: Shape, num_outputs: int) -> None:
        """Fix what no decision changes: the shape of an input and the number of outputs."""
        self.input_shape = input_shape
        self.num_outputs = num_outputs
        who, initialise = f"template {self.name}", self._initialise_leaves
        super().__init__(self._make_network, input_shape, num_outputs, who=who, initialise=initialise, is_switched=self.is_switched)
        self._decisions = TEMPLATES[self.name].decisions  # the same, with conditions that nesting does not show

    @property
    def is_large_image(self) -> bool:
        """Whether an input is an image that the stem may halve."""
        return min(self.input_shape[1:]) >= _LARGE_IMAGE_PX

    def make(self, choices: Choices) -> nn.Module:
        """Return the network whose sizes and branches follow from `choices`."""
        raise NotImplementedError

    def layers(self, path: Path) -> Iterable[LayerSize]:
        """Return the closed forms of the layers of the network `path`."""
        raise NotImplementedError

    def num_parameters(self, path: Path) -> int:
        """Return the number of trainable parameters of the network `path`."""
        return sum(layer.parameters for layer in self.layers(path))

    def num_macs(self, path: Path) -> int:
        """Return the multiply-accumulates of one forward of the network `path` on one example."""
        return self.size(path).macs

    def size(self, path: Path) -> NetworkSize:
        """Return what the cost of a step of the network `path` depends on."""
        return network_size(self.layers(path))

    def _make_network(self, input_shape: Shape, num_outputs: int) -> nn.Module:  # noqa: ARG002 - a factory's parameters; both are known
        return self.make({d.name: Choice(d.name, d.choices, default=d.default) for d in TEMPLATES[self.name].decisions})

    def _initialise_leaves(self, shapes: Mapping[str, Shape], rng_key: Key) -> dict[str, Tensor]:
        """Return first weights; each depends on its own name, its shape and `rng_key`, never on its neighbours."""
        return {name: self._initialise_leaf(name, shape, rng_key) for name, shape in shapes.items()}

    def _initialise_leaf(self, name: str, shape: Shape, rng_key: Key) -> Tensor:
        leaf = torch.empty(shape, dtype=torch.float32)
        if len(shape) == 1:
            return leaf.fill_(1.0 if name.endswith(".weight") else 0.0)
        values = stream(*rng_key, "initialise", name).standard_normal(shape, dtype=np.float32)
        values *= np.float32(self.deviation(name, math.prod(shape[1:])))
        return leaf.copy_(torch.from_numpy(values))

    def deviation(self, name: str, fan_in: int) -> float:
        """Return the standard deviation of the first weights of a leaf of two or more dimensions."""
        if name.endswith("table"):
            return _TABLE_DEVIATION
        return (1.0 if name.endswith("head.weight") else self.gain) / math.sqrt(fan_in)


class ConvNorm(nn.Sequential):
    """A convolution without a bias, and its normalisation."""

    def __init__(self, before: Size | int, after: Size, kernel: Size | int, stride: int = 1, groups: Size | int = 1) -> None:
        """Take the sizes of `ElasticConv2d`."""
        super().__init__()
        self.conv = ElasticConv2d(before, after, kernel, stride=stride, groups=groups, bias=False)
        self.norm = ElasticBatchNorm2d(after)


class AveragePool(nn.Module):
    """Global average pooling."""

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Return (B, C)."""
        return features_BCHW.mean(dim=(2, 3))


def make_activation(choices: Choices) -> OneOf:
    """Return the activation that decision `activation` names."""
    decision = choices["activation"]
    return OneOf(decision.name, {choice: _ACTIVATIONS[choice] for choice in decision.choices}, default=decision.default)

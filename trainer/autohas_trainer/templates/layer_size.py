"""Closed forms of layers: parameters, multiply-accumulates and outputs, from which those of a whole network are sums."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from autohas_trainer.templates.step_cost import NetworkSize

__all__ = ["LayerSize", "conv_norm", "convolution", "halve", "linear", "network_size", "norm", "products"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSize:
    """One layer, for one example.

    Attributes:
        parameters: Weights that train.
        macs: Multiply-accumulates of a forward.
        outputs: Numbers that it gives.
    """

    parameters: int = 0
    macs: int = 0
    outputs: int = 0


def linear(before: int, after: int, *, positions: int = 1, bias: bool = True) -> LayerSize:
    """A linear layer that is applied at `positions` places."""
    return LayerSize(parameters=(before + bias) * after, macs=before * after * positions, outputs=after * positions)


def convolution(before: int, after: int, kernel: int, positions: int, *, groups: int = 1) -> LayerSize:
    """A convolution of a square kernel, without a bias, with `positions` places in its output."""
    weights = before // groups * after * kernel**2
    return LayerSize(parameters=weights, macs=weights * positions, outputs=after * positions)


def norm(width: int, positions: int = 1) -> LayerSize:
    """A normalisation with a factor and a shift for each of `width` features."""
    return LayerSize(parameters=2 * width, outputs=width * positions)


def conv_norm(before: int, after: int, kernel: int, size: tuple[int, ...], *, groups: int = 1) -> tuple[LayerSize, LayerSize]:
    """A convolution whose output has this height and width, and its normalisation."""
    positions = math.prod(size)
    return convolution(before, after, kernel, positions, groups=groups), norm(after, positions)


def products(rows: int, inner: int, columns: int) -> LayerSize:
    """A product of two matrices of features, without weights."""
    return LayerSize(macs=rows * inner * columns, outputs=rows * columns)


def halve(size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the height and width that a layer of stride 2 with the usual padding gives."""
    return tuple(-(-length // 2) for length in size)


def network_size(layers: Iterable[LayerSize]) -> NetworkSize:
    """Return what the cost of a training step depends on."""
    listed = list(layers)
    return NetworkSize(
        macs=sum(layer.macs for layer in listed),
        num_layers=sum(layer.parameters > 0 for layer in listed),
        num_activations=sum(layer.outputs for layer in listed),
    )

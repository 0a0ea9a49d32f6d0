"""Dropout without a generator: the mask is a function of the step, so a resumed training draws the same one.

A compiled network takes the seed as a tensor and the mask from an operator of its own: a seed that is an integer would be a constant of the
compiled code, which would be compiled again at each step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Dropout", "arm_dropout", "arm_layers", "disarm_dropout", "dropout_layers", "trace_seeds"]


class Dropout(nn.Module):
    """Drops each feature with probability `p` and scales the others by 1 / (1 - p), while armed with a seed; else changes nothing.

    Templates place it without knowing p; a training arms it for the forward pass of its step and disarms it afterwards, so that
    comparisons in batch-statistics mode see whole networks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = 0.0
        self.seed: int | None = None
        self.traced_seed: Tensor | None = None
        """The seed as a compiled network reads it."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        if torch.compiler.is_compiling():
            seed = self.traced_seed
            return features if seed is None or self.p == 0 else features * _draw_traced(features, self.p, seed) / (1 - self.p)
        if self.seed is None or self.p == 0:
            return features
        return features * _draw(features, self.p, self.seed) / (1 - self.p)


def _draw(features: Tensor, p: float, seed: int) -> Tensor:
    """Return which features are kept, a boolean for each."""
    generator = torch.Generator(features.device).manual_seed(seed)
    return torch.rand(features.shape, generator=generator, device=features.device) >= p


@torch.library.custom_op("autohas::draw_mask", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def _draw_traced(features: Tensor, p: float, seed: Tensor) -> Tensor:
    """As `_draw`, for compiled networks; a replayed CUDA graph would repeat its mask, so none holds it."""
    return _draw(features, p, int(seed))


@_draw_traced.register_fake
def _describe_mask(features: Tensor, p: float, seed: Tensor) -> Tensor:  # noqa: ARG001 - the operator's form
    return torch.empty_like(features, dtype=torch.bool)


def trace_seeds(layers: Sequence[Dropout]) -> None:
    """Give layers their seeds as tensors, for the compiled network that they are in."""
    for layer in layers:
        layer.traced_seed = None if layer.seed is None else torch.tensor(layer.seed)


def arm_dropout(module: nn.Module, p: float, seed: int) -> None:
    """Let every dropout of `module` drop with probability `p`, each by a mask of its own."""
    arm_layers(dropout_layers(module), p, seed)


def dropout_layers(module: nn.Module) -> list[Dropout]:
    """List the dropouts of `module`: a training looks for them once."""
    return [layer for layer in module.modules() if isinstance(layer, Dropout)]


def arm_layers(layers: Sequence[Dropout], p: float, seed: int | None) -> None:
    """As `arm_dropout`, for layers that were listed; a `seed` of None disarms them."""
    if seed is None:
        for layer in layers:
            layer.seed = None
        return
    for number, layer in enumerate(layers):
        layer.p, layer.seed = p, seed + number


def disarm_dropout(module: nn.Module) -> None:
    """Let `module` be whole again."""
    arm_layers(dropout_layers(module), 0.0, None)

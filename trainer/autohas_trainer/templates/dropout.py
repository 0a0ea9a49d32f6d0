"""Dropout without a generator: the mask is a function of the step, so a resumed training draws the same one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Dropout", "arm_dropout", "arm_layers", "disarm_dropout", "dropout_layers"]


class Dropout(nn.Module):
    """Drops each feature with probability `p` and scales the others by 1 / (1 - p), while armed with a seed; else changes nothing.

    Templates place it without knowing p; a training arms it for the forward pass of its step and disarms it afterwards, so that
    comparisons in batch-statistics mode see whole networks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = 0.0
        self.seed: int | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        if self.seed is None or self.p == 0:
            return features
        generator = torch.Generator(features.device).manual_seed(self.seed)
        mask = torch.rand(features.shape, generator=generator, device=features.device) >= self.p
        return features * mask / (1 - self.p)


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

"""Dropout without a generator: the mask is a function of the step, so a resumed training draws the same one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Dropout", "arm_dropout", "disarm_dropout"]


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
    layers = [layer for layer in module.modules() if isinstance(layer, Dropout)]
    for number, layer in enumerate(layers):
        layer.p, layer.seed = p, seed + number


def disarm_dropout(module: nn.Module) -> None:
    """Let `module` be whole again."""
    for layer in module.modules():
        if isinstance(layer, Dropout):
            layer.seed = None

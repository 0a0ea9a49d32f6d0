"""The network and the cutout of Zela et al. (2018), whose ten choices of architecture are arguments of a function.

Three stages of residual blocks, each with several branches of two convolutions. Blocks with several branches mix them at random, other
weights forward than backward (shake-shake, Gastaldi 2017); blocks with one branch scale it at random with a probability that is searched
(shake-drop, Yamada et al. 2018). A search has strings for values, and rounds a number of blocks or filters as ConfigSpace does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

STAGES = (1, 2, 3)
SMALLEST = {f"{part}_{stage}": "1" for part in ("blocks", "widening", "branches") for stage in STAGES}


def net(input_shape: tuple[int, ...], num_outputs: int, filters: str = "8", death_rate: str = "0", **given: str) -> nn.Module:
    """Return a new network; `given` are the blocks, the widening and the branches of each stage."""
    choices, channels = SMALLEST | given, to_int(filters)
    layers: list[nn.Module] = [nn.Conv2d(input_shape[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)]
    for stage in STAGES:
        width = max(1, to_int(float(choices[f"widening_{stage}"]) * channels))
        for index in range(to_int(choices[f"blocks_{stage}"])):
            stride = 2 if stage > 1 and index == 0 else 1
            layers.append(Block(channels, width, stride, int(choices[f"branches_{stage}"]), float(death_rate)))
            channels = width
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_outputs))


def to_int(value: str | float) -> int:
    """Return the nearest integer, the larger one in the middle."""
    return int(float(value) + 0.5)


class Block(nn.Module):
    """Branches of two convolutions, added to the input."""

    def __init__(self, before: int, after: int, stride: int, branches: int, death_rate: float) -> None:
        """Make a block that divides the size of the image by `stride`."""
        super().__init__()
        self.branches = nn.ModuleList(make_branch(before, after, stride) for _ in range(branches))
        self.shortcut: nn.Module = nn.Identity()
        if before != after or stride != 1:
            self.shortcut = nn.Sequential(nn.ReLU(), nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.death_rate = death_rate

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the new width and size."""
        outputs = [branch(features) for branch in self.branches]
        mixed = self.drop(outputs[0]) if len(outputs) == 1 else self.shake(torch.stack(outputs))
        return self.shortcut(features) + mixed

    def shake(self, outputs: Tensor) -> Tensor:
        """Mix the branches by weights per image, which are drawn once for the forward and once for the backward pass."""
        if not self.training:
            return outputs.mean(dim=0)
        shape = (*outputs.shape[:2], 1, 1, 1)
        forward, backward = (torch.rand(shape, device=outputs.device).softmax(dim=0) for _ in range(2))
        return straight_through((forward * outputs).sum(dim=0), (backward * outputs).sum(dim=0))

    def drop(self, output: Tensor) -> Tensor:
        """Scale the branch of a dropped block per image: by -1 to 1 forward, by 0 to 1 backward."""
        if not self.training:
            return output * (1 - self.death_rate)
        if float(torch.rand(())) >= self.death_rate:
            return output
        shape = (len(output), 1, 1, 1)
        forward, backward = (torch.rand(shape, device=output.device) for _ in range(2))
        return straight_through(output * (2 * forward - 1), output * backward)


def make_branch(before: int, after: int, stride: int) -> nn.Module:
    """Return two convolutions of kernel 3."""
    first, second = nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.Conv2d(after, after, 3, padding=1, bias=False)
    return nn.Sequential(nn.ReLU(), first, nn.BatchNorm2d(after), nn.ReLU(), second, nn.BatchNorm2d(after))


def straight_through(value: Tensor, gradient: Tensor) -> Tensor:
    """Return a tensor with the value of one and the gradient of the other."""
    return gradient + (value - gradient).detach()


def cut_out(example: Image.Image, rng: np.random.Generator, values: Mapping[str, str]) -> Image.Image:
    """Return the image with a black square of `cutout` px around a random pixel; it may reach over the edge (DeVries and Taylor 2017)."""
    side, pixels = int(values["cutout"]), np.array(example)
    if side:
        row, column = (int(rng.integers(size)) - side // 2 for size in pixels.shape[:2])
        pixels[max(0, row) : max(0, row + side), max(0, column) : max(0, column + side)] = 0
    return Image.fromarray(pixels)

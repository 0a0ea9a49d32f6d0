"""An ordinary network for digits whose width, depth and activation are searched: `autohas.nn` in ten lines."""

import math

from torch import nn

from autohas import nn as an


def net(input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Return a new network; a search calls this once for each one, by keyword."""
    width = an.Choice("width", (32, 64, 128), default=64)
    return nn.Sequential(
        nn.Flatten(),
        an.ElasticLinear(math.prod(input_shape), width),
        an.ElasticBatchNorm1d(width),
        an.OneOf("activation", {"relu": nn.ReLU(), "silu": nn.SiLU(), "tanh": nn.Tanh()}),
        an.Skippable("second_layer", nn.Sequential(an.ElasticLinear(width, width), an.ElasticBatchNorm1d(width), nn.ReLU())),
        an.ElasticLinear(width, num_outputs),
    )

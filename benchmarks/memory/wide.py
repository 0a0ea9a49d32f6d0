"""The model of the benchmark: 25 million parameters in four layers."""

from __future__ import annotations

import math
from typing import Any, Final

from torch import nn

__all__ = ["TASK", "build"]

_WIDTH = 3450
TASK: Final[dict[str, Any]] = {
    "data": {"name": "digits"},
    "model": {"entrypoint": "benchmarks.memory.wide:build"},
    "recipe": {"learningRate": "0.01", "batchSize": 32},
}
"""spec.task of a search over it."""


def build(input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """A network of 24.2 million parameters for small images."""
    inputs = math.prod(input_shape)
    hidden = [layer for _ in range(2) for layer in (nn.Linear(_WIDTH, _WIDTH), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, _WIDTH), nn.ReLU(), *hidden, nn.Linear(_WIDTH, num_outputs))

"""Tables and images that `benchmarks.gpu` makes: they can be learned, and need no file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

__all__ = ["Case", "write_data"]

_CLASSES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A template at one size of inputs: pixels of a square image, or columns of a table."""

    template: str
    size: int
    batch_size: int

    @property
    def is_table(self) -> bool:
        """Whether the inputs are rows of a table."""
        return self.template == "mlp"


def write_data(folder: Path, case: Case, examples: int) -> tuple[dict[str, Any], str]:
    """Write a table, or images of ten patterns in noise; returns spec.task.data and the metric."""
    rng = np.random.default_rng(0)
    if case.is_table:
        inputs = rng.normal(size=(examples, case.size))
        target = inputs[:, :4].sum(axis=1) + np.sin(3 * inputs[:, -1]) + 0.3 * rng.normal(size=examples)
        heading = ",".join([*(f"x{column}" for column in range(case.size)), "y"])
        path = folder / "table.csv"
        np.savetxt(path, np.column_stack([inputs, target]), fmt="%.5f", delimiter=",", header=heading, comments="")
        return {"name": "csv", "path": str(path), "arguments": {"target": "y"}}, "rmse"
    side = case.size
    patterns = rng.normal(size=(_CLASSES, side, side))
    for name, number in (("train", examples), ("t10k", examples // 5)):
        labels = (np.arange(number) % _CLASSES).astype(np.uint8)
        pixels = (128 + 8 * patterns[labels] + 40 * rng.normal(size=(number, side, side))).clip(0, 255).astype(np.uint8)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, number, side, side) + pixels.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, number) + labels.tobytes())
    return {"name": "idx", "path": str(folder)}, "accuracy"

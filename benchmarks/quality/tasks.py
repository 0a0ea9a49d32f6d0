"""The tasks of the quality benchmark: one search document per task and method, over one joint space."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FASHION_MNIST = Path(os.environ.get("AUTOHAS_FASHION_MNIST") or Path(__file__).parents[3] / "shared" / "data" / "fashion-mnist")
"""The folder of the four IDX files; CONTRIBUTING.md says how to give another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A data set with the length of one training and, perhaps, a price on size; `missing` says why it cannot run here."""

    name: str
    data: dict[str, Any]
    steps: int = 300
    learning_rate: str = "0.1"
    cost: dict[str, str] | None = None
    missing: str | None = None


_SHIFTED_DIGITS: dict[str, Any] = {"name": "digits", "arguments": {"variant": "shifted"}}
_FASHION: dict[str, Any] = {"name": "idx", "path": str(FASHION_MNIST), "arguments": {"trainLimit": "10000"}}
_ABSENT = None if FASHION_MNIST.is_dir() else f"{FASHION_MNIST} is absent; name another folder by AUTOHAS_FASHION_MNIST"
_SMALL = {"metric": "parameters", "target": "10000", "weight": "-0.1"}
"""About half of the default network's parameters; one network in three of the space is smaller."""

TASKS = (
    Task(name="shifted digits", data=_SHIFTED_DIGITS),
    Task(name="Fashion-MNIST 10k", data=_FASHION, missing=_ABSENT),
    Task(name="shifted digits, 10,000 parameters", data=_SHIFTED_DIGITS, cost=_SMALL),
    Task(name="Fashion-MNIST 10k, 10,000 parameters", data=_FASHION, cost=_SMALL, missing=_ABSENT),
)
_RATE = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "1", "scale": "Log", "numBases": 7}}
_DECAY = {"name": "weight_decay", "continuous": {"min": "1e-5", "max": "1e-2", "scale": "Log", "numBases": 4}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The parts of the space in addition to the learning rate."""

    weight_decay: bool = False
    architecture: bool = True

    def space(self) -> dict[str, Any]:
        """The search space of the document."""
        space: dict[str, Any] = {"hyperparameters": [_RATE, *([_DECAY] if self.weight_decay else [])]}
        return space | {"architecture": {}} if self.architecture else space


def document(
    task: Task, algorithm: dict[str, Any], *, trainings: float, searched: Searched | None = None, steps: int | None = None
) -> dict[str, Any]:
    """A search on `task`: conv-small, learning rate and architecture by default."""
    return {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": {"data": task.data, "model": {"template": "conv-small"}, "recipe": {"learningRate": task.learning_rate}},
            "objective": {"metric": "accuracy", **({"cost": task.cost} if task.cost is not None else {})},
            "searchSpace": (searched or Searched()).space(),
            "algorithm": algorithm,
            "budget": {"trainings": f"{trainings:.4f}"},
            "training": {"steps": steps or task.steps},
            "checkpoint": {"periodSeconds": 3600},
        },
    }

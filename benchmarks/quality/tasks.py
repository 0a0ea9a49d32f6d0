"""The tasks of the quality benchmark: one joint space over hyperparameters and architecture, and a search document per task.

Tasks with the same data and the same length share their trainings: a price changes what is preferred, not what is trained.

The tasks of real models (`protein-mlp`, `digits-cell`, `shakespeare`, `cifar`) are as small as one core can search with five seeds: a
training of their default takes a few CPU seconds. Choices that cost many times the default's training are left out of their spaces, because
a method that draws one of them has spent its budget.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from autohas_api.base.objective_metrics import METRICS
from autohas_trainer.atomic_file import write_atomically

__all__ = ["HYPERPARAMETERS", "RATE_ALONE", "RATE_AND_DECAY", "TASKS", "Hyperparameters", "Task", "data_of", "document"]

_SHARED: Final = Path(__file__).parents[3] / "shared" / "data"
FASHION_MNIST: Final = Path(os.environ.get("AUTOHAS_FASHION_MNIST") or _SHARED / "fashion-mnist")
"""The folder of the four IDX files; CONTRIBUTING.md says how to give another."""
UCI_PROTEIN: Final = Path(os.environ.get("AUTOHAS_UCI_PROTEIN") or _SHARED / "uci-protein")
"""The folder of train.csv and test.csv."""
CIFAR: Final = Path(os.environ.get("AUTOHAS_CIFAR") or _SHARED / "cifar10-jpeg-6k")
"""A folder of images: train/CLASS/ and test/CLASS/."""
SHAKESPEARE: Final = Path(os.environ.get("AUTOHAS_TINY_SHAKESPEARE") or _SHARED / "tiny-shakespeare")
"""The folder of input.txt."""
_PROTEIN_ROWS: Final = 8000

HYPERPARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "learning_rate": {"continuous": {"min": "0.01", "max": "1", "scale": "Log", "numBases": 7}},
    "weight_decay": {"continuous": {"min": "1e-5", "max": "1e-2", "scale": "Log", "numBases": 4}},
    "batch_size": {"integer": {"min": 16, "max": 256, "step": 2, "scale": "Log"}},
    "dropout": {"continuous": {"min": "0", "max": "0.4", "numBases": 3}},
}
"""The joint space's hyperparameters where sgd trains; the template's architecture is searched with them."""
RATE_ALONE: Final = ("learning_rate",)
"""What a reward one step ahead can see of them."""
RATE_AND_DECAY: Final = (*RATE_ALONE, "weight_decay")
"""What the published form searches of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """A task's default hyperparameters, and the ranges around them.

    Attributes:
        recipe: The default's, as in `task.recipe`.
        ranges: The joint space's, by the names of `HYPERPARAMETERS`.
    """

    recipe: Mapping[str, Any]
    ranges: Mapping[str, dict[str, Any]]


_SGD: Final = Hyperparameters(recipe={"learningRate": "0.1", "dropout": "0", "weightDecay": "1e-4"}, ranges=HYPERPARAMETERS)
_ADAMW: Final = Hyperparameters(
    recipe={"learningRate": "0.001", "dropout": "0", "weightDecay": "0.01"},
    ranges=HYPERPARAMETERS
    | {
        "learning_rate": {"continuous": {"min": "1e-4", "max": "1e-2", "scale": "Log", "numBases": 7}},
        "weight_decay": {"continuous": {"min": "1e-3", "max": "1", "scale": "Log", "numBases": 4}},
    },
)
"""The rate and the decay are PyTorch's defaults of AdamW, and the range of the rate is as wide around it as that of sgd is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Data, a template, a length and, perhaps, a price on size.

    Attributes:
        name: Its name in tables and on the command line.
        data: Name of the data, which trainings are recorded under.
        template: The built-in family of networks.
        metric: What is optimised and tested.
        steps: Steps of one training.
        is_plateau: Whether the default is meant to gain little by more steps.
        seconds: CPU seconds of the default's training, roughly, for the plan of a run before one was measured.
        cost: The price on size.
        hyperparameters: The default's, and the ranges around them.
        decisions: Those of the template that are searched in part, as in `searchSpace.architecture.decisions`.
        splits: Fractions of the training data, as in `task.splits`; the product's defaults where they are not given.
    """

    name: str
    data: str
    template: str
    metric: str
    steps: int
    is_plateau: bool = False
    seconds: float
    cost: dict[str, str] | None = None
    hyperparameters: Hyperparameters = _SGD
    decisions: Sequence[dict[str, Any]] = ()
    splits: Mapping[str, str] | None = None

    @property
    def is_maximised(self) -> bool:
        """Whether more of the metric is better."""
        return METRICS[self.metric].direction == "Maximize"

    @property
    def missing(self) -> str | None:
        """Why the task cannot run here; None if it can."""
        folder, name = {
            "fashion": (FASHION_MNIST, "AUTOHAS_FASHION_MNIST"),
            "protein": (UCI_PROTEIN, "AUTOHAS_UCI_PROTEIN"),
            "protein-mlp": (UCI_PROTEIN, "AUTOHAS_UCI_PROTEIN"),
            "shakespeare": (SHAKESPEARE, "AUTOHAS_TINY_SHAKESPEARE"),
            "cifar": (CIFAR, "AUTOHAS_CIFAR"),
        }.get(self.data, (Path(), ""))
        return None if folder.is_dir() else f"{folder} is absent; name another folder by {name}"


def _digits(name: str, steps: int, seconds: float, **more: Any) -> Task:
    return Task(name=name, data="digits", template="conv-small", metric="accuracy", steps=steps, seconds=seconds, **more)


def _fashion(name: str, steps: int, seconds: float, **more: Any) -> Task:
    return Task(name=name, data="fashion", template="conv-small", metric="accuracy", steps=steps, seconds=seconds, **more)


def _protein(name: str, steps: int, seconds: float, **more: Any) -> Task:
    return Task(name=name, data="protein", template="mlp-small", metric="rmse", steps=steps, seconds=seconds, **more)


_PROTEIN_MLP: Final = Task(
    name="protein-mlp",
    data="protein-mlp",
    template="mlp",
    metric="rmse",
    steps=400,
    seconds=1.7,
    hyperparameters=_ADAMW,
    decisions=(
        {"name": "depth", "choices": ["1", "2", "3", "4", "6"]},
        {"name": "width", "choices": ["64", "128", "256", "512"]},
    ),
)
_DIGITS_CELL: Final = Task(
    name="digits-cell",
    data="digits-cell",
    template="cell",
    metric="accuracy",
    steps=100,
    seconds=4.0,
    hyperparameters=replace(_SGD, recipe={**_SGD.recipe, "batchSize": 32}),
    decisions=({"name": "width", "choices": ["8", "16"], "default": "8"}, {"name": "cells", "choices": ["1", "3"]}),
)
_SHAKESPEARE: Final = Task(
    name="shakespeare",
    data="shakespeare",
    template="transformer",
    metric="bpb",
    steps=240,
    seconds=4.0,
    hyperparameters=replace(_ADAMW, recipe={**_ADAMW.recipe, "batchSize": 32, "gradientClip": "1"}),
    decisions=(
        {"name": "depth", "choices": ["1", "2", "3", "4"], "default": "2"},
        {"name": "width", "choices": ["32", "64", "128"], "default": "64"},
        {"name": "heads", "choices": ["1", "2", "4"], "default": "2"},
    ),
    splits={"reward": "0.02", "selection": "0.02"},
)
_CIFAR: Final = Task(
    name="cifar",
    data="cifar",
    template="resnet",
    metric="accuracy",
    steps=100,
    seconds=5.5,
    decisions=(
        {"name": "width", "choices": ["8", "16"], "default": "8"},
        {"name": "stage1_depth", "choices": ["1", "2"], "default": "1"},
        {"name": "stage2_depth", "choices": ["1", "2"], "default": "1"},
        {"name": "stage3_depth", "choices": ["1", "2"], "default": "1"},
        {"name": "stage4_depth", "choices": ["1", "2"], "default": "1"},
    ),
)

TASKS: Final = {
    task.name: task
    for task in (
        _digits("digits", 300, 4.0),
        _digits("digits-long", 1800, 22.0, is_plateau=True),
        _digits("digits-price", 300, 4.0, cost={"metric": "parameters", "target": "10000", "weight": "-0.1"}),
        _fashion("fashion", 600, 14.0),
        _fashion("fashion-long", 2400, 56.0, is_plateau=True),
        _protein("protein", 800, 0.8),
        _protein("protein-long", 6400, 6.5, is_plateau=True),
        _protein("protein-price", 800, 0.8, cost={"metric": "parameters", "target": "3000", "weight": "-0.1"}),
        _PROTEIN_MLP,
        _DIGITS_CELL,
        _SHAKESPEARE,
        _CIFAR,
    )
}
"""By name."""


def data_of(task: Task, folder: Path) -> dict[str, Any]:
    """The document's data; a table of a part of the rows is written to `folder` if it is not there yet."""
    match task.data:
        case "digits" | "digits-cell":
            return {"name": "digits", "arguments": {"variant": "shifted"}}
        case "fashion":
            return {"name": "idx", "path": str(FASHION_MNIST), "arguments": {"trainLimit": "10000"}}
        case "cifar":
            return {"name": "image-folder", "path": str(CIFAR), "arguments": {"size": "32"}}
        case "shakespeare":
            return {"name": "text", "path": str(SHAKESPEARE / "input.txt"), "arguments": {"length": "32", "testFraction": "0.05"}}
        case _:
            return {"name": "csv", "path": str(_write_protein(folder / "protein") / "train.csv"), "arguments": {"target": "y"}}


def _write_protein(folder: Path) -> Path:
    """Write a part of the table's training rows, always the same, and all of its test rows."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "train.csv").exists():
        heading, *rows = (UCI_PROTEIN / "train.csv").read_text(encoding="utf-8").splitlines()
        kept = np.random.default_rng(0).permutation(len(rows))[:_PROTEIN_ROWS]
        write_atomically(folder / "test.csv", (UCI_PROTEIN / "test.csv").read_bytes())
        write_atomically(folder / "train.csv", ("\n".join([heading, *(rows[i] for i in kept)]) + "\n").encode())
    return folder


def document(
    task: Task,
    data: dict[str, Any],
    *,
    seed: int,
    algorithm: dict[str, Any] | None = None,
    trainings: float = 5.5,
    steps: int | None = None,
    hyperparameters: Sequence[str] = tuple(HYPERPARAMETERS),
    has_price: bool = True,
) -> dict[str, Any]:
    """A search on `task`; without `hyperparameters` of its space these stay at the default's."""
    splits = {"splits": dict(task.splits)} if task.splits is not None else {}
    return {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": {
                "data": data,
                "model": {"template": task.template},
                "recipe": dict(task.hyperparameters.recipe),
                **splits,
            },
            "objective": {"metric": task.metric, **({"cost": task.cost} if task.cost is not None and has_price else {})},
            "searchSpace": {
                "hyperparameters": [{"name": name, **task.hyperparameters.ranges[name]} for name in hyperparameters],
                "architecture": {"decisions": list(task.decisions)} if task.decisions else {},
            },
            "algorithm": {**(algorithm or {}), "seed": seed},
            "budget": {"trainings": f"{trainings:g}"},
            "training": {"steps": steps or task.steps},
            "checkpoint": {"periodSeconds": 3600},
        },
    }

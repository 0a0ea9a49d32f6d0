"""The two tasks of the ranking benchmark, one per template, and the architectures that are ranked."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from benchmarks.spending.tables import TABLES

from autohas_api.accept.acceptance import accept
from autohas_api.space.decisions import Configuration, Role, Space
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.seeding import make_deterministic, stream
from autohas_trainer.space.policy import Policy

__all__ = ["RATE", "TASKS", "RankingTask", "draw", "load"]

RATE = "0.1"
"""The recipe's own rate, at which every training here runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingTask:
    """A template on data: `steps` are those of a stand-alone training and of the shared weights; `missing` says why it cannot run here."""

    name: str
    template: str
    metric: str
    steps: int
    data: dict[str, Any]
    missing: str | None = None


TASKS = (
    RankingTask(  # 6,400 of the rows are the train split: 800 batches of 64 are 8 epochs
        name="UCI protein",
        template="mlp-small",
        metric="rmse",
        steps=800,
        data={"name": "csv", "arguments": {"target": "y"}},
        missing=TABLES[0].missing,
    ),
    RankingTask(
        name="shifted digits",
        template="conv-small",
        metric="accuracy",
        steps=300,
        data={"name": "digits", "arguments": {"variant": "shifted"}},
    ),
)


@cache
def _protein_folder() -> Path:
    """The table cut to 8,000 rows, once per process."""
    return TABLES[0].prepare(Path(tempfile.mkdtemp()))


def load(task: RankingTask, seed: int) -> SearchTask:
    """Read the data of `task` and plan a search of its template with everything else at its default."""
    make_deterministic(1)
    data = task.data if task.template != "mlp-small" else {**task.data, "path": str(_protein_folder())}
    document = {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": {"data": data, "model": {"template": task.template}, "recipe": {"learningRate": RATE}},
            "objective": {"metric": task.metric},
            "searchSpace": {"hyperparameters": [], "architecture": {}},
            "algorithm": {"seed": seed},
            "budget": {"trainings": "5.5"},
            "training": {"steps": task.steps},
        },
    }
    parsed, space = accept(document)
    return SearchTask.load(parsed.spec, space, torch.device("cpu"))


def draw(search_task: SearchTask, first: int, count: int) -> tuple[Configuration, ...]:
    """Uniform architectures with the default's hyperparameters, the ones of numbers `first` to `first + count`."""
    space = search_task.space
    uniform = Policy(Space(decisions=tuple(d for d in space.decisions if d.role is Role.ARCHITECTURE)), learning_rate=1.0)
    drawn = (uniform.sample(stream("ranking", search_task.seed, number)).configuration for number in range(first, first + count))
    base, names = space.as_mapping(space.default), [d.name for d in uniform.decisions]
    return tuple(space.configuration({**base, **dict(zip(names, c.values, strict=True))}) for c in drawn)

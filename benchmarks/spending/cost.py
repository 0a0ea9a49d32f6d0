"""What a search costs compared with what its budget says: CPU seconds over those of `budget.trainings` trainings of the default.

Both are CPU time of this process with one thread. The default is trained before and after each search, so that a machine that becomes
slower slows both. Reading the data is part of neither.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from benchmarks.jobs import NeverStopped, make_job
from benchmarks.provenance import provenance
from benchmarks.quality.tasks import FASHION_MNIST
from benchmarks.spending.tables import TABLES, Table

from autohas_api.accept.acceptance import accept
from autohas_trainer.engine.search import run
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.events import Event, SearchFinished, SearchStarted
from autohas_trainer.reporting.sinks.null import NullSink
from autohas_trainer.seeding import make_deterministic

__all__ = ["measure_costs"]

BUDGET: Final = "5.5"
SEEDS: Final = (0, 1)
_TABLE: Final = TABLES[0]
_RATE: Final = {"name": "learning_rate", "continuous": {"min": "0.01", "max": "0.3", "scale": "Log", "numBases": 5}}
_DECAY: Final = {"name": "weight_decay", "continuous": {"min": "1e-5", "max": "1e-2", "scale": "Log", "numBases": 4}}
_JOINT: Final = (
    _RATE,
    _DECAY,
    {"name": "batch_size", "integer": {"min": 32, "max": 256, "step": 2, "scale": "Log"}},
    {"name": "dropout", "continuous": {"min": "0", "max": "0.4", "numBases": 3}},
)
STRATEGIES: Final[dict[str, dict[str, Any]]] = {
    "AutoHAS OneFactor": {"autoHAS": {"strategy": "OneFactor"}},
    "AutoHAS Lanes": {"autoHAS": {"strategy": "Lanes"}},
    "AutoHAS OneStep": {"autoHAS": {"strategy": "OneStep"}},
    "RandomSearch": {"name": "RandomSearch"},
    "RandomSharing": {"name": "RandomSharing"},
}
_RATE_ALONE: Final = ("AutoHAS OneStep", "RandomSharing")
"""What sees a hyperparameter's effect one step ahead only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    name: str
    template: str
    metric: str
    steps: int
    data: dict[str, Any] | Table
    hyperparameters: tuple[dict[str, Any], ...]


_TASKS: Final = (
    _Task(name="UCI protein, 8,000 rows", template="mlp-small", metric="rmse", steps=600, data=_TABLE, hyperparameters=_JOINT),
    _Task(
        name="shifted digits",
        template="conv-small",
        metric="accuracy",
        steps=150,
        data={"name": "digits", "arguments": {"variant": "shifted"}},
        hyperparameters=(_RATE, _DECAY),
    ),
    _Task(
        name="Fashion-MNIST 10k",
        template="conv-small",
        metric="accuracy",
        steps=150,
        data={"name": "idx", "path": str(FASHION_MNIST), "arguments": {"trainLimit": "10000"}},
        hyperparameters=(_RATE, _DECAY),
    ),
)


class _Stopwatch(NullSink):
    """CPU time from the start of the search to its end."""

    def __init__(self) -> None:
        self.begun = self.ended = 0.0

    def emit(self, event: Event) -> None:
        if isinstance(event, SearchStarted):
            self.begun = time.process_time()
        elif isinstance(event, SearchFinished):
            self.ended = time.process_time()


def measure_costs(share: float = 1.0) -> Iterator[str]:
    """The lines of the result, one task and strategy after another; `share`: part of the usual steps of a training."""
    make_deterministic(1)
    yield "# CPU time of a search compared with its budget\n"
    steps = ", ".join(f"{task.name} {round(task.steps * share)}" for task in _TASKS)
    yield f"{provenance()}; CPU time of one process, budget {BUDGET} trainings; steps of a training: {steps}.\n"
    yield "`CPU` is the CPU time of the search in trainings of the default, divided by the budget: 1 is what the budget says, 0.8 to 1.25"
    yield "is the bound. `booked` is `result.trainings`, also divided by the budget.\n"
    yield "| task | strategy | CPU, seeds 0 and 1 | booked | default, seconds | winner |\n|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        table = None if _TABLE.missing is not None else _TABLE.prepare(Path(folder))
        for whole in _TASKS:
            task = replace(whole, steps=round(whole.steps * share))
            if (task.data is _TABLE and table is None) or (task.name.startswith("Fashion") and not FASHION_MNIST.is_dir()):
                yield f"| {task.name} | left out: its data is absent | | | | |"
                continue
            for strategy in STRATEGIES:
                rows = [_measure(task, strategy, seed, table, Path(folder)) for seed in SEEDS]
                ratios, booked, seconds, winners = zip(*rows, strict=True)
                cells = (", ".join(f"{value:.2f}" for value in values) for values in (ratios, booked))
                yield f"| {task.name} | {strategy} | {' | '.join([*cells, f'{statistics.fmean(seconds):.2f}', ', '.join(winners)])} |"


def _measure(task: _Task, strategy: str, seed: int, table: Path | None, folder: Path) -> tuple[float, float, float, str]:
    """(CPU time over that of the budget, booked cost over the budget, CPU seconds of the default, winner)."""
    search, space = accept(_document(task, strategy, seed, table))
    search_task = SearchTask.load(search.spec, space, torch.device("cpu"))
    torch.set_num_threads(1)
    watch = _Stopwatch()
    job = make_job(search, space, Path(tempfile.mkdtemp(dir=folder)))
    before = _train_default(search_task)
    outcome = run(job, watch, NeverStopped())
    default = (before + _train_default(search_task)) / 2
    budget = float(BUDGET)
    return (watch.ended - watch.begun) / default / budget, outcome.result.trainings / budget, default, outcome.winner


def _train_default(search_task: SearchTask) -> float:
    """CPU seconds of one training of the default; its first steps, which make caches, are not timed twice."""
    training = Training(search_task, search_task.space.default)
    begun = time.process_time()
    while not training.is_finished:
        training.step()
    return time.process_time() - begun


def _document(task: _Task, strategy: str, seed: int, table: Path | None) -> dict[str, Any]:
    data = {"name": "csv", "path": str(table), "arguments": task.data.arguments} if isinstance(task.data, Table) else task.data
    hyperparameters = [_RATE] if strategy in _RATE_ALONE else list(task.hyperparameters)
    return {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": {"data": data, "model": {"template": task.template}},
            "objective": {"metric": task.metric},
            "searchSpace": {"hyperparameters": hyperparameters, "architecture": {}},
            "algorithm": {**STRATEGIES[strategy], "seed": seed},
            "budget": {"trainings": BUDGET},
            "training": {"steps": task.steps},
            "checkpoint": {"periodSeconds": 3600},
        },
    }

"""`python -m benchmarks.memory`: the peak memory of a search with 34 lanes of a 25 M-parameter model, next to what `--dry-run` predicts.

Each strategy runs in a process of its own; the peak is the largest of its stages' peaks of resident memory.
The prediction is that of `engine.memory_plan` plus the memory of the process with its data before the search. Few steps: the memory does
not depend on their number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import torch
from benchmarks.jobs import NeverStopped, make_job
from benchmarks.memory.wide import TASK
from benchmarks.provenance import provenance

from autohas_api.accept.acceptance import accept
from autohas_api.budget.steps_per_stage import plan_stages
from autohas_trainer.cli.memory import measure_activations
from autohas_trainer.engine.accounting.usage import read_peaks, reset_peaks
from autohas_trainer.engine.memory_plan import measure_network, plan_memory
from autohas_trainer.engine.search import run
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.events import CheckpointWritten, Event
from autohas_trainer.reporting.sinks.null import NullSink

STRATEGIES: Final = ("OneFactor", "Lanes")
_LANES: Final = 34
_STEPS: Final = 9
"""Of a whole training: the fewest with three different rungs."""
_MIB: Final = 2**20


class _Watch(NullSink):
    """Remembers the largest checkpoint."""

    def __init__(self) -> None:
        self.largest_checkpoint = 0

    def emit(self, event: Event) -> None:
        """Look at the sizes of checkpoints."""
        if isinstance(event, CheckpointWritten):
            self.largest_checkpoint = max(self.largest_checkpoint, event.size_bytes)


def _document(strategy: str, trainings: str) -> dict[str, Any]:
    return {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": TASK,
            "objective": {"metric": "accuracy"},
            "searchSpace": {
                "hyperparameters": [
                    {"name": "learning_rate", "continuous": {"min": "0.001", "max": "0.03", "scale": "Log", "numBases": 9}},
                    {"name": "momentum", "continuous": {"min": "0", "max": "0.95", "numBases": 9}},
                    {"name": "label_smoothing", "continuous": {"min": "0", "max": "0.2", "numBases": 9}},
                ]
            },
            "algorithm": {"name": "AutoHAS", "seed": 0, "autoHAS": {"strategy": strategy}},
            "budget": {"trainings": trainings},
            "training": {"steps": _STEPS},
            "checkpoint": {"periodSeconds": 3600},
        },
    }


def _find_budget(strategy: str, search_task: SearchTask) -> str:
    """The smallest budget, in halves of a training, that plans the lanes."""
    splits = search_task.splits
    for halves in count(6):
        parsed, space = accept(_document(strategy, f"{halves / 2:g}"))
        if plan_stages(parsed.spec, space, splits.num_selection, splits.num_reward).num_lanes >= _LANES:
            return f"{halves / 2:g}"
    raise AssertionError


def _load(strategy: str, trainings: str, *, is_search: bool = True) -> SearchTask:
    parsed, space = accept(_document(strategy, trainings))
    return SearchTask.load(parsed.spec, space, torch.device("cpu"), is_search=is_search)


def _search(strategy: str) -> dict[str, Any]:
    """Run one search in this process; figures in bytes."""
    torch.set_num_threads(1)
    trainings = _find_budget(strategy, _load(strategy, "50", is_search=False))
    search_task = _load(strategy, trainings)
    default = search_task.space.default
    network = measure_network(search_task, default)
    plan = plan_memory(search_task, measure_activations(search_task, default, network))
    reset_peaks()
    before, watch = read_peaks()["process"], _Watch()
    with tempfile.TemporaryDirectory() as folder:
        search, space = accept(_document(strategy, trainings))
        outcome = run(make_job(search, space, Path(folder)), watch, NeverStopped())
    return {
        "lanes": search_task.plan.num_lanes,
        "parameters": search_task.num_parameters(default),
        "moment": plan.moment.text,
        "before": before,
        "predicted": before + plan.peak,
        "peak": max(use.peak_memory["process"] for use in outcome.use_by_stage.values()),
        "all": before + search_task.plan.num_lanes * network.waiting,
        "checkpoint": watch.largest_checkpoint,
        "predicted checkpoint": plan.checkpoint,
    }


def _report(figures: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"# Memory of a search\n\n{provenance()}\n\nMiB. `all lanes` is what the networks of all lanes would take, had they begun.\n"
    names = ("strategy", "lanes", "parameters", "at the peak", "all lanes", "predicted", "measured", "measured / predicted")
    yield f"| {' | '.join((*names, 'checkpoint: at most', 'largest'))} |"
    yield "|---" * (len(names) + 2) + "|"
    for strategy, row in figures.items():
        sizes = [f"{row[name] / _MIB:,.0f}" for name in ("all", "predicted", "peak")]
        ratio, checkpoints = row["peak"] / row["predicted"], [f"{row[name] / _MIB:,.0f}" for name in ("predicted checkpoint", "checkpoint")]
        cells = [strategy, str(row["lanes"]), f"{row['parameters']:,}", row["moment"], *sizes, f"{ratio:.2f}", *checkpoints]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Run each strategy in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Peak memory of a search beside the dry run's figure.")
    parser.add_argument("--strategy", choices=STRATEGIES, help="run this one here and print its figures as JSON")
    asked = parser.parse_args()
    if asked.strategy is not None:
        print(json.dumps(_search(asked.strategy)))
        return
    figures = {}
    for strategy in STRATEGIES:
        command = [sys.executable, "-m", "benchmarks.memory", "--strategy", strategy]
        figures[strategy] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout)
    print("\n".join(_report(figures)))


if __name__ == "__main__":
    main()

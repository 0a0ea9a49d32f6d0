"""`python -m benchmarks.checkpoint`: the time of a training step while a checkpoint is written, over that of a step without one.

Trainings of a network of 24 million parameters; one of them takes steps. In each round: steps, as many again (the A/A row), then
steps while the checkpoint of all trainings is hashed and written, all of it changed. Each round gives one ratio of medians. Time is that
of a clock, since the thread and the training share the processor: run it on a machine that does nothing else. What the training stands
still for, the copy, has a row of its own.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from benchmarks.memory.wide import TASK
from benchmarks.provenance import provenance

from autohas_api.accept.acceptance import accept
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.checkpointing.background import THREAD_NAME
from autohas_trainer.engine.checkpointing.checkpoint import CheckpointStore
from autohas_trainer.engine.checkpointing.checkpointer import Checkpointer, Snapshot
from autohas_trainer.engine.checkpointing.staging import Part
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.events import CheckpointWritten, Event
from autohas_trainer.reporting.sinks.null import NullSink
from autohas_trainer.seeding import make_deterministic

_MIB: Final = 2**20


class _Watch(NullSink):
    """Remembers what was written."""

    def __init__(self) -> None:
        self.written: list[CheckpointWritten] = []

    def emit(self, event: Event) -> None:
        """Keep the checkpoints."""
        if isinstance(event, CheckpointWritten):
            self.written.append(event)


@dataclass
class _Figures:
    """What the rounds measured; ratios of medians of step times, seconds."""

    against_itself: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    copies_s: list[float] = field(default_factory=list)
    steps_s: list[float] = field(default_factory=list)
    num_steps: list[int] = field(default_factory=list)
    """Steps while each checkpoint was written."""


def _document() -> dict[str, Any]:
    return {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": TASK,
            "objective": {"metric": "accuracy"},
            "searchSpace": {"hyperparameters": [{"name": "learning_rate", "continuous": {"min": "0.001", "max": "0.03", "scale": "Log"}}]},
            "budget": {"trainings": "6"},
            "training": {"steps": 100_000},
        },
    }


def _timed_step(training: Training) -> float:
    begun = time.perf_counter()
    training.step()
    return time.perf_counter() - begun


def _is_writing() -> bool:
    return any(thread.name == THREAD_NAME for thread in threading.enumerate())


def measure(folder: Path, num_trainings: int, rounds: int, steps: int) -> tuple[_Figures, list[CheckpointWritten]]:
    """Run the rounds; returns what they measured, and the checkpoints."""
    search, space = accept(_document())
    search_task = SearchTask.load(search.spec, space, torch.device("cpu"))
    trainings = [Training(search_task, space.default, repeat) for repeat in range(num_trainings)]
    now, watch, ledger = 0.0, _Watch(), Ledger(0, time.monotonic)
    ledger.lay_out({Stage.LANES: rounds})

    def take(_: int) -> Snapshot:
        parts = {
            f"training/{place}": Part(tensors=training.tensors(), revision=training.revision) for place, training in enumerate(trainings)
        }
        return Snapshot(state={}, parts=parts, origin={})

    def complain(_: object, text: str) -> None:
        raise SystemExit(text)

    store = CheckpointStore(folder, search_digest="bench", keep_last=2, clock=time.time)
    figures = _Figures()
    with Checkpointer(store, take, ledger, watch, complain, period_seconds=1, clock=lambda: now) as checkpointer:
        for number in range(rounds):
            for training in trainings:
                training.step()
            plain, again = ([_timed_step(trainings[0]) for _ in range(steps)] for _ in range(2))
            ledger.step, now, begun = number, now + 1.0, time.perf_counter()
            checkpointer.look(0)
            if len(watch.written) > number:  # written before it returned
                raise SystemExit("no room in memory for a copy: free some, or take another machine")
            figures.copies_s.append(time.perf_counter() - begun)
            during = []
            while _is_writing():
                during.append(_timed_step(trainings[0]))
            checkpointer.look(0)  # reports it
            figures.num_steps.append(len(during))
            figures.steps_s.append(statistics.median(plain))
            figures.against_itself.append(statistics.median(again) / statistics.median(plain))
            figures.during.append(statistics.median(during) / statistics.median(plain + again))
            print(f"round {number + 1}: {figures.during[-1]:.3f}, {len(during)} steps; A/A {figures.against_itself[-1]:.3f}", flush=True)
    return figures, watch.written


def _row(name: str, values: Sequence[float], unit: str = "") -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"| {name} | {middle:.3f}{unit} | {low:.3f} to {high:.3f} |"


def main() -> None:
    """Measure and print; with --out also write the table to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=3, help="trainings in a checkpoint, 277 MiB each (default 3)")
    parser.add_argument("--rounds", type=int, default=12, help="checkpoints (default 12)")
    parser.add_argument("--steps", type=int, default=10, help="steps without a checkpoint, twice per round (default 10)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch (default: those of torch)")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    arguments = parser.parse_args()
    make_deterministic(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        figures, written = measure(Path(folder), arguments.trainings, arguments.rounds, arguments.steps)
    size = statistics.median(event.size_bytes for event in written) / _MIB
    meanwhile = statistics.median(figures.num_steps)
    where = f"{provenance()}; {arguments.threads} threads of torch, {arguments.rounds} checkpoints of {size:,.0f} MiB,"
    lines = [
        "# Training steps while a checkpoint is written\n",
        f"{where} {meanwhile:.0f} steps in the time of one.\n",
        "| figure | median of the rounds | quartiles |\n|---|---|---|",
        _row("A/A: steps without a checkpoint, second over first", figures.against_itself),
        _row("steps in the time of a checkpoint over steps without one", figures.during),
        _row("a step without a checkpoint", figures.steps_s, " s"),
        _row("the copy, for which the training stands still", figures.copies_s, " s"),
        _row("the checkpoint, until it is durable", [event.seconds for event in written], " s"),
    ]
    print("\n".join(lines))
    if arguments.out is not None:
        arguments.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()

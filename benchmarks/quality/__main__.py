"""`python -m benchmarks.quality`: test score at equal CPU seconds, as one markdown file.

The reference is `Lanes` at its budget; every other search and every peer gets the reference's CPU seconds of the same seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.quality.equal import at_equal_cost
from benchmarks.quality.methods import Measurement, default, search
from benchmarks.quality.peers import PEERS, peer
from benchmarks.quality.tables import heading, table
from benchmarks.quality.tasks import TASKS, Searched, Task

from autohas_trainer.atomic_file import write_atomically

LANES: dict[str, Any] = {"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}}
OTHERS: dict[str, tuple[dict[str, Any], Searched]] = {
    "AutoHAS OneStep": ({"name": "AutoHAS", "autoHAS": {"strategy": "OneStep"}}, Searched()),
    "AutoHAS Paired": ({"name": "AutoHAS", "autoHAS": {"strategy": "Paired"}}, Searched()),
    "AutoHAS Lanes, rate only": (LANES, Searched(architecture=False)),
    "AutoHAS Lanes + weight decay": (LANES, Searched(weight_decay=True)),
    "RandomSharing": ({"name": "RandomSharing"}, Searched()),
}


def measure(task: Task, seeds: int, trainings: float, only: list[str] | None) -> Iterator[Measurement]:
    """All methods on one task, seed by seed."""
    budgets = dict.fromkeys(OTHERS, trainings)
    for seed in range(seeds):
        reference = search(task, "AutoHAS Lanes", LANES, seed=seed, trainings=trainings)
        yield reference
        for name, (algorithm, searched) in OTHERS.items():
            if _is_wanted(name, only):
                run = _searching(task, name, algorithm, searched, seed)
                measurement, budgets[name] = at_equal_cost(run, budgets[name], reference.cpu_s)
                yield measurement
        for name in PEERS:
            if _is_wanted(name, only):
                yield peer(task, name, seed, reference.cpu_s)
        once = default(task, seed, task.steps, "default, one training")
        yield once
        yield default(task, seed, round(task.steps * reference.cpu_s / once.cpu_s), "default, trained as long")


def _is_wanted(name: str, only: list[str] | None) -> bool:
    return not only or any(part in name for part in only)


def _searching(task: Task, name: str, algorithm: dict[str, Any], searched: Searched, seed: int) -> Callable[[float], Measurement]:
    return lambda trainings: search(task, name, algorithm, seed=seed, trainings=trainings, searched=searched)


def main() -> None:
    """Measure, print each result at once, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds per method (default 3)")
    parser.add_argument("--trainings", type=float, default=5.5, help="budget of the reference (default 5.5)")
    parser.add_argument("--task", action="append", help="only the task of exactly this name; may be repeated")
    parser.add_argument("--only", action="append", help="in addition to Lanes and the default, only methods whose name contains this")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    arguments = parser.parse_args()
    parts = [heading(arguments.trainings, arguments.seeds)]
    for task in TASKS:
        if arguments.task and task.name not in arguments.task:
            continue
        if task.missing:
            parts.append(f"## {task.name}\n\nNot run: {task.missing}.\n")
            continue
        rows = []
        for row in measure(task, arguments.seeds, arguments.trainings, arguments.only):
            rows.append(row)
            print(f"{task.name}, seed {row.seed}, {row.method}: {row.test:.4f}, {row.cpu_s:.1f} CPU s, {row.winner}", flush=True)
        parts.append(f"## {task.name}\n\n{table(rows, has_price=task.cost is not None)}\n")
    text = "\n".join(parts)
    print(text)
    if arguments.out:
        write_atomically(arguments.out, text.encode())


if __name__ == "__main__":
    main()

"""`python -m benchmarks.quality`: test score at equal CPU seconds, as one markdown file.

The reference is `Lanes` at its budget. Every other search runs once more with the first seed, at the same budget in trainings, to learn its
price; then its budget is scaled to the reference's CPU seconds. Random search gets the seconds themselves.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from benchmarks.quality.methods import Measurement, default, random_search, search
from benchmarks.quality.tasks import TASKS, Searched, Task

LANES: dict[str, Any] = {"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}}
OTHERS: dict[str, tuple[dict[str, Any], Searched]] = {
    "AutoHAS OneStep": ({"name": "AutoHAS", "autoHAS": {"strategy": "OneStep"}}, Searched()),
    "AutoHAS Paired": ({"name": "AutoHAS", "autoHAS": {"strategy": "Paired"}}, Searched()),
    "AutoHAS Lanes, rate only": (LANES, Searched(architecture=False)),
    "RandomSharing": ({"name": "RandomSharing"}, Searched()),
}


def measure(task: Task, seeds: int, trainings: float, say: Callable[[str], None]) -> Iterator[Measurement]:
    """All methods on one task, seed by seed."""
    prices: dict[str, float] = {}
    for seed in range(seeds):
        reference = search(task, "AutoHAS Lanes", LANES, seed=seed, trainings=trainings)
        rows = [reference]
        for name, (algorithm, searched) in OTHERS.items():
            if name not in prices:
                prices[name] = search(task, name, algorithm, seed=seed, trainings=trainings, searched=searched).cpu_s
            scaled = max(trainings * reference.cpu_s / prices[name], 3.0)
            rows.append(search(task, name, algorithm, seed=seed, trainings=scaled, searched=searched))
        rows.append(random_search(task, seed, reference.cpu_s))
        once = default(task, seed, task.steps, "default, one training")
        rows.append(once)
        rows.append(default(task, seed, round(task.steps * reference.cpu_s / once.cpu_s), "default, trained as long"))
        rows.append(
            search(task, "AutoHAS Lanes + weight decay", LANES, seed=seed, trainings=trainings, searched=Searched(weight_decay=True))
        )
        for row in rows:
            say(f"{task.name}, seed {row.seed}, {row.method}: {row.test:.4f}, {row.cpu_s:.1f} CPU s, {row.remark}")
            yield row


def table(measurements: list[Measurement]) -> str:
    """Mean, spread and every seed of each method."""
    methods = list(dict.fromkeys(m.method for m in measurements))
    lines = ["| method | CPU s, mean | test accuracy, mean | sd | every seed |", "|---|---|---|---|---|"]
    for method in methods:
        rows = [m for m in measurements if m.method == method]
        tests = [m.test for m in rows]
        deviation = statistics.stdev(tests) if len(tests) > 1 else 0.0
        every = ", ".join(f"{value:.4f}" for value in tests)
        lines.append(
            f"| {method} | {statistics.mean(m.cpu_s for m in rows):.1f} | {statistics.mean(tests):.4f} | {deviation:.4f} | {every} |"
        )
    return "\n".join(lines)


def heading(trainings: float, seeds: int) -> str:
    """What, when, where, at which commit."""
    return (
        "# Search quality at equal CPU seconds\n\n"
        f"{provenance()}; {seeds} seeds; reference budget {trainings} trainings.\n\n"
        "Space: learning rate (0.01 to 1, 7 bases) and the architecture of `conv-small`; *rate only* searches no architecture, *+ weight\n"
        "decay* adds weight decay, which one-step rewards cannot see. Every method selects on the same split and is tested once.\n"
        "*default, trained as long* spends the whole search's seconds on one longer training of the default configuration, so its\n"
        "network had more steps than any winner. `conv-small` rewards size on these tasks (no cost target is set). Differences\n"
        "below about two standard deviations are noise.\n"
    )


def main() -> None:
    """Measure, print as it goes, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds per method (default 3)")
    parser.add_argument("--trainings", type=float, default=5.5, help="budget of the reference (default 5.5)")
    parser.add_argument("--task", action="append", help="only the tasks whose name contains this")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    arguments = parser.parse_args()
    parts = [heading(arguments.trainings, arguments.seeds)]
    for task in TASKS:
        if arguments.task and not any(wanted in task.name for wanted in arguments.task):
            continue
        if task.missing:
            parts.append(f"## {task.name}\n\nNot run: {task.missing}.\n")
            continue
        rows = list(measure(task, arguments.seeds, arguments.trainings, lambda line: print(line, flush=True)))
        parts.append(f"## {task.name}\n\n{table(rows)}\n")
    text = "\n".join(parts)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()

"""`python -m benchmarks.quality`: which configuration does a search return, at equal work? One markdown file.

It may be stopped at any moment and started again with the same options: trainings and runs are kept in the store, and several processes
may share one. `--plan` says what it would cost.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.quality.boosting import boosting_rmse
from benchmarks.quality.peers import PEERS
from benchmarks.quality.peers.hosted import NotInstalledError
from benchmarks.quality.planning import estimate
from benchmarks.quality.product import DEFAULT_STRATEGY
from benchmarks.quality.qualification import qualify
from benchmarks.quality.report import Row, heading, qualification_table, speed_table, table
from benchmarks.quality.runs import METHODS, Run, Runner
from benchmarks.quality.store import Store
from benchmarks.quality.tasks import TASKS, Task, data_of
from benchmarks.quality.training_table import read_table, write_table

from autohas_api.base.spec_errors import SpecError
from autohas_api.space.decisions import Space
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.comparison.paired_statistics import deviation
from autohas_trainer.errors import TrainerError

_STORE: Final = Path(__file__).parent / ".trainings.sqlite"


class Benchmark:
    """Runs and prints what the options ask for."""

    def __init__(self, store: Store, methods: Sequence[str], seeds: Sequence[int]) -> None:
        """Nothing runs yet; the first method is the reference."""
        self.runner = Runner(store)
        self._store, self._methods, self._seeds = store, methods, seeds

    def section(self, task: Task, budgets: Sequence[float], reach: float | None) -> str:
        """All tables of one task."""
        once = [self.runner.value(task, self.runner.run(task, "default", seed, 1.1)) for seed in self._seeds]
        parts = [f"## {task.name}\n\n{_describe(task)} Seed deviation: {deviation(once):.4f}.{self._boosting(task)}\n"]
        by_budget = {budget: self._rows(task, budget) for budget in budgets}
        for budget, rows in by_budget.items():
            parts.append(f"### {task.name}, {budget:g} trainings\n\n{table(task, rows, deviation(once))}\n")
        if reach is not None and (reference := by_budget[budgets[0]][0]).missing is None:
            peers = [row for row in by_budget.get(reach) or self._rows(task, reach, peers_alone=True) if row.curves]
            parts.append(f"### {task.name}, work to the median at {budgets[0]:g}\n\n{speed_table(reference, peers, reach)}\n")
        return "\n".join(parts)

    def _boosting(self, task: Task) -> str:
        if task.metric != "rmse" or task.cost is not None:
            return ""
        scores = [boosting_rmse(data_of(task, self._store.path.parent / ".tables"), seed) for seed in self._seeds]
        return f" HistGradientBoosting on all training rows: {statistics.fmean(scores):.4f} (sd {deviation(scores):.4f})."

    def _rows(self, task: Task, budget: float, *, peers_alone: bool = False) -> list[Row]:
        """Run every method on every seed, seed by seed, so that a stopped benchmark has paired results."""
        methods = [method for method in self._methods if not peers_alone or (method in PEERS and method != "default")]
        runs: dict[str, list[Run]] = {method: [] for method in methods}
        missing: dict[str, str] = {}
        for seed in self._seeds:
            for method in methods:
                if method in missing:
                    continue
                try:
                    run = self.runner.run(task, method, seed, budget)
                except (SpecError, NotInstalledError, TrainerError) as error:
                    missing[method] = f"{type(error).__name__}: {error}".replace("\n", " ")
                    print(f"{task.name} at {budget:g}, {method}: {missing[method]}", flush=True)
                    continue
                runs[method].append(run)
                test = self.runner.test(task, run)
                print(f"{task.name} at {budget:g}, seed {seed}, {method}: {test:.4f}, work {run.work:.2f}", flush=True)
        return [self._row(task, method, runs[method], missing.get(method)) for method in methods]

    def _row(self, task: Task, method: str, runs: Sequence[Run], missing: str | None) -> Row:
        if missing is not None:
            return Row(method=method, missing=missing)
        default = self.runner.trainings(task, self._seeds[0]).space.default.values
        is_peer = method in PEERS and method != "default"
        return Row(
            method=method,
            values=[self.runner.value(task, run) for run in runs],
            works=[run.work for run in runs],
            num_defaults=sum(run.values == default for run in runs),
            curves=[self.runner.curve(task, run) for run in runs] if is_peer else (),
        )


def _describe(task: Task) -> str:
    price = f", priced: {task.cost['metric']} {task.cost['target']}, weight {task.cost['weight']}" if task.cost is not None else ""
    kept = "; ".join(f"{decision['name']} {', '.join(decision['choices'])}" for decision in task.decisions)
    part = f" (of its choices {kept})" if kept else ""
    return f"{task.data}, template {task.template}{part}, {task.steps} steps per training, {task.metric}{price}."


def _methods(only: Sequence[str] | None, reference: str) -> list[str]:
    """The reference first."""
    wanted = [method for method in METHODS if not only or any(part.lower() in method.lower() for part in only)]
    return list(dict.fromkeys((reference, *wanted)))


def _seeds(text: str) -> range:
    """5: seeds 0 to 4; 5:10: seeds 5 to 9."""
    first, _, end = text.rpartition(":")
    return range(int(first or 0), int(end))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", choices=sorted(TASKS), help="a task; may be repeated (default: all)")
    parser.add_argument("--budget", action="append", type=float, help="trainings of work; may be repeated (default: 5.5)")
    parser.add_argument("--seeds", type=_seeds, default=range(3), help="number of seeds, or FIRST:END (default: 3)")
    parser.add_argument("--only", action="append", help="besides the reference, only methods whose name contains this")
    parser.add_argument("--reference", choices=METHODS, default=DEFAULT_STRATEGY, help="the method that others are compared with")
    parser.add_argument("--reach", type=float, help="budget of the peers' curves for speed-ups at the first --budget (default: none)")
    parser.add_argument("--qualify", type=int, default=0, metavar="N", help="random configurations on N seeds: does the task qualify?")
    parser.add_argument("--plan", action="store_true", help="print the CPU seconds that it may take at most, and end")
    parser.add_argument("--out", type=Path, help="markdown file to write (default: print only)")
    parser.add_argument("--store", type=Path, default=_STORE, help=f"sqlite file of trainings and runs (default: {_STORE.name} here)")
    parser.add_argument("--export", type=Path, help="write the recorded trainings to this CSV file, and end")
    parser.add_argument("--fill", type=Path, help="add the trainings of such a CSV file to the store, and end")
    return parser


def main() -> None:
    """Measure what is not measured yet, print as it goes, write the file."""
    arguments = _parser().parse_args()
    store = Store(arguments.store)
    if arguments.export or arguments.fill:
        _exchange(store, arguments.export, arguments.fill)
        return
    tasks = [TASKS[name] for name in arguments.task or TASKS]
    budgets, methods = arguments.budget or [5.5], _methods(arguments.only, arguments.reference)
    benchmark = Benchmark(store, methods, arguments.seeds)
    if arguments.plan:
        most = [*budgets, *([arguments.reach] if arguments.reach is not None else [])]
        here = [task for task in tasks if task.missing is None]
        _print_plan(benchmark, store, here, methods, arguments.seeds, most, arguments.qualify)
        return
    parts, qualifications = [heading()], []
    try:
        for task in tasks:
            if task.missing is not None:
                parts.append(f"## {task.name}\n\nNot run: {task.missing}.\n")
                continue
            parts.append(benchmark.section(task, budgets, arguments.reach))
            if arguments.qualify:
                random_seeds = arguments.seeds[: arguments.qualify]
                qualifications.append((task, qualify(benchmark.runner, task, arguments.seeds, random_seeds)))
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        sys.exit(130)
    text = "\n".join([*parts, *([qualification_table(qualifications)] if qualifications else [])])
    print(text)
    if arguments.out:
        write_atomically(arguments.out, text.encode())


def _exchange(store: Store, export: Path | None, fill: Path | None) -> None:
    """Fill the store from a table, or write one."""
    runner = Runner(store)

    def space_of(data: str) -> Space:
        return runner.trainings(next(task for task in TASKS.values() if task.data == data), 0).space

    if fill is not None:
        print(f"{read_table(store, fill, space_of):,} trainings at a rung were added from {fill}")
    if export is not None:
        print(f"{write_table(store, export, space_of):,} trainings at a rung are in {export}, {export.stat().st_size:,} bytes")


def _print_plan(  # noqa: PLR0917 - what a benchmark consists of
    benchmark: Benchmark,
    store: Store,
    tasks: Sequence[Task],
    methods: Sequence[str],
    seeds: Sequence[int],
    budgets: Sequence[float],
    num_random_seeds: int,
) -> None:
    estimates = list(estimate(store, benchmark.runner, tasks, methods, seeds, budgets, num_random_seeds))
    for one in estimates:
        print(f"{one.task:15} {one.method:30} {one.num_runs:4} runs {one.cpu_s:10,.0f} CPU s at most")
    print(f"{'all':46} {sum(one.num_runs for one in estimates):4} runs {sum(one.cpu_s for one in estimates):10,.0f} CPU s at most")


if __name__ == "__main__":
    main()

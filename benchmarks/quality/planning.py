"""What a benchmark would cost, before anything runs: an upper bound, since trainings that several methods ask for run once."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.quality.peers import PEERS
from benchmarks.quality.qualification import NUM_RANDOM
from benchmarks.quality.runs import Runner
from benchmarks.quality.store import Store
from benchmarks.quality.tasks import Task

from autohas_api.algorithms.rungs import LAST_RUNG

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """CPU seconds that one method may still take on a task."""

    task: str
    method: str
    num_runs: int
    cpu_s: float


def estimate(  # noqa: PLR0917 - what a benchmark consists of
    store: Store,
    runner: Runner,
    tasks: Sequence[Task],
    methods: Sequence[str],
    seeds: Sequence[int],
    budgets: Sequence[float],
    num_random_seeds: int,
) -> Iterator[Estimate]:
    """Per task and method; a peer's smaller budgets are part of its largest."""
    for task in tasks:
        seconds = _seconds_of_default(store, runner, task, seeds)
        for method in methods:
            missing = {seed: [b for b in budgets if not runner.has(task, method, seed, b)] for seed in seeds}
            work = sum(max(left, default=0.0) if method in PEERS else sum(left) for left in missing.values())
            work = sum(map(bool, missing.values())) if method == "default" else work
            yield Estimate(task=task.name, method=method, num_runs=sum(map(len, missing.values())), cpu_s=seconds * work)
        if num_random_seeds:
            work = NUM_RANDOM * num_random_seeds + 3 * len(seeds)
            yield Estimate(task=task.name, method="qualification", num_runs=num_random_seeds, cpu_s=seconds * work)


def _seconds_of_default(store: Store, runner: Runner, task: Task, seeds: Sequence[int]) -> float:
    """Mean CPU seconds of the default's recorded trainings; the task's rough figure where there are none."""
    trainings = [runner.trainings(task, seed) for seed in seeds]
    recorded = [store.find(one.key(one.space.default), LAST_RUNG) for one in trainings]
    return statistics.fmean([record.cpu_s for record in recorded if record is not None] or [task.seconds])

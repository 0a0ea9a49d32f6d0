"""The methods: each runs once with a seed and a budget and says what it reached and what it cost.

Everything is counted in CPU seconds of this process (`time.process_time`), from before the data are read to after the test, for all alike.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.quality.tasks import Searched, Task, document

from autohas_api.acceptance import accept
from autohas_api.space import Configuration
from autohas_trainer.engine.problem import Problem
from autohas_trainer.engine.search import Job, run
from autohas_trainer.engine.training import Training
from autohas_trainer.reporting.records import Identity
from autohas_trainer.seeding import make_deterministic, stream
from autohas_trainer.space.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run: test accuracy of what it returned, CPU seconds of the whole method, and a remark."""

    method: str
    seed: int
    test: float
    cpu_s: float
    remark: str


class _Silent:
    """A sink and stop request that do nothing; times only the search."""

    requested = False

    def flush(self) -> int:
        return 0

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_keywords: None


def search(
    task: Task, method: str, algorithm: dict[str, Any], *, seed: int, trainings: float, searched: Searched | None = None
) -> Measurement:
    """Run one search."""
    parsed, space = accept(document(task, {**algorithm, "seed": seed}, trainings=trainings, searched=searched))
    with tempfile.TemporaryDirectory() as folder:
        identity = Identity(search_uid="", pod_uid="", attempt=1)
        job = Job(search=parsed, space=space, workdir=Path(folder), identity=identity, threads=1, device="cpu")
        begun = time.process_time()
        outcome = run(job, _Silent(), _Silent())
        cpu_s = time.process_time() - begun
    values = ", ".join(
        f"{name} {outcome.configuration[name]}" for name in ("learning_rate", "weight_decay") if name in outcome.configuration
    )
    return Measurement(
        method=method,
        seed=seed,
        test=outcome.result.test_score,
        cpu_s=cpu_s,
        remark=f"{outcome.winner}: {values}, {outcome.result.parameters:,} parameters, {outcome.result.trainings:.2f} trainings",
    )


def default(task: Task, seed: int, steps: int, method: str) -> Measurement:
    """Train the default configuration for `steps` steps and test it."""
    problem, begun = _problem(task, seed, steps)
    training = Training(problem, problem.space.default)
    while not training.is_finished:
        training.step()
    test = _test(problem, training)
    return Measurement(method=method, seed=seed, test=test, cpu_s=time.process_time() - begun, remark=f"{steps} steps")


def random_search(task: Task, seed: int, cpu_budget_s: float) -> Measurement:
    """The default, then full trainings of uniform configurations while the budget lasts; the best on selection is tested."""
    problem, begun = _problem(task, seed, task.steps)
    uniform = Policy(problem.space, learning_rate=1.0)
    best: tuple[float, Training] | None = None
    num_trained = 0
    while time.process_time() - begun < cpu_budget_s or best is None:
        configuration: Configuration = (
            problem.space.default if num_trained == 0 else uniform.sample(stream(seed, "bench", num_trained)).configuration
        )
        training = Training(problem, configuration)
        while not (training.is_finished or training.is_diverged) and (time.process_time() - begun < cpu_budget_s or best is None):
            training.step()
        if training.is_finished:
            score = training.compare().score
            best = max(best, (score, training), key=lambda pair: pair[0]) if best is not None else (score, training)
        num_trained += 1
    test = _test(problem, best[1])
    return Measurement(
        method="random search", seed=seed, test=test, cpu_s=time.process_time() - begun, remark=f"{num_trained} trainings begun"
    )


def _problem(task: Task, seed: int, steps: int) -> tuple[Problem, float]:
    """The problem, and the CPU time before its data were read."""
    make_deterministic(1)
    parsed, space = accept(document(task, {"seed": seed}, trainings=5.5, steps=steps))
    begun = time.process_time()
    return Problem.load(parsed.spec, space, torch.device("cpu")), begun


def _test(problem: Problem, training: Training) -> float:
    batches = list(problem.splits.test())
    with torch.no_grad():
        outputs = torch.cat([training.outputs(batch) for batch in batches])
    return problem.task.measure(outputs, torch.cat([batch.targets_B for batch in batches])).value

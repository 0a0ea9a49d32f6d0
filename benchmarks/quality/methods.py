"""The searches and the default: each runs once with a seed and a budget, and its score and cost are measured.

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

from autohas_api.accept.acceptance import accept
from autohas_trainer.engine.search import Job, run
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.events import Identity
from autohas_trainer.reporting.sinks.null import NullSink
from autohas_trainer.seeding import make_deterministic

__all__ = ["Measurement", "default", "measure_training", "problem_of", "search"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One run: test score of the returned network and cost of the whole method.

    Attributes:
        method: Its name in the table.
        seed: Key of every draw.
        test: Test accuracy.
        objective: Test accuracy with the price of size; the accuracy itself where the task has no price.
        parameters: Of the returned network.
        cpu_s: CPU seconds of everything: data, search, final training, test.
        winner: Which candidate was returned, in the method's own words.
        trainings: Length of all trainings together, or of the search in its own unit.
    """

    method: str
    seed: int
    test: float
    objective: float
    parameters: int
    cpu_s: float
    winner: str
    trainings: float


class _NeverStop:
    is_requested = False


def search(
    task: Task, method: str, algorithm: dict[str, Any], *, seed: int, trainings: float, searched: Searched | None = None
) -> Measurement:
    """Run one search of the product at a budget in trainings."""
    parsed, space = accept(document(task, {**algorithm, "seed": seed}, trainings=trainings, searched=searched))
    with tempfile.TemporaryDirectory() as folder:
        identity = Identity(search_uid="", pod_uid="", attempt=1)
        job = Job(search=parsed, space=space, workdir=Path(folder), identity=identity, threads=1, device="cpu")
        begun = time.process_time()
        outcome = run(job, NullSink(), _NeverStop())
        cpu_s = time.process_time() - begun
    search_task = SearchTask.load(parsed.spec, space, torch.device("cpu"))
    return Measurement(
        method=method,
        seed=seed,
        test=outcome.result.test_score,
        objective=search_task.objective(outcome.result.test_score, space.configuration(dict(outcome.configuration))),
        parameters=outcome.result.parameters,
        cpu_s=cpu_s,
        winner=outcome.winner,
        trainings=outcome.result.trainings,
    )


def default(task: Task, seed: int, steps: int, method: str) -> Measurement:
    """Train the default configuration for `steps` steps and test it."""
    search_task, begun = problem_of(task, seed, steps)
    training = Training(search_task, search_task.space.default)
    while not training.is_finished:
        training.step()
    return measure_training(search_task, training, method, begun=begun, winner="default", trainings=steps / task.steps)


def problem_of(task: Task, seed: int, steps: int) -> tuple[SearchTask, float]:
    """Load the task; returns it with the CPU time before its data were read."""
    make_deterministic(1)
    parsed, space = accept(document(task, {"seed": seed}, trainings=5.5, steps=steps))
    begun = time.process_time()
    return SearchTask.load(parsed.spec, space, torch.device("cpu")), begun


def measure_training(
    search_task: SearchTask, training: Training, method: str, *, begun: float, winner: str, trainings: float
) -> Measurement:
    """Test a finished training once; its CPU seconds count from the CPU time `begun`."""
    batches = list(search_task.splits.test())
    with torch.no_grad():
        outputs = torch.cat([training.outputs(batch) for batch in batches])
    test = search_task.task.measure(outputs, torch.cat([batch.targets_B for batch in batches])).value
    return Measurement(
        method=method,
        seed=search_task.seed,
        test=test,
        objective=search_task.objective(test, training.configuration),
        parameters=search_task.num_parameters(training.configuration),
        cpu_s=time.process_time() - begun,
        winner=winner,
        trainings=trainings,
    )

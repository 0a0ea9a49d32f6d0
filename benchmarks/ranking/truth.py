"""What architectures are worth: stand-alone trainings, tested; kept in a file, because they are most of the benchmark's time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from benchmarks.ranking.tasks import RankingTask, draw

from autohas_api.space.decisions import Configuration
from autohas_trainer.data import TestBatch
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training

__all__ = ["Floats", "Sample", "judge"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Architectures, their quality on the test split after a whole training alone (-inf where it diverged), and their log-sizes."""

    architectures: tuple[Configuration, ...]
    truth: Floats
    log_size: Floats


def judge(task: RankingTask, search_task: SearchTask, count: int, memory: Path) -> Sample:
    """Train `count` architectures alone and test them, those that `memory`, a JSON file, does not have yet."""
    known: dict[str, float] = json.loads(memory.read_text(encoding="utf-8")) if memory.exists() else {}
    architectures = draw(search_task, 0, count)
    truth: list[float] = []
    batches = list(search_task.splits.test())
    for configuration in architectures:
        key = "|".join((task.name, str(task.steps), str(search_task.seed), *configuration.values))
        if key not in known:
            known[key] = _quality(search_task, configuration, batches)
            memory.write_text(json.dumps(known, indent=0), encoding="utf-8")
        truth.append(known[key])
    sizes = [search_task.num_parameters(configuration) for configuration in architectures]
    return Sample(architectures=architectures, truth=np.asarray(truth), log_size=np.log(sizes))


def _quality(search_task: SearchTask, configuration: Configuration, batches: list[TestBatch]) -> float:
    training = Training(search_task, configuration)
    while not (training.is_finished or training.is_diverged):
        training.step()
    if training.is_diverged:
        return -np.inf
    with torch.no_grad():
        outputs = torch.cat([training.outputs(batch) for batch in batches])
    return search_task.task.measure(outputs, torch.cat([batch.targets_B for batch in batches])).quality

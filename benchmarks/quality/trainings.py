"""Stand-alone trainings of one task and seed: the store has those that ran before, others run here and are recorded."""

from __future__ import annotations

import math
import time
from functools import cached_property
from typing import Final

import torch
from benchmarks.quality.store import RungRecord, Store, TrainingKey
from benchmarks.quality.tasks import Task, data_of, document

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.rungs import LAST_RUNG, rung_steps
from autohas_api.space.decisions import Configuration, Space
from autohas_trainer.data import TestBatch
from autohas_trainer.engine.training.comparison import Comparison
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.seeding import make_deterministic
from autohas_trainer.tasks import Measurement

__all__ = ["Trainings"]

_MOST_KEPT: Final = 48
"""Unfinished trainings in memory, so that a candidate continues from its last rung instead of from its first step."""


class Trainings:
    """The trainings of one task under one seed."""

    def __init__(self, store: Store, task: Task, seed: int, steps: int | None = None) -> None:
        """Nothing is read yet; `steps` of the default's whole training, those of the task unless they are given."""
        self.store, self.task, self.seed = store, task, seed
        self.steps = steps or task.steps
        self._unfinished: dict[Configuration, _TimedTraining] = {}

    @cached_property
    def search_task(self) -> SearchTask:
        """The task with its data and its price, read once."""
        return self._load(has_price=True)

    @cached_property
    def space(self) -> Space:
        """The joint space."""
        return accept(self._document(has_price=True))[1]

    def _load(self, *, has_price: bool) -> SearchTask:
        make_deterministic(1)
        torch.set_num_threads(1)
        search, space = accept(self._document(has_price=has_price))
        return SearchTask.load(search.spec, space, torch.device("cpu"), is_search=False)

    def _document(self, *, has_price: bool) -> dict[str, object]:
        data = data_of(self.task, self.store.path.parent / ".tables")
        return document(self.task, data, seed=self.seed, steps=self.steps, has_price=has_price)

    @cached_property
    def _plain_task(self) -> SearchTask:
        """The task without its price: what trainings are recorded under."""
        return self.search_task if self.task.cost is None else self._load(has_price=False)

    @cached_property
    def _test_batches(self) -> list[TestBatch]:
        return list(self._plain_task.splits.test())

    def key(self, configuration: Configuration) -> TrainingKey:
        """What the training of a configuration is recorded under."""
        return TrainingKey(data=self.task.data, seed=self.seed, steps=self.steps, values=configuration.values)

    def measure(self, configuration: Configuration, rung: int, *, needs_contributions: bool = False) -> RungRecord:
        """A training at a rung, without a price. It runs only if it is not recorded, or without the contributions that are needed."""
        record = self.store.find(self.key(configuration), rung)
        if record is None or (needs_contributions and not record.is_diverged and not record.contributions):
            record = self._train(configuration, rung)
        return record

    def compare(self, configuration: Configuration, rung: int, *, needs_contributions: bool = False) -> Comparison:
        """The comparison of a training at a rung, with the task's price."""
        record = self.measure(configuration, rung, needs_contributions=needs_contributions)
        price = self.search_task.objective
        return Comparison(
            step=record.step,
            key=-math.inf if record.key is None else price(record.key, configuration),
            score=-math.inf if record.score is None else price(record.score, configuration),
            metric=record.metric,
            loss=math.inf if record.loss is None else record.loss,
            contributions=record.contributions,
        )

    def continue_to(self, configuration: Configuration, num_steps: int) -> Training:
        """A training for real after a number of steps, for a caller that needs its weights."""
        timed = self._resume(configuration, num_steps)
        timed.run_to(num_steps)
        self._keep(timed)
        return timed.training

    def _train(self, configuration: Configuration, rung: int) -> RungRecord:
        """Train up to a rung, record what is measured there and on the way, and return the last of it."""
        timed = self._resume(configuration, rung_steps(self.search_task.recipe(configuration).steps, rung))
        training, records = timed.training, {}
        for number in range(rung + 1):
            if number == rung or training.num_steps_done < training.rung(number):
                timed.run_to(training.rung(number))
                records[number] = self._look(timed, is_last=number == LAST_RUNG)
        self.store.add(self.key(configuration), records)
        self._keep(timed)
        return records[rung]

    def _begin(self, configuration: Configuration) -> Training:
        return Training(self._plain_task, configuration)

    def _resume(self, configuration: Configuration, num_steps: int) -> _TimedTraining:
        """The unfinished training of a configuration if it is not beyond a number of steps, else a new one."""
        timed = self._unfinished.pop(configuration, None)
        if timed is None or timed.training.num_steps_done > num_steps:
            timed = _TimedTraining(self._begin(configuration))
        return timed

    def _keep(self, timed: _TimedTraining) -> None:
        if not timed.training.is_finished and not timed.training.is_diverged:
            self._unfinished[timed.training.configuration] = timed
        while len(self._unfinished) > _MOST_KEPT:
            del self._unfinished[next(iter(self._unfinished))]

    def _look(self, timed: _TimedTraining, *, is_last: bool) -> RungRecord:
        """Measure a training where it stands, on the test split too if it is finished."""
        training = timed.training
        comparison = training.compare(keeps_contributions=True)
        test = self._test(training) if is_last and not training.is_diverged else None
        is_diverged = training.is_diverged
        return RungRecord(
            step=comparison.step,
            key=None if is_diverged else comparison.key,
            score=None if is_diverged else comparison.score,
            metric=comparison.metric,
            loss=None if is_diverged else comparison.loss,
            contributions=comparison.contributions,
            test=test.value if test is not None else None,
            test_quality=test.quality if test is not None else None,
            error=None,
            cpu_s=timed.cpu_s,
        )

    def _test(self, training: Training) -> Measurement:
        outputs = torch.cat([training.outputs(batch) for batch in self._test_batches])
        return self._plain_task.task.measure(outputs, torch.cat([batch.targets_B for batch in self._test_batches]))


class _TimedTraining:
    """A training for real, with the CPU seconds of its steps."""

    def __init__(self, training: Training) -> None:
        self.training, self.cpu_s = training, 0.0

    def run_to(self, num_steps: int) -> None:
        """Take steps until `num_steps` are done or the training diverges."""
        begun = time.process_time()
        while self.training.num_steps_done < num_steps and not self.training.is_diverged:
            self.training.step()
        self.cpu_s += time.process_time() - begun

"""One run: a method on a task and seed with a budget. What it chose is kept, so that a benchmark that was stopped continues."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks.quality.figures import Curve
from benchmarks.quality.models import MODELS, train_model
from benchmarks.quality.peers import PEERS
from benchmarks.quality.product import STRATEGIES, search
from benchmarks.quality.session import Session
from benchmarks.quality.store import RunKey, Store
from benchmarks.quality.tasks import Task
from benchmarks.quality.trainings import Trainings

import autohas_api
import autohas_trainer
from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.space.decisions import Configuration

__all__ = ["AS_LONG", "METHODS", "Run", "Runner"]

AS_LONG: Final = "default, trained as long"
METHODS: Final = (*STRATEGIES, *PEERS, AS_LONG, *MODELS)
"""All methods, in the order of the tables."""
_DECIDE_NOTHING: Final = (
    *("generate", "testing", "reporting", "cli", "comparison", "conformance.py"),
    *("__main__.py", "boosting.py", "figures.py", "planning.py", "qualification.py", "report.py", "training_table.py"),
)
"""Parts of the contract, the trainer and this benchmark that no method's choice depends on."""
_MOST_LOADED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a method returned.

    Attributes:
        seed: Key of every draw.
        values: Of the configuration.
        steps: Of the default's whole training in the trainings that the method ran.
        work: What it spent.
        curve: For a peer: (work, values) wherever what it would return changed.
        test: Of a method that returns a model: its metric on the test split; None: the configuration is trained for the score.
    """

    seed: int
    values: tuple[str, ...]
    steps: int
    work: float
    curve: tuple[tuple[float, tuple[str, ...]], ...] = ()
    test: float | None = None

    def write(self) -> str:
        """As JSON."""
        parts = {"seed": self.seed, "values": self.values, "steps": self.steps, "work": self.work, "curve": self.curve, "test": self.test}
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Run:
        """Read `write`."""
        record: dict[str, Any] = json.loads(text)
        curve = tuple((float(work), tuple(values)) for work, values in record["curve"])
        return cls(
            seed=record["seed"],
            values=tuple(record["values"]),
            steps=record["steps"],
            work=record["work"],
            curve=curve,
            test=record["test"],
        )


class Runner:
    """Runs methods and scores what they return; trainings and runs are taken from the store where it has them."""

    def __init__(self, store: Store) -> None:
        """Nothing is loaded yet."""
        self._store = store
        self._loaded: dict[tuple[str, int, int], Trainings] = {}

    def run(self, task: Task, method: str, seed: int, budget: float) -> Run:
        """What a method returns.

        Raises:
            SpecError: this version has no such strategy, or the budget is too small for it.
            NotInstalledError: the peer's environment is not there.
        """
        key = _key(task, method, seed, budget)
        if (text := self._store.find_run(key)) is not None:
            return Run.read(text)
        run = self._run(task, method, seed, budget)
        self._store.add_run(key, run.write())
        return run

    def has(self, task: Task, method: str, seed: int, budget: float) -> bool:
        """Whether a run is kept already."""
        return self._store.find_run(_key(task, method, seed, budget)) is not None

    def _run(self, task: Task, method: str, seed: int, budget: float) -> Run:
        if method == AS_LONG:
            trainings = self.trainings(task, seed, round(task.steps * budget))
            trainings.measure(trainings.space.default, LAST_RUNG)
            return Run(seed=seed, values=trainings.space.default.values, steps=trainings.steps, work=trainings.steps / task.steps)
        trainings = self.trainings(task, seed)
        if method in MODELS:
            outcome, work = train_model(method, trainings, budget)
            values = trainings.space.configuration(outcome.configuration).values
            return Run(seed=seed, values=values, steps=task.steps, work=work, test=outcome.result.test_score)
        if method in STRATEGIES:
            configuration, work = search(STRATEGIES[method], trainings, budget)
            return Run(seed=seed, values=configuration.values, steps=task.steps, work=work)
        session = Session(trainings.space, seed, budget, trainings, trainings.search_task.price)
        PEERS[method](session)
        curve = tuple((work, configuration.values) for work, configuration in session.curve)
        return Run(seed=seed, values=curve[-1][1], steps=task.steps, work=session.spent, curve=curve)

    def trainings(self, task: Task, seed: int, steps: int | None = None) -> Trainings:
        """The trainings of a task and seed; the data of a few are kept in memory."""
        key = (task.name, seed, steps or task.steps)
        if key not in self._loaded:
            while len(self._loaded) >= _MOST_LOADED:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[key] = Trainings(self._store, task, seed, steps)
        return self._loaded[key]

    def test(self, task: Task, run: Run) -> float:
        """The metric on the test split of what a run returned."""
        return self._measure(task, run, run.values, lambda _, test, __: test)

    def value(self, task: Task, run: Run) -> float:
        """What is compared, higher is better: the metric, or the objective with the price, on the test split."""
        return self._value(task, run, run.values)

    def curve(self, task: Task, run: Run) -> Curve:
        """A peer's value after every unit of work."""
        return [(work, self._value(task, run, values)) for work, values in run.curve]

    def _value(self, task: Task, run: Run, values: tuple[str, ...]) -> float:
        def judge(trainings: Trainings, test: float, quality: float) -> float:
            if task.cost is not None:
                return trainings.search_task.objective(quality, Configuration(values=values))
            return test if task.is_maximised else -test

        return self._measure(task, run, values, judge)

    def _measure(self, task: Task, run: Run, values: tuple[str, ...], judge: Callable[[Trainings, float, float], float]) -> float:
        trainings = self.trainings(task, run.seed, run.steps)
        if run.test is not None:
            return judge(trainings, run.test, math.nan)  # of tasks without a price, which alone ask for the quality
        record = trainings.measure(Configuration(values=values), LAST_RUNG)
        if record.test is None or record.test_quality is None:
            return -math.inf
        return judge(trainings, record.test, record.test_quality)


def _key(task: Task, method: str, seed: int, budget: float) -> RunKey:
    return RunKey(task=task.name, method=method, seed=seed, budget=budget, code=_code())


@cache
def _code() -> str:
    """Digest of everything that decides what a method returns: runs of other code are not used again, trainings are."""
    digest = hashlib.sha256()
    for folder in (Path(autohas_api.__path__[0]), Path(autohas_trainer.__path__[0]), Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            if path.relative_to(folder).parts[0] not in _DECIDE_NOTHING:
                digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]

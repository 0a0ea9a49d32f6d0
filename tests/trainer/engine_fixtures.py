"""A small real search and the sinks that watch it, shared by the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import a_search, changed
from autohas_api.wire.messages import CheckpointInfo, Notice, Stage, StopReason
from autohas_trainer.engine.search import Clocks, Job, run
from autohas_trainer.events import CandidateRecord, Identity, Outcome, PolicyRecord, RunInfo, StepRecord


class Killed(BaseException):
    """Stands for kill -9: nothing of the process survives but its files."""


@dataclass
class MemorySink:
    """Keeps every record; `on_step` may stop or kill the search."""

    on_step: Callable[[StepRecord], None] = lambda record: None
    info: RunInfo | None = None
    steps: list[StepRecord] = field(default_factory=list)
    policies: list[PolicyRecord] = field(default_factory=list)
    candidates: list[CandidateRecord] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    activities: list[str] = field(default_factory=list)
    checkpoints: list[CheckpointInfo] = field(default_factory=list)
    plans: list[tuple[Stage, dict[Stage, int]]] = field(default_factory=list)
    failures: int = 0
    ended_early: StopReason | None = None
    outcome: Outcome | None = None

    @property
    def other_notices(self) -> list[Notice]:
        """The notices without those of the budget, which `engine/test_spending.py` looks at."""
        return [notice for notice in self.notices if notice.reason not in ("SupernetShort", "BudgetMoved", "BudgetLeft")]

    def started(self, info: RunInfo) -> None:
        self.info = info

    def step(self, record: StepRecord) -> None:
        self.steps.append(record)
        self.on_step(record)

    def planned(self, stage: Stage, stages: Mapping[Stage, int]) -> None:
        self.plans.append((stage, dict(stages)))

    def busy(self, doing: str) -> None:
        self.activities.append(doing)

    def at_work(self) -> None:
        pass

    def policy(self, record: PolicyRecord) -> None:
        self.policies.append(record)

    def candidate(self, record: CandidateRecord) -> None:
        self.candidates.append(record)

    def flush(self) -> int:
        return 0

    def checkpointed(self, info: CheckpointInfo, *, seconds: float, size_bytes: int) -> None:
        self.checkpoints.append(info)

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    def checkpoint_failed(self) -> None:
        self.failures += 1

    def ends_early(self, reason: StopReason) -> None:
        self.ended_early = reason

    def finished(self, outcome: Outcome) -> None:
        self.outcome = outcome


@dataclass
class Stop:
    """A stop request that a test flips."""

    requested: bool = False


class TickingClock:
    """Every look costs one second, so that periods pass without waiting."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def small_search(algorithm: dict[str, Any] | None = None, *, hyperparameters: bool = True, steps: int = 27) -> dict[str, Any]:
    """An mlp on the original digits: a few hundred steps of a millisecond."""
    document = changed(a_search(), "spec.retrain.steps", steps)
    document = changed(document, "spec.checkpoint.periodSeconds", 40)
    if algorithm is not None:
        document = changed(document, "spec.algorithm", algorithm)
        document = changed(document, "spec.searchSpace.hyperparameters", [document["spec"]["searchSpace"]["hyperparameters"][0]])
    if not hyperparameters:
        document = changed(document, "spec.searchSpace.hyperparameters", [])
    return document


MIXED: list[dict[str, Any]] = [
    {"name": "optimizer", "categorical": {"choices": ["sgd", "adam", "rmsprop"]}},
    {"name": "learning_rate", "continuous": {"min": "0.03", "max": "0.3", "scale": "Log", "numBases": 3}},
    {
        "name": "momentum",
        "continuous": {"min": "0", "max": "0.9", "numBases": 3},
        "when": {"decision": "optimizer", "values": ["sgd", "adam"]},
    },
    {"name": "dropout", "continuous": {"min": "0", "max": "0.5", "numBases": 3}, "when": {"decision": "depth", "values": ["2", "3"]}},
    {"name": "batch_size", "integer": {"min": 32, "max": 128, "step": 2, "scale": "Log"}},
]
"""Hyperparameters of every kind, two of them conditional."""
UPDATE_RULES = MIXED[:3]


ALGORITHMS: dict[str, dict[str, Any] | None] = {
    "Lanes": None,
    "OneStep": {"autoHAS": {"strategy": "OneStep"}},
    "Sampled": {"autoHAS": {"strategy": "OneStep", "sharedUpdate": "Sampled", "temporaryBatch": "Own"}},
    "Paired": {"autoHAS": {"strategy": "Paired", "pairedSamples": 3}},
    "RandomSharing": {"name": "RandomSharing", "randomSharing": {"numSamples": 5}},
    "RandomSearch": {"name": "RandomSearch"},
    "Mixed lanes": {"seed": 1},
    "Mixed one-step": {"seed": 1, "autoHAS": {"strategy": "OneStep"}},
}
SPACES: dict[str, list[dict[str, Any]]] = {"Mixed lanes": MIXED, "Mixed one-step": UPDATE_RULES}
"""Hyperparameters of the cases that search more than a rate."""
STAGES: dict[str, list[Stage]] = {
    "Lanes": [Stage.LANES, Stage.WARMUP, Stage.SUPERNET, Stage.RACE],
    "OneStep": [Stage.WARMUP, Stage.SUPERNET, Stage.RACE],
    "Mixed lanes": [Stage.LANES, Stage.WARMUP, Stage.SUPERNET, Stage.RACE],
    "Mixed one-step": [Stage.WARMUP, Stage.SUPERNET, Stage.RACE],
    "Sampled": [Stage.WARMUP, Stage.SUPERNET, Stage.RACE],
    "Paired": [Stage.WARMUP, Stage.SUPERNET, Stage.RACE],
    "RandomSearch": [Stage.RACE],
    "RandomSharing": [Stage.SUPERNET, Stage.RACE, Stage.EVALUATE],
}
"""Stages in which steps are taken."""


def case(name: str) -> dict[str, Any]:
    """The search of one of ALGORITHMS."""
    document = small_search(ALGORITHMS[name])
    if name not in SPACES:
        return document
    document = changed(document, "spec.budget.trainings", "7")  # enough for a few steps of a large batch in each part of the supernet
    return changed(document, "spec.searchSpace.hyperparameters", SPACES[name])


def search(document: dict[str, Any], workdir: Path, sink: MemorySink, stop: Stop | None = None) -> Outcome:
    """Run a search with fake clocks."""
    parsed, space = accept(document)
    identity = Identity(search_uid="uid", pod_uid="pod", attempt=1)
    job = Job(search=parsed, space=space, workdir=workdir, identity=identity, threads=1, device="cpu")
    return run(job, sink, stop or Stop(), Clocks(monotonic=TickingClock(), wall=TickingClock()))

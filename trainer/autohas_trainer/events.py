"""What the engine tells its sink: plain frozen records, one per kind of fact.

The engine writes them, sinks read them (files, HTTP, progress bar). A record knows no file and no clock.
Costs are in units of one full training; steps count all stages together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from autohas_api.budget.stage_plan import StagePlan
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_api.wire.messages import CheckpointInfo, Notice, Result, Stage, StopReason
from autohas_trainer.provenance import DataIdentity, Environment

HISTORY_FILE: Final = "history.jsonl"
"""Where the history sink writes; the engine refuses to start over one without a checkpoint."""

DEFAULT: Final = "default"
"""Name of the default configuration among the candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who speaks: uid of the search and of the pod (empty on a laptop), number of the attempt."""

    search_uid: str
    pod_uid: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """The run as it begins or resumes, of whose steps `step` are done already.

    `stages` are the steps that each stage took, where it has ended, or may take.
    """

    search: Search
    space: Space
    plan: StagePlan
    identity: Identity
    workdir: Path
    step: int
    stages: Mapping[Stage, int]
    starts: int
    interruptions: int
    active_seconds: float
    history_bytes: int
    """Length of history.jsonl that belongs to the restored checkpoint; what is longer is repeated and must be cut."""
    checkpoint: CheckpointInfo | None
    threads: int
    """CPU threads that are used: fewer than there are when batches are small."""
    stop_reason: StopReason | None = None
    """Why the search ends before its plan does, when an earlier process found that."""
    notices: tuple[Notice, ...] = ()
    """What earlier processes told: shown again, since a killed one may not have been heard."""
    data: DataIdentity | None = None
    """The examples that were read."""
    environment: Environment | None = None
    """Where this process runs."""

    @property
    def steps(self) -> int:
        """Steps over all stages, as far as the plan goes."""
        return sum(self.stages.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One optimisation step.

    `loss` is the training loss (nats) before it, None when it was not finite; `reward` and `sample` only in the supernet.
    """

    stage: Stage
    step: int
    steps: int
    cost: float
    loss: float | None
    learning_rate: float
    candidate: str | None = None
    reward: float | None = None
    advantage: float | None = None
    is_rejected: bool = False
    """Whether the update of the shared weights was taken back."""
    sample: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """The controller after an update: probabilities per decision (choice order), entropy ratio per decision, 0 to 1."""

    step: int
    cost: float
    probabilities: Mapping[str, tuple[float, ...]]
    entropy: Mapping[str, float]
    normalized_entropy: float
    baseline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord:
    """A candidate compared on the selection split after `fraction` (1/9, 1/3, 1) of a full training.

    `score` is the objective (quality with the cost term, higher is better), `metric` in its own unit, `loss` the task's; all None when
    the training diverged.
    """

    stage: Stage
    name: str
    values: Mapping[str, str]
    step: int
    cost: float
    fraction: float
    score: float | None
    metric: float | None
    loss: float | None
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a search: the message for status and everything that result.json adds to it."""

    result: Result
    winner: str
    configuration: Mapping[str, str]
    recipe: Mapping[str, str | int]
    """The whole training recipe of the winner, values absolute."""
    default: Mapping[str, str]
    candidates: tuple[CandidateRecord, ...]
    """Every comparison of the race, in order."""
    test_scores: tuple[float, ...]
    """Test scores of the winner, the kept model first, then its further seeds."""
    cost_by_stage: Mapping[str, float]
    seconds_by_stage: Mapping[str, float]
    preprocessing_digest: str | None = None
    """Of preprocessing.json; None in a result.json of an earlier version, which wrote none."""


class Sink(Protocol):
    """Where records go. Called from the engine's thread only; must return quickly and must not raise."""

    def started(self, info: RunInfo) -> None:
        """Once, before the first step of this process."""

    def step(self, record: StepRecord) -> None:
        """After every step."""

    def planned(self, stage: Stage, stages: Mapping[Stage, int]) -> None:
        """When `stage` begins, and when its plan changes: steps per stage, those behind as they were, the others as planned."""

    def busy(self, doing: str) -> None:
        """Before work that makes no steps and may take long, such as reading the data; perhaps before `started`. `doing` is for people."""

    def at_work(self) -> None:
        """After every batch of work that makes no steps, a comparison or the last test: it may take longer than a stall may."""

    def policy(self, record: PolicyRecord) -> None:
        """After every update of the controller."""

    def candidate(self, record: CandidateRecord) -> None:
        """After every comparison."""

    def flush(self) -> int:
        """Make everything written so far durable; returns the length of history.jsonl in bytes, for the checkpoint."""

    def checkpointed(self, info: CheckpointInfo, *, seconds: float, size_bytes: int) -> None:
        """After a checkpoint became durable."""

    def checkpoint_failed(self) -> None:
        """After a checkpoint could not be written; the search goes on and tries again after the next period."""

    def notice(self, notice: Notice) -> None:
        """Something that a person should hear of once."""

    def ends_early(self, reason: StopReason) -> None:
        """Once, when it is known that the search ends before its plan does; a result follows all the same."""

    def finished(self, outcome: Outcome) -> None:
        """Once, after the test; writes result.json and config.yaml before the process may exit 0."""


class StopRequest(Protocol):
    """Asked by the engine after every step."""

    @property
    def requested(self) -> bool:
        """True once the process was asked to stop (SIGTERM, SIGINT)."""

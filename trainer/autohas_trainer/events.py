"""The events of a search: frozen dataclasses, one per kind of fact, and the protocol of the sinks that receive them.

The engine emits them, sinks read them (files, HTTP, progress bar, log). An event knows no file and no clock.
Costs are in units of one full training; steps count all stages together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.base.objective_metrics import metric_text
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_api.wire.messages import CheckpointInfo, Effect, Notice, Result, Stage, StopReason
from autohas_trainer.provenance import DataIdentity, Environment

HISTORY_FILE: Final = "history.jsonl"
"""File name of the history; the engine refuses to start in a folder that has a history and no checkpoint."""

DEFAULT: Final = "default"
"""Name of the default configuration among the candidates."""


def finite(value: float) -> float | None:
    """The value, or None for infinities and NaN, which JSON does not have."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The sender of messages: uid of the search and of the pod (both empty on a laptop), number of the attempt."""

    search_uid: str
    pod_uid: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run as it starts or resumes; `step` of its steps are done.

    `stages` are the steps per stage: as taken for the stages that have ended, as planned for the others.
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
    """Length of history.jsonl at the restored checkpoint; the sink cuts what is longer, since the engine repeats it."""
    checkpoint: CheckpointInfo | None
    threads: int
    """CPU threads in use: fewer than available where batches are small."""
    stop_reason: StopReason | None = None
    """Why the search ends before its plan does, where an earlier process decided that."""
    notices: tuple[Notice, ...] = ()
    """Notices of earlier processes: issued again, since a killed process may have reached no reader."""
    data: DataIdentity | None = None
    """The examples that the run trains on."""
    num_train: int = 0
    """Number of examples of the train split; 0 where it is not known."""
    environment: Environment | None = None
    """Versions and hardware of this process."""
    space_digest: str | None = None
    """Digest of space.json; None where the search lists its decisions, or has a template."""
    effects: tuple[Effect, ...] = ()
    """Effects of single changes that earlier processes have measured."""

    @property
    def steps(self) -> int:
        """Steps over all stages, as planned now."""
        return sum(self.stages.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUse:
    """What a step used: for people, never for a decision, and in no digest.

    `flops` counts two per multiply-accumulate of the network, the backward pass as two forward passes; 0 where it cannot be counted.
    """

    num_examples: int
    flops: float
    waited_s: float = field(compare=False)
    """Seconds that the step waited for its batches: a clock's, so that steps are equal whatever it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUse:
    """What the steps of a stage used, over all processes that worked on it."""

    num_examples: int = 0
    flops: float = 0.0
    waited_s: float = 0.0
    peak_memory: Mapping[str, int] = field(default_factory=dict)
    """Bytes by kind: `process` (resident) and, on a GPU, `device` (as torch's allocator counts them)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """Emitted after every optimisation step.

    `loss` is the training loss (nats) before it, None when it was not finite or is not read from the device in this step; `reward` and
    `sample` only in the supernet.
    """

    stage: Stage
    step: int
    steps: int
    cost: float
    loss: float | None
    learning_rate: float
    candidate: str | None = None
    is_finite: bool = True
    """Whether no loss that was read in this step shows a divergence."""
    reward: float | None = None
    advantage: float | None = None
    is_rejected: bool = False
    """Whether the guard undid the update of the shared weights."""
    sample: Mapping[str, str] | None = None
    use: StepUse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """Emitted after every update of the controller: probabilities per decision (choice order), entropy ratio per decision, 0 to 1."""

    step: int
    cost: float
    probabilities: Mapping[str, tuple[float, ...]]
    entropy: Mapping[str, float]
    normalized_entropy: float
    baseline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRecord:
    """Emitted after a candidate was compared on the selection split, after `fraction` of a full training: at a rung.

    `score` is the objective (quality with the cost term, higher is better), `metric` in its own unit, `loss` the task's; all None when
    the training diverged. `parent` names the candidate of which this one is a changed copy, where the algorithm breeds.
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
    parent: str | None = None


def rank_runners_up(records: Iterable[CandidateRecord], winner: str) -> list[CandidateRecord]:
    """The last comparison of every candidate but the winner, the longest trained and best first; what diverged comes after its equals."""
    furthest: dict[str, CandidateRecord] = {}
    for record in records:
        if record.name != winner and (record.name not in furthest or record.fraction >= furthest[record.name].fraction):
            furthest[record.name] = record
    return sorted(furthest.values(), key=lambda r: (-r.fraction, r.score is None, -(r.score or 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectMeasured:
    """Emitted when a candidate that differs from the default in one decision was compared with it where lanes are."""

    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class LongerTraining:
    """What `steps`, twice those of a training, would give the default: its metric on the selection split, predicted from its own curve.

    `now` is what it has; `low` and `high` are one standard deviation from `predicted`, the worse and the better end.
    """

    steps: int
    now: float
    predicted: float
    low: float
    high: float
    is_clear: bool
    """Whether the gain is more than its standard deviation and takes away a twentieth of the error."""

    def text(self, metric: str) -> str:
        """The prediction with its spread, for people."""
        return f"{metric_text(metric, self.predicted)} ({metric_text(metric, self.low)} to {metric_text(metric, self.high)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBudget:
    """How a search with budget.for Model split its budget.

    Attributes:
        trained: Trainings that the winner's training took.
        searched: Trainings that everything else took: other lanes and all comparisons.
        steps: Steps of the winner's training.
        decay_from: The step from which its learning rate fell; `steps` where it did not.
        gain_of_twice: Share of its error that the default would lose in twice `trained`, by its curve.
        value: What the best step of search that was left at the end promised, as a logarithm of the error; None: none was left.
        price: What the same work of training promised.
    """

    trained: float
    searched: float
    steps: int
    decay_from: int
    gain_of_twice: float
    value: float | None = None
    price: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a search: the termination message and everything that result.json adds to it."""

    result: Result
    winner: str
    configuration: Mapping[str, str]
    recipe: Mapping[str, str | int]
    """The complete training recipe of the winner, in absolute values."""
    default: Mapping[str, str]
    candidates: tuple[CandidateRecord, ...]
    """Every comparison of the race, in order."""
    test_scores: tuple[float, ...]
    """Test scores of the winner, the kept model first, then its further seeds."""
    cost_by_stage: Mapping[str, float]
    seconds_by_stage: Mapping[str, float]
    use_by_stage: Mapping[str, StageUse] = field(default_factory=dict)
    """Empty in a result.json of an earlier version."""
    preprocessing_digest: str | None = None
    """Digest of preprocessing.json; None in a result.json of an earlier version, which wrote none."""
    effects: tuple[Effect, ...] = ()
    """Every measured effect of a single change to the default, the largest first; empty for algorithms that measure none."""
    longer: LongerTraining | None = None
    """None where the default was not compared after 1/3 and at the end of its training."""
    model_budget: ModelBudget | None = None
    """None where the budget was for a configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStarted:
    """Emitted once per process, before its first step."""

    info: RunInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class StagesPlanned:
    """Emitted when `stage` begins and when its plan changes.

    `stages` are the steps per stage: as taken for the stages that have ended, as planned for the others.
    """

    stage: Stage
    stages: Mapping[Stage, int]
    use: Mapping[str, StageUse] = field(default_factory=dict)
    """What the stages that have ended used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStarted:
    """Emitted before work that makes no steps and may take long, such as reading the data; possibly before `SearchStarted`."""

    description: str
    """One sentence for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEvaluated:
    """Emitted after every batch of a comparison or of the final test: this work makes no steps and may outlast the stall timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointWritten:
    """Emitted after a checkpoint became durable; `seconds` is the time that it took to write, `size_bytes` also of files that it shares."""

    info: CheckpointInfo
    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFailed:
    """Emitted after a checkpoint could not be written; the search continues and tries again after the next period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeIssued:
    """Emitted when the user should read something once."""

    notice: Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopDecided:
    """Emitted once, when the search is known to end before its plan does; a result follows all the same."""

    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFinished:
    """Emitted once, after the final test; result.json and config.yaml are written before the process may exit 0."""

    outcome: Outcome


Event = (
    StepRecord
    | PolicyRecord
    | CandidateRecord
    | EffectMeasured
    | SearchStarted
    | StagesPlanned
    | WorkStarted
    | BatchEvaluated
    | CheckpointWritten
    | CheckpointFailed
    | NoticeIssued
    | EarlyStopDecided
    | SearchFinished
)
"""Everything that the engine emits. A sink matches on the class; with a final `assert_never` mypy proves that it handles every one."""


class Listener(Protocol):
    """Receives every event, in the engine's thread; must return quickly."""

    def emit(self, event: Event) -> None:
        """Receive one event."""


class Sink(Listener, Protocol):
    """The listener that the engine calls, which also keeps the history."""

    def flush(self) -> int:
        """Make everything written so far durable; returns the length of history.jsonl in bytes, for the checkpoint."""


class StopRequest(Protocol):
    """Tells the engine, after every step, whether to stop."""

    @property
    def is_requested(self) -> bool:
        """Whether the process received SIGTERM or SIGINT."""

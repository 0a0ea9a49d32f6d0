"""The current state of a running search, for the threads that serve it.

The engine's thread writes, server threads read. A write keeps a reference to an immutable event and costs microseconds; everything
else is computed by the reader.
"""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from autohas_api.base.structural_schema import MAX_COUNT
from autohas_api.wire.messages import MAX_NOTICES, NOTICES_PER_RUN, CheckpointInfo, Effect, Notice, Stage, StopReason
from autohas_trainer.events import (
    BatchEvaluated,
    CandidateRecord,
    CheckpointFailed,
    CheckpointWritten,
    EarlyStopDecided,
    EffectMeasured,
    Event,
    NoticeIssued,
    Outcome,
    PolicyRecord,
    RunInfo,
    SearchFinished,
    SearchStarted,
    StagesPlanned,
    StageUse,
    StepRecord,
    StepUse,
    WorkStarted,
)
from autohas_trainer.reporting.sinks.history import History, read_history

__all__ = ["STAGE_ORDER", "STEP_SECONDS", "CheckpointFacts", "ComparedRun", "LiveState", "Pace", "Snapshot", "leader", "stage_at"]

STAGE_ORDER: Final = (Stage.LANES, Stage.WARMUP, Stage.SUPERNET, Stage.RACE, Stage.EVALUATE)
"""The stages in their order."""
STEP_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of step durations, in seconds; a last bucket is unbounded."""
_PACE_STEPS: Final = 128
"""Steps over which a pace is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """The newest checkpoint, its duration and size; both are None for a checkpoint of an earlier process."""

    info: CheckpointInfo
    seconds: float | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What the newest steps used per second, comparisons and checkpoints left out; `flops` is 0 where they cannot be counted."""

    examples: float
    flops: float
    waited: float
    """Share of the time that steps waited for their batches, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """Place of a search among the runs of a comparison, which progress and metrics show as one search."""

    number: int
    """From 1, in the order of the comparison."""
    num_runs: int
    num_finished: int
    """Runs that have ended, in all processes."""
    steps_before: int
    """Steps of these runs."""
    seconds_before: float
    """Their seconds of work."""
    starts: int
    """Processes that worked on the comparison so far."""

    def shift_notice(self, notice: Notice) -> Notice:
        """The notice with an id that grows over all runs; each run counts its own from the start."""
        return notice.replace(id=min(self.number * NOTICES_PER_RUN + notice.id, MAX_COUNT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state at one moment. Times called `at` are monotonic seconds."""

    begun_at: float
    active_at: float
    """Time of the last event: a step, a batch of a comparison, a checkpoint."""
    info: RunInfo | None = None
    started_at: float = 0.0
    first: StepRecord | None = None
    first_at: float = 0.0
    stages: Mapping[Stage, int] = field(default_factory=dict)
    """Steps per stage: taken where it has ended, planned for the others."""
    latest: StepRecord | None = None
    latest_at: float = 0.0
    rewarded: StepRecord | None = None
    policy: PolicyRecord | None = None
    num_policy_updates: int = 0
    leader: CandidateRecord | None = None
    compared: CandidateRecord | None = None
    """The newest comparison."""
    effects: tuple[Effect, ...] = ()
    """Effects of single changes so far, of all processes."""
    checkpoint: CheckpointFacts | None = None
    num_checkpoint_failures: int = 0
    """Failed checkpoints of this process."""
    notices: tuple[Notice, ...] = ()
    stop_reason: StopReason | None = None
    outcome: Outcome | None = None
    steps_by_stage: Mapping[Stage, int] = field(default_factory=dict)
    samples: int = 0
    non_finite_losses: int = 0
    train_loss: float | None = None
    """The loss of a training step that was read last; None where it was not finite, or none was read."""
    step_buckets: tuple[int, ...] = (0,) * (len(STEP_SECONDS) + 1)
    step_seconds: float = 0.0
    pace: Pace | None = None
    use_by_stage: Mapping[str, StageUse] = field(default_factory=dict)
    """What the stages that have ended used."""
    run: ComparedRun | None = None
    """The place of this search in a comparison; None for a search of its own. Everything else is of this search alone, notices aside."""
    least_active_seconds: float = 0.0
    """What `active_seconds` was when this run of a comparison started: the pause before it was shown as work, and a counter never falls."""

    @property
    def position(self) -> int:
        """Steps done over all stages."""
        positions = [self.info.step if self.info is not None else 0]
        positions += [self.latest.step] if self.latest is not None else []
        positions += [self.checkpoint.info.step] if self.checkpoint is not None else []
        return max(positions)

    @property
    def total_position(self) -> int:
        """Steps done over all stages and, in a comparison, over all runs."""
        return self.position + (self.run.steps_before if self.run is not None else 0)

    @property
    def total_share(self) -> float:
        """Share of the planned steps that are done, from 0 to 1; in a comparison all runs count alike, since each has the same budget."""
        share = min(1.0, self.position / self.steps) if self.steps else 0.0
        run = self.run
        return share if run is None else min(1.0, (run.num_finished + share) / run.num_runs)

    @property
    def total_checkpoint(self) -> CheckpointInfo | None:
        """The newest checkpoint, at the step that `total_position` counts."""
        if self.checkpoint is None:
            return None
        info = self.checkpoint.info
        return info if self.run is None else info.replace(step=info.step + self.run.steps_before)

    def active_seconds(self, now: float) -> float:
        """Seconds of work until `now`, over all processes and, in a comparison, over all runs."""
        if self.info is None:
            return 0.0
        earlier = self.run.seconds_before if self.run is not None else 0.0
        return max(self.least_active_seconds, earlier + self.run_seconds(now))

    def run_seconds(self, now: float) -> float:
        """Seconds of work on this search until `now`, over all processes; without the other runs of a comparison."""
        return 0.0 if self.info is None else self.info.active_seconds + max(0.0, now - self.started_at)

    @property
    def starts(self) -> int:
        """Processes that worked on the search, or on the comparison; 0 before this one has counted itself."""
        if self.run is not None:
            return self.run.starts
        return self.info.starts if self.info is not None else 0

    @property
    def stage(self) -> Stage:
        """The current stage; a checkpoint at the end of a stage belongs to the next."""
        position = self.position
        if self.latest is not None and self.latest.step == position:
            return self.latest.stage
        return stage_at(self.stages, position) if self.info is not None else Stage.LANES

    @property
    def steps(self) -> int:
        """Steps over all stages, as planned now."""
        return sum(self.stages.values())


_OtherEvent = (
    PolicyRecord
    | CandidateRecord
    | EffectMeasured
    | StagesPlanned
    | WorkStarted
    | BatchEvaluated
    | CheckpointWritten
    | CheckpointFailed
    | NoticeIssued
    | EarlyStopDecided
    | SearchFinished
)
"""Events that change single facts of the snapshot."""


class LiveState:
    """Receives events and returns snapshots. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        now = clock()
        self._snapshot = Snapshot(begun_at=now, active_at=now)
        self._notices: deque[Notice] = deque(maxlen=MAX_NOTICES)
        self._steps_by_stage: dict[Stage, int] = {}
        self._buckets = [0] * (len(STEP_SECONDS) + 1)
        self._samples = 0
        self._non_finite_losses = 0
        self._train_loss: float | None = None
        self._step_seconds = 0.0
        self._uses: deque[tuple[float, StepUse]] = deque(maxlen=_PACE_STEPS)
        """Duration and use of the newest steps."""
        self._first: tuple[StepRecord, float] | None = None
        self._latest: StepRecord | None = None
        self._latest_at = now
        self._rewarded: StepRecord | None = None
        self._policy: PolicyRecord | None = None
        self._num_policy_updates = 0
        self._is_interrupted = True
        """Whether another event came since the last step, so that the gap is no step duration."""
        self._run: ComparedRun | None = None

    def snapshot(self) -> Snapshot:
        """Return the current state."""
        with self._lock:
            first, first_at = self._first or (None, 0.0)
            return replace(
                self._snapshot,
                active_at=max(self._snapshot.active_at, self._latest_at),
                first=first,
                first_at=first_at,
                latest=self._latest,
                latest_at=self._latest_at,
                rewarded=self._rewarded,
                policy=self._policy,
                num_policy_updates=self._num_policy_updates,
                notices=tuple(self._notices),
                steps_by_stage=dict(self._steps_by_stage),
                samples=self._samples,
                non_finite_losses=self._non_finite_losses,
                train_loss=self._train_loss,
                step_buckets=tuple(self._buckets),
                step_seconds=self._step_seconds,
                pace=self._pace(),
            )

    def enter_run(self, run: ComparedRun) -> None:
        """Take the next run of a comparison: what is known of the last one stands until the next one starts. Thread-safe."""
        with self._lock:
            self._run = run
            self._change()

    def emit(self, event: Event) -> None:
        """Bring the snapshot up to date. Thread-safe."""
        match event:
            case StepRecord():
                self._count_step(event)
            case SearchStarted(info=info):
                self._start(info)
            case _:
                with self._lock:
                    self._update(event)

    def _update(self, event: _OtherEvent) -> None:  # noqa: C901 - one case per event
        match event:
            case PolicyRecord():
                self._policy = event
                self._num_policy_updates += 1
            case CandidateRecord():
                self._change(leader=leader(self._snapshot.leader, event), compared=event)
            case EffectMeasured(effect=effect):
                self._change(effects=(*self._snapshot.effects, effect))
            case StagesPlanned(stages=stages, use=use):
                self._change(stages=dict(stages), use_by_stage=dict(use))
            case WorkStarted() | BatchEvaluated():
                self._change()  # a sign of life
            case CheckpointWritten(info=info, seconds=seconds, size_bytes=size):
                self._change(checkpoint=CheckpointFacts(info=info, seconds=seconds, size_bytes=size))
            case CheckpointFailed():
                self._change(num_checkpoint_failures=self._snapshot.num_checkpoint_failures + 1)
            case NoticeIssued(notice=notice):
                self._keep(notice)
                self._change()
            case EarlyStopDecided(reason=reason):
                self._change(stop_reason=reason)
            case SearchFinished(outcome=outcome):
                self._change(outcome=outcome, use_by_stage=dict(outcome.use_by_stage))
            case _:
                assert_never(event)

    def _start(self, info: RunInfo) -> None:
        """Store the run, and read leader and policy of earlier processes from the history."""
        try:
            past = read_history(info.workdir, info.history_bytes)
        except ValueError:  # a damaged line hides the former leader, it does not end the search
            past = History(steps=(), policies=(), candidates=())
        checkpoint = CheckpointFacts(info=info.checkpoint) if info.checkpoint is not None else None
        best = None
        for record in past.candidates:
            best = leader(best, record)
        with self._lock:
            if self._run is not None:
                self._forget_last_run(self._run)
            self._policy = past.policies[-1] if past.policies else None
            compared = past.candidates[-1] if past.candidates else None
            self._change(info=info, started_at=self._clock(), checkpoint=checkpoint, leader=best, compared=compared)
            self._change(stages=dict(info.stages), stop_reason=info.stop_reason, effects=info.effects)
            for notice in info.notices:
                self._keep(notice)

    def _keep(self, notice: Notice) -> None:
        """Add a notice. In a comparison a sentence that an earlier run has said too, such as one about the data, stands once."""
        if self._run is None:
            self._notices.append(notice)
        elif all((each.reason, each.message) != (notice.reason, notice.message) for each in self._notices):
            self._notices.append(self._run.shift_notice(notice))

    def _forget_last_run(self, run: ComparedRun) -> None:
        """Drop what belongs to the run before this one; counters of the process and notices stay."""
        now, last = self._clock(), self._snapshot
        fresh = Snapshot(begun_at=last.begun_at, active_at=now, num_checkpoint_failures=last.num_checkpoint_failures)
        self._snapshot = replace(fresh, run=run, least_active_seconds=last.active_seconds(now))
        self._first, self._latest, self._rewarded, self._train_loss = None, None, None, None
        self._uses.clear()

    def _count_step(self, record: StepRecord) -> None:
        """Count the step and its duration."""
        now = self._clock()
        with self._lock:
            if self._first is None:
                self._first = (record, now)
            if not self._is_interrupted:
                duration = now - self._latest_at
                self._buckets[bisect.bisect_left(STEP_SECONDS, duration)] += 1
                self._step_seconds += duration
                if record.use is not None:
                    self._uses.append((duration, record.use))
            self._is_interrupted = False
            self._latest, self._latest_at = record, now
            self._steps_by_stage[record.stage] = self._steps_by_stage.get(record.stage, 0) + 1
            if record.sample is not None:
                self._samples += 1
            if record.loss is not None:
                self._train_loss = record.loss
            if not record.is_finite:
                self._train_loss = None
                self._non_finite_losses += 1
            if record.reward is not None:
                self._rewarded = record

    def _pace(self) -> Pace | None:
        """Return the pace of the newest steps; None before the second of them."""
        seconds = sum(duration for duration, _ in self._uses)
        if seconds <= 0:
            return None
        examples, flops, waited_s = (
            sum(values) for values in zip(*((u.num_examples, u.flops, u.waited_s) for _, u in self._uses), strict=True)
        )
        return Pace(examples=examples / seconds, flops=flops / seconds, waited=min(1.0, waited_s / seconds))

    def _change(self, **facts: object) -> None:
        self._is_interrupted = True
        self._snapshot = replace(self._snapshot, active_at=self._clock(), **facts)  # type: ignore[arg-type]  # names are checked at run time


def leader(current: CandidateRecord | None, record: CandidateRecord) -> CandidateRecord | None:
    """Return the leading candidate: the best score at the largest share of a training so far."""
    if record.score is None:
        return current
    if current is None or current.score is None:
        return record
    return max(current, record, key=lambda r: (round(r.fraction, 6), r.score or 0.0))


def stage_at(stages: Mapping[Stage, int], position: int) -> Stage:
    """Return the stage of the step after `position`; `stages` are the steps per stage."""
    end = 0
    for stage, steps in stages.items():
        end += steps
        if position < end:
            return stage
    return Stage.EVALUATE

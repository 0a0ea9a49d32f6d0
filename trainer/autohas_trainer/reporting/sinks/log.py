"""The search as a structured log: stages, comparisons, checkpoints and the result; never single steps."""

from __future__ import annotations

from typing import Any, assert_never

from autohas_api.wire.messages import NOTICE_TYPES, Notice, Stage
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
    StepRecord,
    WorkStarted,
)
from autohas_trainer.reporting.sinks.effect_text import effect_text

__all__ = ["LogSink"]


class LogSink:
    """Writes one line per event: a constant message and keys."""

    def __init__(self, logger: Any) -> None:  # noqa: ANN401 - structlog's loggers are lazy proxies without a type
        """`logger` is a bound structlog logger."""
        self._logger = logger
        self._stage: Stage | None = None

    def emit(self, event: Event) -> None:
        """Write the event's line."""
        match event:
            case StepRecord():
                self._log_stage(event)
            case CandidateRecord():
                self._log_candidate(event)
            case SearchStarted(info=info):
                self._log_start(info)
            case WorkStarted(description=description):
                self._logger.info("work started", message=description)
            case CheckpointWritten(info=info, seconds=seconds, size_bytes=size):
                self._logger.info("checkpoint written", step=info.step, seconds=round(seconds, 3), bytes=size, digest=info.digest)
            case NoticeIssued(notice=notice):
                self._log_notice(notice)
            case SearchFinished(outcome=outcome):
                self._log_outcome(outcome)
            case PolicyRecord() | EffectMeasured() | StagesPlanned() | BatchEvaluated() | CheckpointFailed() | EarlyStopDecided():
                pass  # too frequent, or in other lines: stages by their first step, early stops and failing checkpoints by notices
            case _:
                assert_never(event)

    def _log_start(self, info: RunInfo) -> None:
        self._logger.info(
            "search started",
            search=info.search.metadata.name,
            algorithm=info.search.spec.algorithm.name,
            configurations=info.space.size(),
            step=info.step,
            steps=info.steps,
            trainings=round(info.plan.predicted_trainings, 3),
            threads=info.threads,
            starts=info.starts,
            resumed=info.checkpoint is not None,
        )

    def _log_stage(self, record: StepRecord) -> None:
        """Log the first step of each stage only."""
        if record.stage is not self._stage:
            self._stage = record.stage
            self._logger.info("stage started", stage=record.stage, step=record.step, steps=record.steps, cost=round(record.cost, 4))

    def _log_candidate(self, record: CandidateRecord) -> None:
        self._logger.info(
            "candidate compared",
            stage=record.stage,
            candidate=record.name,
            fraction=round(record.fraction, 4),
            score=record.score,
            kept=record.kept,
            **({} if record.parent is None else {"parent": record.parent}),
        )

    def _log_notice(self, notice: Notice) -> None:
        """Log a notice, as a warning when something was lost."""
        level = self._logger.info if NOTICE_TYPES.get(notice.reason) == "Normal" else self._logger.warning
        level("notice issued", id=notice.id, reason=notice.reason, message=notice.message)

    def _log_outcome(self, outcome: Outcome) -> None:
        self._logger.info(
            "search finished",
            winner=outcome.winner,
            configuration=dict(outcome.configuration),
            test_score=outcome.result.test_score,
            default_test_score=outcome.result.default_test_score,
            trainings=outcome.result.trainings,
            **({"default_at_twice_the_steps": outcome.longer.predicted} if outcome.longer is not None else {}),
            **({"largest_effects": [f"{e.decision} {e.value}: {effect_text(e)}" for e in outcome.effects[:2]]} if outcome.effects else {}),
            stop_reason=outcome.result.stop_reason.value,
            digest=outcome.result.digest,
        )

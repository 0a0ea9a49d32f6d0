"""The search told to a structured log: stages, comparisons, checkpoints and the result; never single steps."""

from __future__ import annotations

from typing import Any

from autohas_api.wire.messages import NOTICE_TYPES, CheckpointInfo, Notice, Stage
from autohas_trainer.events import CandidateRecord, Outcome, RunInfo, StepRecord
from autohas_trainer.reporting.sinks.null import SilentSink

__all__ = ["LogSink"]


class LogSink(SilentSink):
    """One line per fact: a constant message and keys."""

    def __init__(self, logger: Any) -> None:  # noqa: ANN401 - structlog's loggers are lazy proxies without a type
        """`logger` is a bound structlog logger."""
        self._logger = logger
        self._stage: Stage | None = None

    def started(self, info: RunInfo) -> None:
        """What is searched, and from where."""
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

    def busy(self, doing: str) -> None:
        """What keeps the trainer busy without a step."""
        self._logger.info("work began", message=doing)

    def step(self, record: StepRecord) -> None:
        """Only the first of a stage."""
        if record.stage is not self._stage:
            self._stage = record.stage
            self._logger.info("stage began", stage=record.stage, step=record.step, steps=record.steps, cost=round(record.cost, 4))

    def candidate(self, record: CandidateRecord) -> None:
        """Every comparison."""
        self._logger.info(
            "candidate compared",
            stage=record.stage,
            candidate=record.name,
            fraction=round(record.fraction, 4),
            score=record.score,
            kept=record.kept,
        )

    def checkpointed(self, info: CheckpointInfo, *, seconds: float, size_bytes: int) -> None:
        """Every checkpoint."""
        self._logger.info("checkpoint written", step=info.step, seconds=round(seconds, 3), bytes=size_bytes, digest=info.digest)

    def notice(self, notice: Notice) -> None:
        """As a warning when something was lost."""
        level = self._logger.info if NOTICE_TYPES.get(notice.reason) == "Normal" else self._logger.warning
        level("notice", id=notice.id, reason=notice.reason, message=notice.message)

    def finished(self, outcome: Outcome) -> None:
        """The result."""
        self._logger.info(
            "search finished",
            winner=outcome.winner,
            configuration=dict(outcome.configuration),
            test_score=outcome.result.test_score,
            default_test_score=outcome.result.default_test_score,
            trainings=outcome.result.trainings,
            stop_reason=outcome.result.stop_reason.value,
            digest=outcome.result.digest,
        )

"""A sink that hears everything and does nothing: sinks override what they care about."""

from __future__ import annotations

from collections.abc import Mapping

from autohas_api.wire.messages import CheckpointInfo, Notice, Stage, StopReason
from autohas_trainer.events import CandidateRecord, Outcome, PolicyRecord, RunInfo, StepRecord

__all__ = ["SilentSink"]


class SilentSink:
    """Every method of `records.Sink`, without effect."""

    def started(self, info: RunInfo) -> None:
        """Once, before the first step of this process."""

    def step(self, record: StepRecord) -> None:
        """After every step."""

    def planned(self, stage: Stage, stages: Mapping[Stage, int]) -> None:
        """When a stage begins, and when its plan changes."""

    def busy(self, doing: str) -> None:
        """Before work that makes no steps and may take long."""

    def at_work(self) -> None:
        """After every batch of work that makes no steps."""

    def policy(self, record: PolicyRecord) -> None:
        """After every update of the controller."""

    def candidate(self, record: CandidateRecord) -> None:
        """After every comparison."""

    def flush(self) -> int:
        """Nothing is kept: 0 bytes."""
        return 0

    def checkpointed(self, info: CheckpointInfo, *, seconds: float, size_bytes: int) -> None:
        """After a checkpoint became durable."""

    def checkpoint_failed(self) -> None:
        """After a checkpoint could not be written."""

    def notice(self, notice: Notice) -> None:
        """Something that a person should hear of once."""

    def ends_early(self, reason: StopReason) -> None:
        """The search ends before its plan does."""

    def finished(self, outcome: Outcome) -> None:
        """Once, after the test."""

"""Several sinks as one, in order. The history comes first: a result must never lie beside a history that misses its end."""

from __future__ import annotations

from collections.abc import Mapping

from autohas_api.wire.messages import CheckpointInfo, Notice, Stage, StopReason
from autohas_trainer.events import CandidateRecord, Outcome, PolicyRecord, RunInfo, Sink, StepRecord
from autohas_trainer.reporting.sinks.history import HistorySink

__all__ = ["Sinks"]


class Sinks:
    """The history and everybody else who listens."""

    def __init__(self, history: HistorySink, *others: Sink) -> None:
        """`others` hear every record after the history, in the order given."""
        self._history = history
        self._all: tuple[Sink, ...] = (history, *others)

    def started(self, info: RunInfo) -> None:
        """Once, before the first step of this process."""
        for sink in self._all:
            sink.started(info)

    def step(self, record: StepRecord) -> None:
        """After every step."""
        for sink in self._all:
            sink.step(record)

    def planned(self, stage: Stage, stages: Mapping[Stage, int]) -> None:
        """When a stage begins, and when its plan changes."""
        for sink in self._all:
            sink.planned(stage, stages)

    def busy(self, doing: str) -> None:
        """Before work that makes no steps and may take long."""
        for sink in self._all:
            sink.busy(doing)

    def at_work(self) -> None:
        """After every batch of work that makes no steps."""
        for sink in self._all:
            sink.at_work()

    def policy(self, record: PolicyRecord) -> None:
        """After every update of the controller."""
        for sink in self._all:
            sink.policy(record)

    def candidate(self, record: CandidateRecord) -> None:
        """After every comparison."""
        for sink in self._all:
            sink.candidate(record)

    def flush(self) -> int:
        """The history's length; the others keep nothing that a checkpoint needs."""
        return self._history.flush()

    def checkpointed(self, info: CheckpointInfo, *, seconds: float, size_bytes: int) -> None:
        """After a checkpoint became durable."""
        for sink in self._all:
            sink.checkpointed(info, seconds=seconds, size_bytes=size_bytes)

    def checkpoint_failed(self) -> None:
        """After a checkpoint could not be written."""
        for sink in self._all:
            sink.checkpoint_failed()

    def notice(self, notice: Notice) -> None:
        """Something that a person should hear of once."""
        for sink in self._all:
            sink.notice(notice)

    def ends_early(self, reason: StopReason) -> None:
        """The search ends before its plan does."""
        for sink in self._all:
            sink.ends_early(reason)

    def finished(self, outcome: Outcome) -> None:
        """Once, after the test: the history is made durable before result.json appears."""
        self._history.flush()
        for sink in self._all:
            sink.finished(outcome)

"""When checkpoints are written, and what happens when one cannot be.

A periodic checkpoint is copied to memory between two steps and written in a thread; everything that must be durable before the search goes
further waits for it: the checkpoint of step 0, that at the end of a stage, that of a request to stop. At most one is in flight. A second
one waits for it, so that the disk sets the pace: to leave the second one out would let checkpoints become older than their period, and to
drop the first would let a slow disk finish none. Whether one is in flight changes no bit of the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch

from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.checkpointing.background import Background
from autohas_trainer.engine.checkpointing.checkpoint import CheckpointStore, Draft, Saved
from autohas_trainer.engine.checkpointing.staging import Part
from autohas_trainer.engine.memory_limit import measure_memory_left
from autohas_trainer.errors import storage_sentence
from autohas_trainer.events import CheckpointFailed, CheckpointWritten, Sink

__all__ = ["Checkpointer", "Snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a search is between two steps; it may change with the next one."""

    state: Mapping[str, Any]
    """Everything that is no tensor, as JSON."""
    parts: Mapping[str, Part]
    origin: Mapping[str, Any]


class Checkpointer:
    """Writes checkpoints: on demand, and when the period is over. A context that waits for the one in flight."""

    def __init__(  # noqa: PLR0913 - what it is between
        self,
        store: CheckpointStore,
        take: Callable[[int], Snapshot],
        ledger: Ledger,
        sink: Sink,
        notify: Callable[[NoticeReason, str], None],
        *,
        period_seconds: int,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is written yet; the first period begins now.

        Args:
            store: Where checkpoints lie.
            take: Returns the search before the next step of the stage with this index.
            ledger: Knows the step that the search stands at.
            sink: Is given what became of each checkpoint.
            notify: Issues a notice.
            period_seconds: Between two periodic checkpoints.
            clock: Returns monotonic seconds.
        """
        self._store, self._take, self._ledger = store, take, ledger
        self._sink, self._notify = sink, notify
        self._period_seconds, self._clock = period_seconds, clock
        self._last = clock()
        """When the newest checkpoint was tried, or this process began: by the clock."""
        self._step = 0
        """The step of the newest try."""
        self._flight: Background[Saved] | None = None
        self._is_failing = False
        """Whether the newest try failed: of several failures in a row, the first issues a notice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait for the checkpoint in flight, unless the person asked to end at once."""
        if isinstance(error, KeyboardInterrupt) and self._flight is not None:
            self._flight.abandon()
        try:
            self._settle(waits=True)
        except Exception:
            if error is None:  # the search's own error is the one to raise
                raise

    def look(self, index: int) -> None:
        """After each step of stage `index`: report a checkpoint that was written meanwhile, and begin one if the period is over.

        Raises:
            Exception: what the thread raised that is no fault of the disk.
        """
        self._settle(waits=False)
        if self._clock() - self._last < self._period_seconds:
            return
        self._settle(waits=True)
        self._try(partial(self._begin, index))

    def stop(self, index: int) -> int:
        """After the last step of a process, of stage `index`: make one checkpoint durable; returns its step.

        One that is being written is taken, of whichever step: the grace period may not last for two.

        Raises:
            OSError: the disk did not take it.
        """
        self._settle(waits=False)
        if self._flight is not None:
            try:
                self._report(self._land(self._flight))
            except OSError as error:
                self._report_failure(error)
            else:
                return self._step
        self.save(index)
        return self._step

    def try_to_save(self, index: int) -> None:
        """As `save`; a disk that does not take it costs this checkpoint, not the search: the next period tries again."""
        self._try(partial(self.save, index))

    def save(self, index: int) -> None:
        """Checkpoint before the next step of stage `index`, durably.

        Raises:
            OSError: the disk is full, read-only or gone; the checkpoints before are whole.
        """
        self._settle(waits=True)
        self._report(self._store.write(self._draft(index)))

    def _draft(self, index: int) -> Draft:
        self._last, self._step = self._clock(), self._ledger.step
        snapshot = self._take(index)
        return self._store.draft(self._step, snapshot.state, snapshot.parts, snapshot.origin)

    def _begin(self, index: int) -> None:
        """Copy the search and write the copy in a thread; where memory has no room for a copy, write before the next step."""
        draft = self._draft(index)
        if _has_room(draft.num_changed_bytes):
            self._flight = Background(partial(self._store.write, draft.copied()))
        else:
            self._report(self._store.write(draft))

    def _try(self, save: Callable[[], None]) -> None:
        try:
            save()
        except OSError as error:
            self._report_failure(error)

    def _settle(self, *, waits: bool) -> None:
        """Report the checkpoint in flight if it has ended; with `waits`, when it has."""
        if self._flight is None or not (waits or self._flight.is_done):
            return
        try:
            self._report(self._land(self._flight))
        except OSError as error:
            self._report_failure(error)

    def _land(self, flight: Background[Saved]) -> Saved:
        """Wait for the checkpoint in flight; what its thread raised is raised here, once."""
        try:
            return flight.result()
        finally:
            if flight.is_done:  # a second Ctrl-C may end the wait before
                self._flight = None

    def _report(self, saved: Saved) -> None:
        self._is_failing = False
        self._sink.emit(CheckpointWritten(info=saved.info, seconds=saved.seconds, size_bytes=saved.size))

    def _report_failure(self, error: OSError) -> None:
        self._sink.emit(CheckpointFailed())
        if not self._is_failing:
            self._is_failing = True
            cause = storage_sentence(error) or f"{error.filename or 'a file'}: {error.strerror or error}"
            text = f"no checkpoint at step {self._step}: {cause}. The search continues and tries again every {self._period_seconds} s"
            self._notify(NoticeReason.CHECKPOINT_FAILED, text)


def _has_room(num_bytes: int) -> bool:
    """Whether a copy of this size takes no more than half of the memory that is left; the steps need the other half."""
    room = measure_memory_left(torch.device("cpu"))
    return room is None or num_bytes <= room.left // 2

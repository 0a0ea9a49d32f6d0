"""One sink that passes every event to several listeners, in order.

The history comes first: result.json must never exist next to a history that lacks the end of the search.
"""

from __future__ import annotations

from autohas_trainer.events import Event, Listener, SearchFinished
from autohas_trainer.reporting.sinks.history import HistorySink

__all__ = ["FanOutSink"]


class FanOutSink:
    """The history and all other listeners."""

    def __init__(self, history: HistorySink, *listeners: Listener) -> None:
        """`listeners` receive every event after the history, in the order given."""
        self._history = history
        self._listeners: tuple[Listener, ...] = (history, *listeners)

    def emit(self, event: Event) -> None:
        """Pass the event on; before the last one the history is made durable, so that result.json appears after it."""
        if isinstance(event, SearchFinished):
            self._history.flush()
        for listener in self._listeners:
            listener.emit(event)

    def flush(self) -> int:
        """Flush the history and return its length in bytes; the other listeners keep nothing that a checkpoint needs."""
        return self._history.flush()

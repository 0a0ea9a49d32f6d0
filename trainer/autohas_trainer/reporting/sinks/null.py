"""A sink that ignores every event, for runs whose outcome alone matters."""

from __future__ import annotations

from autohas_trainer.events import Event

__all__ = ["NullSink"]


class NullSink:
    """Ignores every event and keeps no history."""

    def emit(self, event: Event) -> None:
        """Ignore the event."""

    def flush(self) -> int:
        """Return 0: no history is kept."""
        return 0

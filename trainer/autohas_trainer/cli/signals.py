"""SIGTERM or SIGINT sets a flag that the engine reads after every step.

The handlers are installed before torch is imported, so that a pod that is preempted in its first second ends in order too.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["StopOnSignal"]


class StopOnSignal:
    """An `events.StopRequest` that signals set."""

    def __init__(self, *, insist: bool) -> None:
        """`insist`: a second Ctrl-C ends the process at once (for terminals); without it, repeated signals have no effect."""
        self.is_requested = False
        self._insist = insist

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on. Main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    @contextmanager
    def take_over(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT inside the block and restore the handlers afterwards; outside the main thread do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous_handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self.install()
        try:
            yield
        finally:
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.is_requested and self._insist and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_requested = True

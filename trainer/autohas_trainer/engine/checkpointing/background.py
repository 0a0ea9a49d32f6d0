"""One piece of work in a thread of its own, which leaves the processor to the training."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Generic, TypeVar

T = TypeVar("T")

__all__ = ["THREAD_NAME", "Abandoned", "Background"]

THREAD_NAME: Final = "checkpoint"
_NICENESS: Final = 15
"""Ours: where torch's threads use every core, the thread gets 3 % of one. While the process waits for the thread, it has all of them."""


class Abandoned(Exception):  # noqa: N818 - a request that was obeyed, not an error
    """The work ended before its time, on request."""


class Background(Generic[T]):
    """Work that has begun."""

    def __init__(self, work: Callable[[Callable[[], None]], T]) -> None:
        """Begin; where no thread can start, end too.

        `work` gets a function to call from time to time, which raises `Abandoned` after `abandon`.
        """
        self._outcome: Future[T] = Future()
        self._work = work
        self._is_abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the pod or the user may have no more threads: then the caller waits for the work
            self._complete()

    def _run(self) -> None:
        _yield_processor()
        self._complete()

    def _complete(self) -> None:
        try:
            self._outcome.set_result(self._work(self._check))
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            self._outcome.set_exception(error)

    def _check(self) -> None:
        if self._is_abandoned.is_set():
            raise Abandoned

    @property
    def is_done(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._outcome.done()

    def result(self) -> T:
        """Wait for the end; return what the work returned, or raise what it raised."""
        if self._thread.is_alive():
            self._thread.join()
        return self._outcome.result()

    def abandon(self) -> None:
        """Ask the work to end at its next check."""
        self._is_abandoned.set()


def _yield_processor() -> None:
    """Lower the priority of this thread; on Linux alone a thread has one of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)

"""Waiting for a condition, never for a time.

The one place that pauses; every wait has a deadline and an error that says what did not come true.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.1  # between two looks: short against every start-up time here, long against the look itself


def until(condition: Callable[[], T | None], *, what: str, deadline_s: float, context: Callable[[], str] = str) -> T:
    """The first answer of `condition` that is true (not None, False or empty).

    Raises TimeoutError after `deadline_s`, naming `what` and adding `context()`, e.g. the end of a log.
    """
    end = time.monotonic() + deadline_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            message = f"not within {deadline_s:g} s: {what}\n{context()}".rstrip()
            raise TimeoutError(message)
        time.sleep(PAUSE_S)

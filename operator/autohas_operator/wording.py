"""Texts for people: cleans untrusted text and formats numbers. Pure.

Every text of a pod, a node or the API server passes `clean` before it reaches the status, an event or a log.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Final

MAX_CONDITION_MESSAGE: Final = 1024
"""Longer texts are cut, so that `kubectl describe` stays readable; the schema allows 2048."""
MAX_EVENT_MESSAGE: Final = 1024
"""The API server refuses longer event messages."""
_HOUR_S: Final = 3600
_MINUTE_S: Final = 60


def clean(text: str, limit: int = MAX_CONDITION_MESSAGE) -> str:
    """`text` on one line, without control, format and surrogate characters, at most `limit` characters."""
    head = text[: 4 * limit]
    printable = "".join(" " if unicodedata.category(c).startswith("C") else c for c in head)
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def duration(seconds: float) -> str:
    """`5400` as `1h30m`: two units at most, so that a watcher sees it change once a minute."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole}s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m"
    hours = whole // _HOUR_S
    return f"{hours}h{whole % _HOUR_S // _MINUTE_S}m"


def percent(value: float) -> str:
    """`42.9` as `42%`: rounded down, so that 100% means done."""
    return f"{int(value)}%"


def timestamp(epoch_s: float) -> str:
    """Seconds since the epoch as the API's time, whole seconds."""
    return datetime.fromtimestamp(int(epoch_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: object) -> float | None:
    """A time of the API as seconds since the epoch; None if the text is not one: annotations hold what people write."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.tzinfo is None else time.timestamp()

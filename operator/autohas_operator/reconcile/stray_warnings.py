"""Warnings about objects that falsely claim to belong to a search: one event and one log line per object, rate-limited per search.

A user who may create pods can create thousands of them; their warnings must not crowd out the events of the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import structlog

from autohas_operator.decide.announcements import Announcement
from autohas_operator.reconcile.events import EventRecorder
from autohas_operator.records.observed import SearchRecord
from autohas_operator.token_bucket import TokenBucket

BURST: Final = 5.0
PER_SECOND: Final = 1 / 60
"""Burst and rate of the warnings of one search."""
MAX_REMEMBERED: Final = 20_000

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class StrayWarnings:
    """Warns about each object once. `monotonic` (seconds) drives the rate limit."""

    def __init__(self, events: EventRecorder, *, monotonic: Callable[[], float]) -> None:
        self._events = events
        self._monotonic = monotonic
        self._warned: dict[str, None] = {}
        self._shares: dict[str, TokenBucket] = {}

    def warn(self, search: SearchRecord, warnings: Mapping[str, Announcement]) -> None:
        """Post the new ones of these warnings, given by object; a later pass posts those beyond the rate limit."""
        for subject, warning in warnings.items():
            if subject in self._warned:
                continue
            if not self._share_of(search.uid).take():
                return
            _remember(self._warned, subject, None)
            key = search.key
            _log.warning("object ignored", namespace=key.namespace, search=key.name, reason=warning.reason, message=warning.message)
            self._events.announce(search, (warning,))

    def _share_of(self, uid: str) -> TokenBucket:
        if uid not in self._shares:
            _remember(self._shares, uid, TokenBucket(rate_per_s=PER_SECOND, burst=BURST, clock=self._monotonic))
        return self._shares[uid]


def _remember(entries: dict[str, T], key: str, value: T) -> None:
    """Add an entry; beyond MAX_REMEMBERED the oldest one is removed."""
    if len(entries) >= MAX_REMEMBERED:
        del entries[next(iter(entries))]
    entries[key] = value

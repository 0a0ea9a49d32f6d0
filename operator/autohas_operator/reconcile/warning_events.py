"""Reads the newest warning event of a stuck child, at growing intervals, to explain why a search makes no progress.

Events are listed, not watched, and a namespace without quota can have hundreds of stuck Jobs for hours: between two lists the last
warning is reused, and all lists together are rate-limited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from autohas_operator.client import EVENTS, KubeClient, list_all
from autohas_operator.decide.readiness import stuck_child
from autohas_operator.errors import OperatorError
from autohas_operator.records.observed import Document, Key, Observed, WarningEvent
from autohas_operator.token_bucket import TokenBucket
from autohas_operator.wording import clean, epoch

INTERVALS_S: Final = (60.0, 120.0, 300.0, 600.0)
"""Seconds between two reads of the events of the same stuck child; the last interval repeats."""
READS_PER_SECOND: Final = 5.0
READS_BURST: Final = 100.0
"""Rate and burst of all lists together; a search beyond the limit reuses its last warning until its next pass."""


@dataclass(slots=True)
class _StuckChild:
    """The last warning about a `subject`: the stuck child and the newest pod, so that every new pod starts afresh."""

    subject: tuple[str, str]
    warning: WarningEvent | None = None
    num_reads: int = 0
    due_s: float = -math.inf


class WarningEvents:
    """The warning events of all stuck searches, one warning for each.

    `clock` gives seconds since the epoch, as the objects of the API server do. `monotonic` measures the intervals: it cannot be set back.
    """

    def __init__(self, client: KubeClient, clock: Callable[[], float], *, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._monotonic = monotonic
        self._bucket = TokenBucket(rate_per_s=READS_PER_SECOND, burst=READS_BURST, clock=monotonic)
        self._stuck_children: dict[Key, _StuckChild] = {}

    def forget(self, key: Key) -> None:
        """Forget a search that is deleted or no longer stuck."""
        self._stuck_children.pop(key, None)

    async def about(self, observed: Observed) -> WarningEvent | None:
        """The newest warning about the stuck child of a search; None if none is stuck."""
        key, uid = observed.search.key, stuck_child(observed, self._clock())
        if uid is None:
            self.forget(key)
            return None
        subject = (uid, max(((pod.created_s, pod.uid) for pod in observed.pods), default=(0.0, ""))[1])
        stuck = self._stuck_children.get(key)
        if stuck is None or stuck.subject != subject:
            stuck = self._stuck_children[key] = _StuckChild(subject=subject)
        if stuck.due_s <= self._monotonic() and self._bucket.take():
            await self._read_warning(stuck, key.namespace, uid)
        return stuck.warning

    async def _read_warning(self, stuck: _StuckChild, namespace: str, uid: str) -> None:
        stuck.due_s = self._monotonic() + INTERVALS_S[min(stuck.num_reads, len(INTERVALS_S) - 1)]
        stuck.num_reads += 1
        try:
            warnings = await list_all(self._client, EVENTS, namespace, fields=f"involvedObject.uid={uid},type=Warning")
        except OperatorError:
            return  # without the right to list events, or during an outage, only the explanation is missing
        stuck.warning = newest_warning(warnings)


def newest_warning(events: Iterable[Document]) -> WarningEvent | None:
    """The newest of these events."""
    newest = max(events, key=_time_s, default=None)
    if newest is None:
        return None
    reason, message = clean(newest.get("reason", ""), 64), clean(newest.get("message", ""), 768)
    return WarningEvent(reason=reason, message=message, time_s=_time_s(newest))


def _time_s(event: Document) -> float:
    """The time of the event's last occurrence: components set different fields."""
    times = (event.get("lastTimestamp"), event.get("eventTime"), event.get("metadata", {}).get("creationTimestamp"))
    return max((epoch(time) or 0.0 for time in times), default=0.0)

"""Posts the operator's Kubernetes events: aggregated, rate-limited, and apart from the passes.

There is one event object per (search, type, reason, message): a repetition raises its count. Names are deterministic, so this also
holds across restarts. Events are best effort; the conditions are authoritative. Under a backlog the newest event is posted first, and
events that are superseded or too old are dropped and counted.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import structlog

from autohas_api.base.digest import sha256
from autohas_api.base.names import API_VERSION, KIND
from autohas_operator.client import EVENTS, KubeClient
from autohas_operator.decide.announcements import Announcement
from autohas_operator.errors import ConflictError, OperatorError
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import SearchRecord
from autohas_operator.token_bucket import TokenBucket
from autohas_operator.wording import timestamp

COMPONENT: Final = "autohas-operator"
MAX_WAITING: Final = 10_000
"""Queued events (about 1 KiB each) beyond which the oldest one is dropped."""
BACKLOG: Final = 100
"""Queued events beyond which the newest is posted first, and an event replaces an older one of the same search and reason."""
MAX_AGE_S: Final = 600.0
"""Seconds after which a queued event is dropped: the conditions are newer by then."""
SHARE_BURST: Final = 50.0
SHARE_PER_SECOND: Final = 1 / 30
"""Burst and rate of the events of one search; a whole search posts about ten events."""
MAX_SHARES: Final = 20_000

_log = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    """A queued event, and the time since when it waits."""

    document: dict[str, Any]
    since_s: float

    @property
    def name(self) -> str:
        """The name of the event object, a hash of search and content."""
        return str(self.document["metadata"]["name"])

    @property
    def kind(self) -> tuple[str, str]:
        """Search and reason: a newer event of the same kind supersedes an older one."""
        return self.document["involvedObject"]["uid"], self.document["reason"]


class EventRecorder:
    """Queues announcements and posts them within the rate limit.

    `clock` (seconds since the epoch) dates them. `monotonic` drives the rate limits, so that a clock that is set back stops no events.
    """

    def __init__(
        self, client: KubeClient, metrics: Metrics, clock: Callable[[], float], bucket: TokenBucket, *, monotonic: Callable[[], float]
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._bucket = bucket
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()  # by the event's name, oldest first
        self._newest: dict[tuple[str, str], str] = {}  # its name, by search and reason
        self._arrived = asyncio.Event()
        self._shares: dict[str, TokenBucket] = {}

    def announce(self, search: SearchRecord, announcements: Iterable[Announcement]) -> None:
        """Queue events about a search."""
        for announcement in announcements:
            if not self._share_of(search.uid).take():
                self._metrics.count_dropped_event()
                continue
            self._queue(_Waiting(_document(search, announcement, timestamp(self._clock())), self._monotonic()))
            self._arrived.set()

    def _queue(self, event: _Waiting) -> None:
        """Queue an event as the newest; a repetition adds to the count, and under a backlog it replaces the older one of its kind."""
        same = self._waiting.pop(event.name, None)
        if same is not None:
            event.document["count"] += same.document["count"]
            event.document["firstTimestamp"] = same.document["firstTimestamp"]
        older = self._newest.get(event.kind)
        if older is not None and older in self._waiting and len(self._waiting) > BACKLOG:
            self._drop(older)
        self._waiting[event.name] = event
        self._newest[event.kind] = event.name
        if len(self._waiting) > MAX_WAITING:
            self._drop(next(iter(self._waiting)))

    def _drop(self, name: str) -> None:
        self._take(name)
        self._metrics.count_dropped_event()

    def _take(self, name: str) -> _Waiting:
        event = self._waiting.pop(name)
        if self._newest.get(event.kind) == name:
            del self._newest[event.kind]
        return event

    def _share_of(self, uid: str) -> TokenBucket:
        """The event budget of one search: a trainer with endless notices must not crowd out the events of other searches."""
        if uid not in self._shares:
            if len(self._shares) >= MAX_SHARES:
                del self._shares[next(iter(self._shares))]
            self._shares[uid] = TokenBucket(rate_per_s=SHARE_PER_SECOND, burst=SHARE_BURST, clock=self._monotonic)
        return self._shares[uid]

    async def run(self) -> None:
        """Post queued events, forever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await asyncio.sleep(self._bucket.reserve())
                await self.post_next()

    async def post_next(self) -> bool:
        """Post the oldest queued event, or the newest under a backlog; returns False when none is left."""
        while self._waiting and self._monotonic() - next(iter(self._waiting.values())).since_s > MAX_AGE_S:
            self._drop(next(iter(self._waiting)))
        if not self._waiting:
            return False
        is_late = len(self._waiting) > BACKLOG
        document = self._take(next(reversed(self._waiting) if is_late else iter(self._waiting))).document
        try:
            await self._post(document)
        except OperatorError as error:
            self._metrics.count_dropped_event()
            involved = document["involvedObject"]
            _log.warning(
                "event dropped", namespace=involved["namespace"], search=involved["name"], reason=document["reason"], error=str(error)
            )
        return True

    async def _post(self, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        try:
            await self._client.create(EVENTS, namespace, document)
        except ConflictError:
            existing = await self._client.get(EVENTS, namespace, name)
            repetition = {"count": int(existing.get("count") or 1) + document["count"], "lastTimestamp": document["lastTimestamp"]}
            await self._client.merge(EVENTS, namespace, name, repetition)


def _document(search: SearchRecord, announcement: Announcement, now: str) -> dict[str, Any]:
    identity = sha256([search.uid, announcement.type, announcement.reason, announcement.message]).removeprefix("sha256:")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{search.key.name}.{identity[:16]}", "namespace": search.key.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": search.key.namespace,
            "name": search.key.name,
            "uid": search.uid,
        },
        "type": announcement.type,
        "reason": announcement.reason,
        "message": announcement.message,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }

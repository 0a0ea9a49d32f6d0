"""Kubernetes events of the operator: aggregated, rationed, and never in the way of a pass.

One event object per (search, type, reason, message): a repetition raises its count. Names are deterministic, so this
also holds across restarts. Events are best effort: conditions carry the truth.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog

from autohas_api.digest import sha256
from autohas_api.names import API_VERSION, KIND
from autohas_operator.client import EVENTS, KubeClient
from autohas_operator.errors import ConflictError, OperatorError
from autohas_operator.metrics import Metrics
from autohas_operator.observe import SearchRecord
from autohas_operator.ratelimit import TokenBucket
from autohas_operator.transitions import Announcement
from autohas_operator.wording import timestamp

COMPONENT: Final = "autohas-operator"
MAX_WAITING: Final = 10_000
"""Events are dropped while so many wait (about 1 KiB each)."""
EVENTS_PER_SECOND: Final = 5.0
"""Events wait for Jobs and statuses, not the other way round: they get a quarter of the writes."""
EVENTS_BURST: Final = 100.0
SHARE_BURST: Final = 50.0
SHARE_PER_SECOND: Final = 1 / 30
"""Of one search: a whole life makes about ten events."""
MAX_SHARES: Final = 20_000

_log = structlog.get_logger(__name__)


class EventRecorder:
    """Takes announcements at once and posts them when there is time.

    `clock` (seconds since the epoch) dates them, `monotonic` rations them: a clock that is set back must silence nobody.
    """

    def __init__(
        self, client: KubeClient, metrics: Metrics, clock: Callable[[], float], bucket: TokenBucket, *, monotonic: Callable[[], float]
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._bucket = bucket
        self._waiting: deque[dict[str, Any]] = deque()
        self._arrived = asyncio.Event()
        self._shares: dict[str, TokenBucket] = {}

    def announce(self, search: SearchRecord, announcements: Iterable[Announcement]) -> None:
        """Queue events about a search."""
        for announcement in announcements:
            if len(self._waiting) >= MAX_WAITING or not self._share_of(search.uid).take():
                self._metrics.event_dropped()
                continue
            self._waiting.append(_document(search, announcement, timestamp(self._clock())))
            self._arrived.set()

    def _share_of(self, uid: str) -> TokenBucket:
        """What one search may say: a trainer that sends notices without end must not crowd out the others' events."""
        if uid not in self._shares:
            if len(self._shares) >= MAX_SHARES:
                del self._shares[next(iter(self._shares))]
            self._shares[uid] = TokenBucket(rate_per_s=SHARE_PER_SECOND, burst=SHARE_BURST, clock=self._monotonic)
        return self._shares[uid]

    async def run(self) -> None:
        """Post what arrives, forever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await asyncio.sleep(self._bucket.reserve())
                await self.post_next()

    async def post_next(self) -> bool:
        """Post the oldest that waits; False when none does."""
        if not self._waiting:
            return False
        document = self._waiting.popleft()
        try:
            await self._post(document)
        except OperatorError as error:
            self._metrics.event_dropped()
            _log.warning("event was not posted", reason=document["reason"], error=str(error))
        return True

    async def _post(self, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        try:
            await self._client.create(EVENTS, namespace, document)
        except ConflictError:
            known = await self._client.get(EVENTS, namespace, name)
            again = {"count": int(known.get("count") or 1) + 1, "lastTimestamp": document["lastTimestamp"]}
            await self._client.merge(EVENTS, namespace, name, again)


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

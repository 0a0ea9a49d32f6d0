"""Keeps the cache honest: a complete list at the start and every ten minutes, then every search in turn.

Watches may miss a deletion; lists do not. A pass that finds nothing to do writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from autohas_api.names import LABEL_UID
from autohas_operator.cache import Cache, version
from autohas_operator.client import JOBS, PODS, SEARCHES, KubeClient, Resource
from autohas_operator.errors import OperatorError
from autohas_operator.observe import Document, Key
from autohas_operator.workqueue import WorkQueue

JITTER: Final = 0.1

_log = structlog.get_logger(__name__)


async def refill(client: KubeClient, cache: Cache, namespaces: Sequence[str]) -> set[Key]:
    """List everything, remember it and drop what is gone; returns the searches that something changed for."""
    kinds: tuple[tuple[Resource, str | None, Callable[[Document], Key | None], Callable[[set[str], int], set[Key]]], ...] = (
        (SEARCHES, None, cache.put_search, partial(cache.forget_unlisted, cache.searches)),
        (JOBS, LABEL_UID, cache.put_job, partial(cache.forget_unlisted, cache.jobs)),
        (PODS, LABEL_UID, cache.put_pod, partial(cache.forget_unlisted, cache.pods)),
    )
    changed: set[Key] = set()
    for resource, labels, put, forget_unlisted in kinds:
        uids: set[str] = set()
        versions: set[int] = set()
        for namespace in namespaces or (None,):
            async for page in client.pages(resource, namespace, labels=labels):
                versions.add(version(page.resource_version))
                uids |= {item["metadata"]["uid"] for item in page.items}
                changed |= {key for item in page.items if (key := put(item)) is not None}
        changed |= forget_unlisted(uids, min(versions))
    return changed


class Resync:
    """The loop that refills the cache and hands out every key once in `period_s`."""

    def __init__(  # noqa: PLR0913 - each is one collaborator or one knob
        self,
        client: KubeClient,
        cache: Cache,
        queue: WorkQueue[Key],
        *,
        namespaces: Sequence[str],
        period_s: float,
        dice: Callable[[], float],
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._namespaces = namespaces
        self._period_s = period_s
        self._dice = dice

    async def run(self) -> None:
        """Round after round, forever; the first one begins after one period."""
        while True:
            await asyncio.sleep(self._period_s * (1 + JITTER * (2 * self._dice() - 1)))
            try:
                await self.round()
            except OperatorError as error:
                _log.warning("resync failed and is repeated in the next round", error=str(error))

    async def round(self) -> None:
        """List, queue what changed at once and everything else spread over the period."""
        for key in await refill(self._client, self._cache, self._namespaces):
            self._queue.add(key)
        for key in self._cache.all_keys():
            self._queue.add_after(key, self._dice() * self._period_s)

"""Keeps the cache honest: a complete list at the start and every ten minutes, then every search in turn.

Watches may miss a deletion; lists do not. A pass that finds nothing to do writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from autohas_api.names import LABEL_UID
from autohas_operator.cache import Cache, version
from autohas_operator.client import JOBS, PODS, SEARCHES, KubeClient, Listing, Resource
from autohas_operator.errors import OperatorError
from autohas_operator.observe import Key
from autohas_operator.workqueue import WorkQueue

JITTER: Final = 0.1

_log = structlog.get_logger(__name__)


async def refill(client: KubeClient, cache: Cache, namespaces: Sequence[str]) -> set[Key]:
    """List everything, remember it and drop what is gone; returns the searches that something changed for."""
    searches = await _listed(client, SEARCHES, namespaces, None)
    jobs = await _listed(client, JOBS, namespaces, LABEL_UID)
    pods = await _listed(client, PODS, namespaces, LABEL_UID)
    put = (*map(cache.put_search, searches.items), *map(cache.put_job, jobs.items), *map(cache.put_pod, pods.items))
    changed = {key for key in put if key is not None}
    changed |= cache.forget_unlisted(cache.searches, searches)
    changed |= cache.forget_unlisted(cache.jobs, jobs)
    changed |= cache.forget_unlisted(cache.pods, pods)
    return changed


async def _listed(client: KubeClient, resource: Resource, namespaces: Sequence[str], labels: str | None) -> Listing:
    """One list over all namespaces served, as old as its oldest part."""
    where: Iterable[str | None] = namespaces or [None]
    parts = [await client.list(resource, namespace, labels=labels) for namespace in where]
    oldest = min((part.resource_version for part in parts), key=version)
    return Listing(items=tuple(item for part in parts for item in part.items), resource_version=oldest)


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

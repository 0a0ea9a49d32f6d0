"""Resync: lists all objects at the start and every ten minutes, and queues every search once per period.

A watch may miss a deletion, a list does not. A pass that finds nothing to do writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from autohas_api.base.names import LABEL_UID
from autohas_operator.client import SEARCHES, KubeClient, Resource
from autohas_operator.cluster.cache import version
from autohas_operator.cluster.informer import KINDS, Informer
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.errors import ForbiddenError, NotFoundError, OperatorError
from autohas_operator.lenient import get_object, get_text
from autohas_operator.records.observed import Key
from autohas_operator.token_bucket import jitter

JITTER: Final = 0.1

_log = structlog.get_logger(__name__)


async def refill(client: KubeClient, informer: Informer, namespaces: Sequence[str]) -> frozenset[str]:
    """List all objects into the cache, remove those that are gone, and queue the searches concerned; returns the unreadable namespaces.

    A deleted namespace takes the operator's Role in it along; the operator still serves the others.

    Raises:
        OperatorError: there was no answer, or no namespace can be read.
    """
    unreadable: dict[str, OperatorError] = {}
    for namespace in namespaces or (None,):
        try:
            for resource in KINDS:
                await _list(client, informer, resource, namespace)
        except (ForbiddenError, NotFoundError) as error:
            if namespace is None:
                raise
            unreadable[namespace] = error
            _log.warning("namespace unreadable", namespace=namespace, message="ignored until it can be read", error=str(error))
    informer.metrics.set_unreadable_namespaces(len(unreadable))
    if unreadable and len(unreadable) == len(set(namespaces)):
        raise next(iter(unreadable.values()))
    return frozenset(unreadable)


async def _list(client: KubeClient, informer: Informer, resource: Resource, namespace: str | None) -> None:
    """Put one complete list into the cache; each search is queued at once, because the next page may fail."""
    uids: set[str] = set()
    list_version = 0
    async for page in client.pages(resource, namespace, labels=None if resource is SEARCHES else LABEL_UID):
        list_version = version(page.resource_version)
        for item in page.items:
            uids.add(get_text(get_object(item, "metadata"), "uid"))
            informer.put(resource, item)
    informer.forget_unlisted(resource, uids, list_version, namespace)


class Resync:
    """The loop that refills the cache and queues every key once in `period_s`.

    It calls `lost` after each round with the unreadable namespaces; `monotonic` measures how long a namespace has had no search.
    """

    def __init__(  # noqa: PLR0913 - each is one collaborator or one knob
        self,
        client: KubeClient,
        informer: Informer,
        queue: WorkQueue[Key],
        *,
        namespaces: Sequence[str],
        period_s: float,
        rng: Callable[[], float],
        monotonic: Callable[[], float],
        lost: Callable[[frozenset[str]], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._informer = informer
        self._queue = queue
        self._namespaces = namespaces
        self._period_s = period_s
        self._rng = rng
        self._monotonic = monotonic
        self._lost = lost

    async def run(self) -> None:
        """Resync every period, forever; the first round begins after one period."""
        while True:
            await asyncio.sleep(jitter(self._period_s, JITTER, self._rng))
            try:
                await self.round()
            except OperatorError as error:
                self._informer.metrics.count_resync_failure()
                _log.warning("resync failed", error=str(error))
            except Exception as error:  # noqa: BLE001 - a bug in one round must not end the operator
                self._informer.metrics.count_resync_failure()
                _log.error("resync failed with a bug", error=str(error), exc_info=error)

    async def round(self) -> None:
        """List all objects, then queue every search at a random time of the period, also when a list has failed."""
        try:
            self._lost(await refill(self._client, self._informer, self._namespaces))
        finally:
            keys = tuple(self._informer.cache.all_keys())
            for key in keys:
                self._queue.add_after(key, self._rng() * self._period_s)
            self._informer.metrics.expire_namespaces({key.namespace for key in keys}, self._monotonic())

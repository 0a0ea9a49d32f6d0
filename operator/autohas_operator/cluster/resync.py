"""Keeps the cache honest: a complete list at the start and every ten minutes, then every search in turn.

Watches may miss a deletion; lists do not. A pass that finds nothing to do writes nothing.
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
from autohas_operator.rate_limit import jitter
from autohas_operator.records.observed import Key

JITTER: Final = 0.1

_log = structlog.get_logger(__name__)


async def refill(client: KubeClient, informer: Informer, namespaces: Sequence[str]) -> frozenset[str]:
    """List everything, remember it, drop what is gone and wake whom it concerns; returns the namespaces that cannot be read.

    A namespace that was deleted takes the operator's role in it along: it must not take the others.

    Raises:
        OperatorError: no answer, or not one namespace can be read.
    """
    lost: dict[str, OperatorError] = {}
    for namespace in namespaces or (None,):
        try:
            for resource in KINDS:
                await _list(client, informer, resource, namespace)
        except (ForbiddenError, NotFoundError) as error:
            if namespace is None:
                raise
            lost[namespace] = error
            _log.warning("namespace ignored until it can be read", namespace=namespace, error=str(error))
    informer.metrics.set_unreadable_namespaces(len(lost))
    if lost and len(lost) == len(set(namespaces)):
        raise next(iter(lost.values()))
    return frozenset(lost)


async def _list(client: KubeClient, informer: Informer, resource: Resource, namespace: str | None) -> None:
    """One complete list into the cache; each search is woken at once, since the next page may fail."""
    uids: set[str] = set()
    list_version = 0
    async for page in client.pages(resource, namespace, labels=None if resource is SEARCHES else LABEL_UID):
        list_version = version(page.resource_version)
        for item in page.items:
            uids.add(get_text(get_object(item, "metadata"), "uid"))
            informer.put(resource, item)
    informer.forget_unlisted(resource, uids, list_version, namespace)


class Resync:
    """The loop that refills the cache and hands out every key once in `period_s`.

    `lost` is told after each round which namespaces cannot be read; `monotonic` says how long one has been without a search.
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
        """Round after round, forever; the first one begins after one period."""
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
        """List, queue what changed at once and everything else spread over the period, whatever became of the lists."""
        try:
            self._lost(await refill(self._client, self._informer, self._namespaces))
        finally:
            keys = tuple(self._informer.cache.all_keys())
            for key in keys:
                self._queue.add_after(key, self._rng() * self._period_s)
            self._informer.metrics.expire_namespaces({key.namespace for key in keys}, self._monotonic())

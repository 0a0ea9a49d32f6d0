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
from autohas_operator.cluster.informer import KINDS, Intake
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.errors import ForbiddenError, NotFoundError, OperatorError
from autohas_operator.lenient import part, text
from autohas_operator.records.observed import Key

JITTER: Final = 0.1

_log = structlog.get_logger(__name__)


async def refill(client: KubeClient, intake: Intake, namespaces: Sequence[str]) -> frozenset[str]:
    """List everything, remember it, drop what is gone and wake whom it concerns; returns the namespaces that cannot be read.

    A namespace that was deleted takes the operator's role in it along: it must not take the others.

    Raises:
        OperatorError: no answer, or not one namespace can be read.
    """
    lost: dict[str, OperatorError] = {}
    for namespace in namespaces or (None,):
        try:
            for resource in KINDS:
                await _list(client, intake, resource, namespace)
        except (ForbiddenError, NotFoundError) as error:
            if namespace is None:
                raise
            lost[namespace] = error
            _log.warning("namespace ignored until it can be read", namespace=namespace, error=str(error))
    intake.metrics.namespaces_unreadable(len(lost))
    if lost and len(lost) == len(set(namespaces)):
        raise next(iter(lost.values()))
    return frozenset(lost)


async def _list(client: KubeClient, intake: Intake, resource: Resource, namespace: str | None) -> None:
    """One complete list into the cache; each search is woken at once, since the next page may fail."""
    uids: set[str] = set()
    list_version = 0
    async for page in client.pages(resource, namespace, labels=None if resource is SEARCHES else LABEL_UID):
        list_version = version(page.resource_version)
        for item in page.items:
            uids.add(text(part(item, "metadata"), "uid"))
            intake.put(resource, item)
    intake.forget_unlisted(resource, uids, list_version, namespace)


class Resync:
    """The loop that refills the cache and hands out every key once in `period_s`.

    `lost` is told after each round which namespaces cannot be read; `monotonic` says how long one has been without a search.
    """

    def __init__(  # noqa: PLR0913 - each is one collaborator or one knob
        self,
        client: KubeClient,
        intake: Intake,
        queue: WorkQueue[Key],
        *,
        namespaces: Sequence[str],
        period_s: float,
        dice: Callable[[], float],
        monotonic: Callable[[], float],
        lost: Callable[[frozenset[str]], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._intake = intake
        self._queue = queue
        self._namespaces = namespaces
        self._period_s = period_s
        self._dice = dice
        self._monotonic = monotonic
        self._lost = lost

    async def run(self) -> None:
        """Round after round, forever; the first one begins after one period."""
        while True:
            await asyncio.sleep(self._period_s * (1 + JITTER * (2 * self._dice() - 1)))
            try:
                await self.round()
            except OperatorError as error:
                self._intake.metrics.resync_failed()
                _log.warning("resync failed", error=str(error))
            except Exception as error:  # noqa: BLE001 - a bug in one round must not end the operator
                self._intake.metrics.resync_failed()
                _log.error("resync failed with a bug", error=str(error), exc_info=error)

    async def round(self) -> None:
        """List, queue what changed at once and everything else spread over the period, whatever became of the lists."""
        try:
            self._lost(await refill(self._client, self._intake, self._namespaces))
        finally:
            keys = tuple(self._intake.cache.all_keys())
            for key in keys:
                self._queue.add_after(key, self._dice() * self._period_s)
            self._intake.metrics.served({key.namespace for key in keys}, self._monotonic())

"""Puts objects of watches and lists into the cache; an object that cannot be read is logged, counted and ignored.

People may write any labels, annotations and pods: one malformed object must never stop the operator for all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog

from autohas_operator.client import JOBS, PODS, SEARCHES, Resource
from autohas_operator.cluster.cache import Cache
from autohas_operator.lenient import get_object, get_text
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Document, Key

KINDS: Final = (SEARCHES, JOBS, PODS)
"""The resources that are watched and listed; searches first, so that the cache has the search before its children."""

_log = structlog.get_logger(__name__)


class Informer:
    """Puts objects into the cache and queues the searches that they concern."""

    def __init__(self, cache: Cache, wake: Callable[[Key], None], metrics: Metrics) -> None:
        self.cache = cache
        self.metrics = metrics
        self._wake = wake
        self._puts: Mapping[Resource, Callable[[Document], Key | None]] = {
            SEARCHES: cache.put_search,
            JOBS: cache.put_job,
            PODS: cache.put_pod,
        }
        self._drops: Mapping[Resource, Callable[[set[str], int, str | None], set[Key]]] = {
            SEARCHES: partial(cache.forget_unlisted, cache.searches),
            JOBS: partial(cache.forget_unlisted, cache.jobs),
            PODS: partial(cache.forget_unlisted, cache.pods),
        }
        for kind in KINDS:
            metrics.declare_resource(kind.plural)

    def put(self, resource: Resource, document: Document) -> None:
        """Store an object that a watch or a list delivered."""
        self._take(resource, document, self._puts[resource])

    def forget(self, resource: Resource, document: Document) -> None:
        """Remove a deleted object."""
        self._take(resource, document, self.cache.forget)

    def forget_unlisted(self, resource: Resource, listed: set[str], list_version: int, namespace: str | None) -> None:
        """Remove the objects that a complete list of a namespace (None: of all namespaces) no longer contains."""
        for key in self._drops[resource](listed, list_version, namespace):
            self._wake(key)

    def _take(self, resource: Resource, document: Document, remember: Callable[[Document], Key | None]) -> None:
        try:
            key = remember(document)
        except Exception as error:  # noqa: BLE001 - whatever an object contains, the operator handles the others
            self.metrics.count_unreadable(resource.plural)
            metadata = get_object(document, "metadata")
            where = {"namespace": get_text(metadata, "namespace"), "name": get_text(metadata, "name")}
            _log.error("object unreadable", resource=resource.plural, error=str(error), exc_info=error, **where)
            return
        if key is not None:
            self._wake(key)

"""The one way of objects into the cache, from watches and from lists: what cannot be read is logged, counted and left out.

People write labels, annotations and pods as they like; one object must never cost the others their operator.
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
"""What is watched and listed; searches first, so that children find theirs."""

_log = structlog.get_logger(__name__)


class Informer:
    """Remembers objects and wakes the searches that may care, each at once."""

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
        """An object was seen."""
        self._take(resource, document, self._puts[resource])

    def forget(self, resource: Resource, document: Document) -> None:
        """An object is gone."""
        self._take(resource, document, self.cache.forget)

    def forget_unlisted(self, resource: Resource, listed: set[str], list_version: int, namespace: str | None) -> None:
        """Drop what a complete list of a namespace (None: of all) no longer has."""
        for key in self._drops[resource](listed, list_version, namespace):
            self._wake(key)

    def _take(self, resource: Resource, document: Document, remember: Callable[[Document], Key | None]) -> None:
        try:
            key = remember(document)
        except Exception as error:  # noqa: BLE001 - whatever somebody wrote into an object, the others are looked at
            self.metrics.count_unreadable(resource.plural)
            metadata = get_object(document, "metadata")
            where = {"namespace": get_text(metadata, "namespace"), "name": get_text(metadata, "name")}
            _log.error("object ignored: it cannot be read", resource=resource.plural, error=str(error), exc_info=error, **where)
            return
        if key is not None:
            self._wake(key)

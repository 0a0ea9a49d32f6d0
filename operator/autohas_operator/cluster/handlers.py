"""kopf's handlers and settings: three `on.event` handlers pass watch events to the informer.

The handlers have no logic, because kopf swallows their errors: they only update the cache. The operator uses none of kopf's
finalizers, annotations, events and peering: see docs/kubernetes.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import kopf

from autohas_api.base.names import GROUP, LABEL_UID, PLURAL, VERSION
from autohas_operator.client import JOBS, PODS, SEARCHES, Resource
from autohas_operator.cluster.informer import Informer
from autohas_operator.records.observed import Document

Login = Callable[[], Awaitable[kopf.ConnectionInfo]]

DELETED: Final = "DELETED"


def build_registry(informer: Informer, login: Login) -> kopf.OperatorRegistry:
    """A registry of its own, so that several operators fit into one process."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator,unused-ignore]  # kopf types handlers as **kwargs functions
    async def authenticate(**_: Any) -> kopf.ConnectionInfo:  # noqa: ANN401 - kopf's keyword arguments
        return await login()

    def remember(resource: Resource) -> Callable[..., Awaitable[None]]:
        async def handler(event: Document, **_: Any) -> None:  # noqa: ANN401 - kopf's keyword arguments
            take = informer.forget if event["type"] == DELETED else informer.put
            take(resource, event["object"])

        return handler

    kopf.on.event(GROUP, VERSION, PLURAL, id="searches", registry=registry)(remember(SEARCHES))
    kopf.on.event("batch", "v1", "jobs", id="jobs", registry=registry)(remember(JOBS))
    kopf.on.event("", "v1", "pods", id="pods", registry=registry)(remember(PODS))
    return registry


def kopf_settings() -> kopf.OperatorSettings:
    """Settings that reduce kopf to an informer."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True  # another operator's peering object must not pause this one
    settings.posting.enabled = False  # reconcile/events.py posts the events
    settings.scanning.disabled = True  # needs no rights on CRDs and namespaces; the chart installs the CRD
    settings.watching.chunk_size = 500  # bounds the memory of the first list
    settings.watching.label_selectors["batch", "v1", "jobs"] = LABEL_UID
    settings.watching.label_selectors["", "v1", "pods"] = LABEL_UID
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.process.ultimate_exiting_timeout = 25  # within the default grace period of 30 s
    settings.queueing.worker_limit = None  # a limit also counts idle workers
    settings.persistence.finalizer = f"{GROUP}/unused"  # never written; kopf's default is shared by all its operators
    return settings

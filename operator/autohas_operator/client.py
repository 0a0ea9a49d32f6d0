"""The Kubernetes client: six verbs on plain dicts, and their implementation over HTTP.

All other modules know only the protocol `KubeClient`; tests replace it by a fake. Every request has a timeout, and every write
takes a token of the rate limit. Jobs are deleted
 in the foreground: a plain DELETE of a batch/v1 Job orphans its pods.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from autohas_api.base import names
from autohas_operator.errors import UnreachableError, api_error
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Document
from autohas_operator.token_bucket import TokenBucket

PAGE_SIZE: Final = 500
"""Objects per page of a list: bounds the memory of the operator and of the API server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource of the API; `prefix` is the path of its group and version."""

    prefix: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of a collection, an object or a subresource."""
        inside = [] if namespace is None else ["namespaces", namespace]
        parts = [self.prefix, *inside, self.plural, *([name] if name else []), *([subresource] if subresource else [])]
        return "/".join(parts)


SEARCHES: Final = Resource(prefix=f"/apis/{names.API_VERSION}", plural=names.PLURAL)
JOBS: Final = Resource(prefix="/apis/batch/v1", plural="jobs")
PODS: Final = Resource(prefix="/api/v1", plural="pods")
CONFIG_MAPS: Final = Resource(prefix="/api/v1", plural="configmaps")
EVENTS: Final = Resource(prefix="/api/v1", plural="events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list; `resource_version` is the version of the whole list."""

    items: tuple[Document, ...]
    resource_version: str


class KubeClient(Protocol):
    """The requests that the operator makes. All methods raise the errors of `autohas_operator.errors`."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Document:
        """Read one object."""

    def pages(
        self, resource: Resource, namespace: str | None, *, labels: str | None = None, fields: str | None = None
    ) -> AsyncIterator[Page]:
        """List the objects of a namespace (None: of all namespaces) that match the selectors, page by page."""

    async def create(self, resource: Resource, namespace: str, document: Document) -> Document:
        """Create an object; raises ConflictError if the name exists."""

    async def replace_status(self, resource: Resource, document: Document) -> Document:
        """Replace the status of an object; raises ConflictError if the object has another version."""

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Document) -> Document:
        """Apply a JSON merge patch."""

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object with this uid, after its dependents."""


class HttpClient:
    """`KubeClient` over the official asynchronous client, which brings authentication and TLS."""

    def __init__(self, configuration: Configuration, *, timeout_s: float, writes: TokenBucket, metrics: Metrics) -> None:
        self._api = ApiClient(configuration)
        self._timeout_s = timeout_s
        self._writes = writes
        self._metrics = metrics

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()  # type: ignore[no-untyped-call]  # the generated client has no annotation here

    async def get(self, resource: Resource, namespace: str, name: str) -> Document:
        """See `KubeClient`."""
        return await self._request("GET", resource, resource.path(namespace, name))

    async def pages(
        self, resource: Resource, namespace: str | None, *, labels: str | None = None, fields: str | None = None
    ) -> AsyncIterator[Page]:
        """See `KubeClient`."""
        query = {"limit": str(PAGE_SIZE), **({"labelSelector": labels} if labels else {}), **({"fieldSelector": fields} if fields else {})}
        while True:
            answer = await self._request("GET", resource, f"{resource.path(namespace)}?{urlencode(query)}")
            metadata = answer.get("metadata", {})
            yield Page(items=tuple(answer.get("items", [])), resource_version=metadata.get("resourceVersion", ""))
            if not metadata.get("continue"):
                return
            query["continue"] = metadata["continue"]

    async def create(self, resource: Resource, namespace: str, document: Document) -> Document:
        """See `KubeClient`."""
        return await self._write("POST", resource, resource.path(namespace), document)

    async def replace_status(self, resource: Resource, document: Document) -> Document:
        """See `KubeClient`."""
        metadata = document["metadata"]
        return await self._write("PUT", resource, resource.path(metadata["namespace"], metadata["name"], "status"), document)

    async def merge(self, resource: Resource, namespace: str, name: str, patch: Document) -> Document:
        """See `KubeClient`."""
        return await self._write("PATCH", resource, resource.path(namespace, name), patch)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """See `KubeClient`."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        await self._write("DELETE", resource, resource.path(namespace, name), options)

    async def _write(self, verb: str, resource: Resource, path: str, body: Document) -> Document:
        await asyncio.sleep(self._writes.reserve())
        return await self._request(verb, resource, path, body)

    async def _request(self, verb: str, resource: Resource, path: str, body: Document | None = None) -> Document:
        began_s = monotonic()
        status = 0
        try:
            status, headers, raw = await self._exchange(verb, path, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnreachableError(f"{verb} {path}: {type(error).__name__}: {error}") from error
        finally:
            self._metrics.observe_request(verb, resource.plural, status, monotonic() - began_s)
        answer = _decode(raw)
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's success
            text = str(answer.get("message") or raw[:500].decode(errors="replace"))
            raise api_error(
                status=status, message=text, request=f"{verb} {path}", retry_after_s=_parse_retry_after(headers.get("Retry-After"))
            )
        return answer

    async def _exchange(self, verb: str, path: str, body: Document | None) -> tuple[int, Mapping[str, str], bytes]:
        content_type = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        method, url, headers, data, _ = await self._api.param_serialize(
            verb,
            path,
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._api.call_api(method, url, headers, data, None, self._timeout_s)
        return response.status, response.headers, await response.read()  # type: ignore[no-untyped-call]  # as above


async def list_all(
    client: KubeClient, resource: Resource, namespace: str, *, labels: str | None = None, fields: str | None = None
) -> tuple[Document, ...]:
    """List all pages; only for lists that are short."""
    return tuple([item async for page in client.pages(resource, namespace, labels=labels, fields=fields) for item in page.items])


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _parse_retry_after(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None

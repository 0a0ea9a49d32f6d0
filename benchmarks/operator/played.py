"""Plays the node: watches the API server, and acts as a kubelet whose trainers report once and then succeed."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from aiohttp import web

from autohas_api.base.names import LABEL_ATTEMPT, LABEL_SEARCH, TRAINER_CONTAINER
from autohas_api.wire.messages import encode_progress
from autohas_operator.client import PODS, HttpClient, Resource
from autohas_operator.testing.builders import progress, result_text

HTTP_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Server:
    """The API server, read over plain HTTP for watches."""

    session: aiohttp.ClientSession
    url: str
    headers: Mapping[str, str]

    async def watch(self, path: str, handle: Callable[[str, dict[str, Any]], Awaitable[None]]) -> None:
        """Call `handle` with every event from now on, forever; a watch that the server ends continues at its last version."""
        version = await self._version(path)
        while True:
            query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "3000"}
            async with self.session.get(f"{self.url}{path}", params=query, headers=self.headers) as answer:
                async for line in answer.content:
                    event = json.loads(line)
                    version = event["object"]["metadata"]["resourceVersion"]
                    await handle(event["type"], event["object"])

    async def _version(self, path: str) -> str:
        """The version at which a watch begins; a new CRD is served only after a moment, so this retries."""
        while True:
            async with self.session.get(f"{self.url}{path}", headers=self.headers) as answer:
                if answer.status == HTTP_OK:
                    return str((await answer.json())["metadata"]["resourceVersion"])
            await asyncio.sleep(0.1)

    async def text(self, path: str) -> str:
        """A page of the API server."""
        async with self.session.get(f"{self.url}{path}", headers=self.headers) as answer:
            return await answer.text()


class Kubelet:
    """Runs every pod on an address of its own until its trainer has been polled once."""

    def __init__(self, client: HttpClient, namespace: str) -> None:
        self._namespace = namespace
        self._client = client
        self._pods: dict[str, dict[str, Any]] = {}
        self._searches: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add_search(self, search: dict[str, Any]) -> None:
        """Remember a search, for the results of its trainers."""
        self._searches[search["metadata"]["name"]] = search

    async def handle_pod(self, kind: str, pod: dict[str, Any]) -> None:
        """Give a new pod an address and start it."""
        if kind != "ADDED" or pod["metadata"]["name"] in {p["metadata"]["name"] for p in self._pods.values()}:
            return
        number = len(self._pods) + 1
        address = f"127.{64 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
        self._pods[address] = pod
        self._start(self._set(pod, "Running", {"running": {"startedAt": _now()}}, address))

    async def answer(self, request: web.Request) -> web.Response:
        """Answer GET /progress for the pod with this address, then end its trainer."""
        address = request.get_extra_info("sockname")[0]
        pod = self._pods[address]
        metadata = pod["metadata"]
        search = self._searches[metadata["labels"][LABEL_SEARCH]]
        self._start(self._end(pod, search, address))
        report = progress(search, pod_uid=metadata["uid"], attempt=int(metadata["labels"][LABEL_ATTEMPT]))
        return web.Response(body=encode_progress(report), content_type="application/json")

    async def _end(self, pod: dict[str, Any], search: dict[str, Any], address: str) -> None:
        await asyncio.sleep(1.0)
        text = result_text(search, pod_uid=pod["metadata"]["uid"])
        ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": text, "startedAt": _now(), "finishedAt": _now()}}
        await self._set(pod, "Succeeded", ended, address)

    async def _set(self, pod: dict[str, Any], phase: str, state: dict[str, Any], address: str) -> None:
        is_running = "running" in state
        container = {"name": TRAINER_CONTAINER, "state": state, "started": is_running, "ready": is_running, "restartCount": 0}
        container |= {"image": "trainer:bench", "imageID": "trainer:bench"}
        status = {"phase": phase, "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": [container]}
        await self._client.merge(
            _PodStatus(prefix=PODS.prefix, plural=PODS.plural), self._namespace, pod["metadata"]["name"], {"status": status}
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._handle_end)

    def _handle_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            sys.stderr.write(f"a task of the played kubelet failed: {error}\n")


class _PodStatus(Resource):
    """The status subresource of pods."""

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        return Resource.path(self, namespace, name, subresource or ("status" if name else None))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

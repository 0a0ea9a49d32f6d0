"""/healthz, /readyz and /metrics of the operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from autohas_operator.cluster.leases import LEASE_NAME
from autohas_operator.metrics import Metrics

TICK_S: Final = 1.0
MAX_SILENCE_S: Final = 30.0
"""Seconds without a tick after which the event loop counts as stuck; the kubelet then restarts the pod."""


class Health:
    """Liveness and readiness of this process. `monotonic` is the clock of the event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ticked_s = monotonic()
        self.is_ready = False
        self.list_taken: Callable[[], Mapping[str, str]] = dict  # namespaces that another operator serves, with its name
        self.dead_task: str | None = None

    def tick(self) -> None:
        """The event loop runs."""
        self._ticked_s = self._monotonic()

    def problem(self) -> str | None:
        """Why the process is not alive, or None."""
        if self.dead_task is not None:
            return f"{self.dead_task} has ended"
        silence_s = self._monotonic() - self._ticked_s
        return f"the event loop has not ticked for {silence_s:.0f} s" if silence_s > MAX_SILENCE_S else None

    def why_not_ready(self) -> str | None:
        """Why this operator is not ready, or None; a second release in a namespace is not ready, so that Helm and Flux show it."""
        if not self.is_ready:
            return "the cache is being filled"
        return (
            "; ".join(f"namespace {name} is served by {holder} (Lease {LEASE_NAME})" for name, holder in self.list_taken().items()) or None
        )

    async def run(self) -> None:
        """Tick forever."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)


class Server:
    """The HTTP server; `port` is known after `start`."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        application = web.Application()
        application.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics_page),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)
        self._health = health
        self._metrics = metrics
        self.port = 0

    async def start(self, address: str, port: int) -> None:
        """Start to listen."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        problem = self._health.problem()
        return web.Response(text="ok\n") if problem is None else web.Response(status=500, text=problem + "\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = self._health.why_not_ready()
        return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=reason + "\n")

    async def _metrics_page(self, _request: web.Request) -> web.Response:
        page = await asyncio.to_thread(self._metrics.render)  # rendering thousands of searches would block the event loop
        return web.Response(body=page, content_type="text/plain", charset="utf-8")

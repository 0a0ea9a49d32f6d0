"""The whole operator put together and run in one event loop until it is told to stop.

Order at the start: server, cache from lists, workers, then kopf's watches. At the end the other way round. Any task
that ends by itself ends the process: a restart finds the same world.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import kopf
import structlog

from autohas_operator import login
from autohas_operator.cache import Cache
from autohas_operator.census import Census
from autohas_operator.client import HttpClient
from autohas_operator.errors import OperatorError
from autohas_operator.events import EVENTS_BURST, EVENTS_PER_SECOND, EventRecorder
from autohas_operator.handlers import build_registry, kopf_settings
from autohas_operator.metrics import Metrics
from autohas_operator.observe import Key
from autohas_operator.policy import end_word
from autohas_operator.poller import HttpFetcher, Poller
from autohas_operator.ratelimit import TokenBucket
from autohas_operator.reconcile import Reconciler
from autohas_operator.resync import Resync, refill
from autohas_operator.server import Health, Server
from autohas_operator.settings import Settings
from autohas_operator.worker import work
from autohas_operator.workqueue import WorkQueue

_log = structlog.get_logger(__name__)
_IDENTITY: Final = "autohas-operator"
"""Given, because kopf would ask for the user's name, and the numeric user of a restricted pod has none."""
_dice: Final = random.Random().random  # noqa: S311 - jitter, not secrets


class TaskDiedError(OperatorError):
    """A part of the operator ended that never should."""


@dataclass(slots=True)
class Control:
    """Handles for whoever runs the operator inside another program: tests, mostly."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0


async def run(settings: Settings, control: Control | None = None) -> None:
    """Run until SIGTERM, SIGINT or `control.stop`.

    Raises:
        OperatorError: the start failed, or a part of the operator died.
    """
    control = control if control is not None else Control()
    metrics = Metrics()
    cache = Cache(lambda pod: metrics.trainer_ended(pod.key.namespace, end_word(pod)))
    queue: WorkQueue[Key] = WorkQueue(time.monotonic, _dice)
    metrics.watch_queue(lambda: len(queue), lambda: queue.num_delayed)
    metrics.add(Census(cache, time.time, per_search=settings.per_search_metrics))
    health = Health(time.monotonic)
    async with AsyncExitStack() as stack:
        server = Server(health, metrics)
        await server.start(settings.listen_address, settings.listen_port)
        stack.push_async_callback(server.close)
        control.port = server.port
        loaded = await login.configuration(settings.kubeconfig)
        writes = TokenBucket(rate_per_s=settings.writes_per_second, burst=settings.writes_burst, clock=time.monotonic)
        client = HttpClient(loaded, timeout_s=settings.request_timeout_s, writes=writes, metrics=metrics)
        stack.push_async_callback(client.close)
        fetcher = HttpFetcher(timeout_s=settings.poll_timeout_s)
        stack.push_async_callback(fetcher.close)
        for key in await refill(client, cache, settings.namespaces):
            queue.add(key)
        health.is_ready = True
        parts = _parts(settings, client=client, cache=cache, queue=queue, fetcher=fetcher, metrics=metrics) | {"health": health.run()}
        async with _running(parts, health) as died:
            registry = build_registry(cache, queue, lambda: login.connection_info(loaded))
            control.ready.set()
            await _watch(settings, registry, control, died)


def _parts(  # noqa: PLR0913 - the composition root
    settings: Settings,
    *,
    client: HttpClient,
    cache: Cache,
    queue: WorkQueue[Key],
    fetcher: HttpFetcher,
    metrics: Metrics,
) -> dict[str, Coroutine[Any, Any, None]]:
    """Everything that runs beside kopf, by name."""
    events = EventRecorder(client, metrics, time.time, TokenBucket(rate_per_s=EVENTS_PER_SECOND, burst=EVENTS_BURST, clock=time.monotonic))
    reconciler = Reconciler(client, cache, events, settings.pods, time.time, metrics=metrics)
    poller = Poller(
        cache,
        queue,
        fetcher,
        metrics,
        clock=time.time,
        monotonic=time.monotonic,
        dice=_dice,
        period_s=settings.poll_period_s,
        concurrency=settings.poll_concurrency,
    )
    resync = Resync(client, cache, queue, namespaces=settings.namespaces, period_s=settings.resync_period_s, dice=_dice)
    workers = {f"worker {n}": work(queue, reconciler, metrics, time.monotonic) for n in range(settings.workers)}
    return {"events": events.run(), "poller": poller.run(), "resync": resync.run(), **workers}


@asynccontextmanager
async def _running(parts: Mapping[str, Coroutine[Any, Any, None]], health: Health) -> AsyncIterator[asyncio.Future[str]]:
    """Run the parts in the background; the future given out names the first that dies."""
    died: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def report(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not died.done():
            _log.error("a part of the operator has died", part=task.get_name(), exc_info=task.exception())
            health.dead_task = task.get_name()
            died.set_result(task.get_name())

    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    for task in tasks:
        task.add_done_callback(report)
    try:
        yield died
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        died.cancel()


async def _watch(settings: Settings, registry: kopf.OperatorRegistry, control: Control, died: asyncio.Future[str]) -> None:
    """Run kopf until it ends by itself (a signal, or a watch that cannot be repaired), is stopped, or a part dies."""
    watches = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=kopf_settings(),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            identity=_IDENTITY,  # type: ignore[arg-type]  # a private NewType of str
            stop_flag=control.stop,
        ),
        name="watches",
    )
    both: list[asyncio.Future[Any]] = [watches, died]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if died.done():
        control.stop.set()
        await asyncio.wait([watches])
        raise TaskDiedError(f"{died.result()} has ended")
    watches.result()

"""Assembles the operator and runs it in one event loop until a signal or `Control.stop`.

Start order: server, cache from lists, workers, then kopf's watches; it stops in the reverse order. When a background task ends by
itself, the process ends: after a restart the operator finds the same state in the cluster.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import kopf
import structlog

from autohas_operator.client import HttpClient
from autohas_operator.cluster import login
from autohas_operator.cluster.cache import Cache
from autohas_operator.cluster.handlers import Login, build_registry, kopf_settings
from autohas_operator.cluster.informer import Informer
from autohas_operator.cluster.leases import NamespaceLeases
from autohas_operator.cluster.poller import HttpFetcher, Poller
from autohas_operator.cluster.resync import Resync, refill
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.decide.trainer_exits import end_word
from autohas_operator.errors import OperatorError
from autohas_operator.metrics import Metrics
from autohas_operator.process.search_metrics import SearchMetrics
from autohas_operator.process.server import Health, Server
from autohas_operator.reconcile.events import EventRecorder
from autohas_operator.reconcile.reconciler import Reconciler
from autohas_operator.reconcile.warning_events import WarningEvents
from autohas_operator.reconcile.worker import work
from autohas_operator.records.observed import Key
from autohas_operator.settings import Settings
from autohas_operator.token_bucket import TokenBucket

_log = structlog.get_logger(__name__)
_IDENTITY: Final = "autohas-operator"
"""kopf's default would be the user's name, which the numeric user of a restricted pod does not have."""
_rng: Final = random.Random().random  # noqa: S311 - jitter, not secrets


class TaskDiedError(OperatorError):
    """A background task that runs forever has ended."""


@dataclass(slots=True)
class Control:
    """Handles for a program that embeds the operator, such as a test."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0


@dataclass(frozen=True, slots=True)
class _Parts:
    """The collaborators of the background tasks that run next to kopf."""

    settings: Settings
    client: HttpClient
    informer: Informer
    queue: WorkQueue[Key]
    fetcher: HttpFetcher
    health: Health

    def coroutines(self, lost: Callable[[frozenset[str]], None]) -> dict[str, Coroutine[Any, Any, None]]:
        """The background tasks, by name."""
        settings, cache, metrics = self.settings, self.informer.cache, self.informer.metrics
        bucket = TokenBucket(rate_per_s=settings.events_per_second, burst=settings.events_burst, clock=time.monotonic)
        events = EventRecorder(self.client, metrics, time.time, bucket, monotonic=time.monotonic)
        warning_events = WarningEvents(self.client, time.time, monotonic=time.monotonic)
        leases = self._leases()
        self.health.list_taken = leases.list_taken
        reconciler = Reconciler(
            self.client,
            cache,
            events,
            settings.pods,
            time.time,
            warning_events=warning_events,
            metrics=metrics,
            monotonic=time.monotonic,
            may_serve=leases.holds,
        )
        resync = Resync(
            self.client,
            self.informer,
            self.queue,
            namespaces=settings.namespaces,
            period_s=settings.resync_period_s,
            rng=_rng,
            monotonic=time.monotonic,
            lost=lost,
        )
        workers = {f"worker {n}": work(self.queue, reconciler, metrics, time.monotonic) for n in range(settings.workers)}
        return {
            "events": events.run(),
            "poller": self._poller().run(),
            "resync": resync.run(),
            "health": self.health.run(),
            "leases": leases.run(),
            **workers,
        }

    def _poller(self) -> Poller:
        return Poller(
            self.informer.cache,
            self.queue,
            self.fetcher,
            self.informer.metrics,
            clock=time.time,
            monotonic=time.monotonic,
            rng=_rng,
            period_s=self.settings.poll_period_s,
            concurrency=self.settings.poll_concurrency,
        )

    def _leases(self) -> NamespaceLeases:
        cache = self.informer.cache

        def wake(namespace: str) -> None:
            for key in cache.all_keys():
                if key.namespace == namespace:
                    self.queue.add(key)

        return NamespaceLeases(
            self.client,
            self.informer.metrics,
            identity=self.settings.identity,
            namespaces=self.settings.namespaces,
            in_use=lambda: {key.namespace for key in cache.all_keys()},
            wake=wake,
            clock=time.time,
            monotonic=time.monotonic,
        )


async def run(settings: Settings, control: Control | None = None) -> bool:
    """Run until SIGTERM, SIGINT or `control.stop`; returns True when the set of readable namespaces has changed: call it again then.

    One refused watch ends all of kopf, and kopf itself could add a namespace only with the right to list all namespaces. A restart
    takes seconds and works for namespaces that appear and for those that disappear.

    Raises:
        OperatorError: the start failed, or a background task ended.
    """
    control = control if control is not None else Control()
    asyncio.get_running_loop().set_exception_handler(log_stray_error)
    metrics = Metrics()
    cache = Cache(lambda pod: metrics.count_trainer_exit(pod.key.namespace, end_word(pod)), settings.trainer_injected_mounts)
    queue: WorkQueue[Key] = WorkQueue(time.monotonic, _rng)
    metrics.watch_queue(queue)
    informer = Informer(cache, queue.add, metrics)
    metrics.add(SearchMetrics(cache, time.time, per_search=settings.per_search_metrics))
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
        parts = _Parts(settings, client, informer, queue, fetcher, health)
        return await _serve(parts, lambda: login.connection_info(loaded), control)


def log_stray_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the error of a task whose result is never read.

    Each watch of a namespace that can no longer be read leaves one; the first of them also ends kopf, which `_serve` logs. The traceback
    is left out for errors that the API server answered.
    """
    error = context.get("exception")
    is_answer = type(error).__module__.startswith("kopf.")
    _log.warning("background task failed", error=str(error or context["message"]), exc_info=None if is_answer else error)


async def _serve(parts: _Parts, credentials: Login, control: Control) -> bool:
    """Fill the cache, start the background tasks, and watch the readable namespaces; returns True when their set has changed."""
    namespaces = parts.settings.namespaces
    lost = await refill(parts.client, parts.informer, namespaces)
    parts.health.is_ready = True
    moved = asyncio.Event()

    def compare(now: frozenset[str]) -> None:
        if now != lost:
            moved.set()

    async with _run_in_background(parts.coroutines(compare), parts.health) as died:
        registry = build_registry(parts.informer, credentials)
        control.ready.set()
        readable = tuple(name for name in namespaces if name not in lost)
        try:
            return await _watch(readable, registry, control.stop, died, moved)
        except OperatorError:
            raise
        except Exception as error:
            if not namespaces or await refill(parts.client, parts.informer, namespaces) == lost:
                raise
            _log.warning("watches ended", message="the set of readable namespaces has changed", error=str(error))
            return True


@asynccontextmanager
async def _run_in_background(parts: Mapping[str, Coroutine[Any, Any, None]], health: Health) -> AsyncIterator[asyncio.Future[str]]:
    """Run these tasks in the background; yields a future that gets the name of the first one that ends."""
    died: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def report(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not died.done():
            _log.error("background task ended", task=task.get_name(), error=str(task.exception()), exc_info=task.exception())
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


async def _watch(
    namespaces: Sequence[str], registry: kopf.OperatorRegistry, stop: asyncio.Event, died: asyncio.Future[str], moved: asyncio.Event
) -> bool:
    """Run kopf until a signal, a watch that fails for good, `stop`, the end of a background task, or a change of readable namespaces.

    Returns whether the last one is the reason.
    """
    moving = asyncio.create_task(moved.wait(), name="namespaces")
    watches = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=kopf_settings(),
            clusterwide=not namespaces,
            namespaces=namespaces,
            identity=_IDENTITY,  # type: ignore[arg-type]  # a private NewType of str
            stop_flag=stop,
        ),
        name="watches",
    )
    reasons: list[asyncio.Future[Any]] = [watches, died, moving]
    await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    moving.cancel()
    is_moving = not watches.done()
    if is_moving:
        stop.set()
        await asyncio.wait([watches])
    if died.done():
        raise TaskDiedError(f"{died.result()} has ended")
    if not is_moving:
        watches.result()
    return is_moving

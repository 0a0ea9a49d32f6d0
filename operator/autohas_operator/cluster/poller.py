"""The poller reads /progress of running trainers, with limits on number, size and time of the requests.

A valid answer becomes a `Report` in the cache and queues the search; a problem becomes a sentence in the report. The operator never
stops a trainer that it cannot read: a network policy must not kill a healthy search.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
import structlog

from autohas_api.base.names import MAX_PROGRESS_BYTES
from autohas_api.wire.messages import MessageError, Progress, VersionError, decode_progress
from autohas_operator.cluster.cache import Cache
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Key, PodRecord, Report
from autohas_operator.token_bucket import jitter

TICK_S: Final = 0.5
"""Seconds between two checks for trainers that are due."""
FIRST_PERIOD_S: Final = 3.0
"""Poll period of a trainer that has not reported yet, so that `kubectl get` shows its progress soon after its start."""
MAX_POLLS_PER_SECOND: Final = 10.0
"""Upper bound of all polls together; with more trainers the period grows, because each poll may lead to a status write."""
JITTER: Final = 0.2
MAX_FIRST_MISSES: Final = 40
"""Misses (two minutes) after which a pod that has never answered is polled with the usual period."""
_NO_ANSWER: Final = ("timeout", "connection")

_log = structlog.get_logger(__name__)


class UnusableError(Exception):
    """The poll gave no usable answer; `cause` is its label in the metrics."""

    def __init__(self, cause: str, message: str, *, is_version_skew: bool = False) -> None:
        super().__init__(message)
        self.cause = cause
        self.is_version_skew = is_version_skew


class Fetcher(Protocol):
    """Reads one trainer's progress."""

    async def fetch(self, address: str, port: int) -> bytes:
        """The body of /progress, at most MAX_PROGRESS_BYTES.

        Raises:
            UnusableError: there was no answer, or it is not usable.
        """


class HttpFetcher:
    """`Fetcher` over HTTP: no redirects, no compression, no cookies, no proxy."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def fetch(self, address: str, port: int) -> bytes:
        """See `Fetcher`."""
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(f"http://{host}:{port}/progress", allow_redirects=False) as response:
                return await _read_body(response)
        except TimeoutError as error:
            raise UnusableError("timeout", f"no whole answer within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnusableError("connection", f"no connection: {type(error).__name__}") from error


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """The body; reading stops beyond MAX_PROGRESS_BYTES."""
    if response.status != 200:  # noqa: PLR2004 - HTTP's OK
        raise UnusableError("status", f"answer has HTTP status {response.status}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise UnusableError("encoding", "answer is compressed")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_PROGRESS_BYTES:
            raise UnusableError("size", f"answer is longer than {MAX_PROGRESS_BYTES} bytes")
    return bytes(body)


def check_progress(raw: bytes, pod: PodRecord) -> Progress:
    """The progress in an answer, if it is that of this pod.

    Raises:
        UnusableError: malformed, or of another search, pod or attempt.
    """
    try:
        progress = decode_progress(raw)
    except VersionError as error:
        raise UnusableError("version", str(error), is_version_skew=True) from error
    except MessageError as error:
        raise UnusableError("malformed", str(error)) from error
    if (progress.search_uid, progress.pod_uid, progress.attempt) != (pod.search_uid, pod.uid, pod.attempt):
        raise UnusableError("identity", "answer is of another search, pod or attempt")
    return progress


def report_success(pod: PodRecord, progress: Progress, now_s: float) -> Report:
    """The report after a usable answer."""
    return Report(pod_uid=pod.uid, time_s=now_s, progress=progress)


def report_miss(pod: PodRecord, before: Report | None, error: UnusableError, now_s: float) -> Report:
    """The previous report with one more miss; misses before and after the startup probe are counted apart."""
    is_early = not pod.is_started
    last = before if before is not None else Report(pod_uid=pod.uid, time_s=now_s, progress=None)
    keeps_skew = last.is_version_skew and error.cause in _NO_ANSWER  # a missing answer has no version
    return Report(
        pod_uid=pod.uid,
        time_s=last.time_s,
        progress=last.progress,
        misses=last.misses + 1 if last.is_early == is_early else 1,
        problem=last.problem if keeps_skew else str(error),
        is_version_skew=error.is_version_skew or keeps_skew,
        is_early=is_early,
    )


@dataclass(slots=True)
class _Turn:
    """The time of a pod's next poll, on the monotonic clock."""

    due_s: float
    is_busy: bool = False


class Poller:
    """Polls running trainers. `monotonic` schedules the polls, `clock` (seconds since the epoch) dates the reports."""

    def __init__(  # noqa: PLR0913 - each is one collaborator or one knob
        self,
        cache: Cache,
        queue: WorkQueue[Key],
        fetcher: Fetcher,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        rng: Callable[[], float],
        period_s: float,
        concurrency: int,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._fetcher = fetcher
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._rng = rng
        self._period_s = period_s
        self._slots = asyncio.Semaphore(concurrency)
        self._turns: dict[str, _Turn] = {}

    async def run(self) -> None:
        """Poll the trainers that are due, forever."""
        async with asyncio.TaskGroup() as group:
            while True:
                for pod in self.list_due():
                    self._turns[pod.uid].is_busy = True
                    group.create_task(self._take_turn(pod))
                await asyncio.sleep(TICK_S)

    def list_due(self) -> list[PodRecord]:
        """The running trainers that are due; removes the turns of those that are gone."""
        now_s = self._monotonic()
        targets = {pod.uid: pod for pod in self._cache.pods.values() if _is_target(pod) and self._cache.is_trainer(pod)}
        self._turns = {uid: self._turns.get(uid, _Turn(due_s=now_s)) for uid in targets}
        return [pod for uid, pod in targets.items() if not self._turns[uid].is_busy and self._turns[uid].due_s <= now_s]

    async def _take_turn(self, pod: PodRecord) -> None:
        async with self._slots:
            await self.poll(pod)
        turn = self._turns.get(pod.uid)
        if turn is not None:
            turn.is_busy = False
            turn.due_s = self._monotonic() + jitter(self.period_of(pod), JITTER, self._rng)

    def period_of(self, pod: PodRecord) -> float:
        """The poll period of a pod, in seconds."""
        last = self._cache.reports.get(pod.uid)
        usual_s = max(self._period_s, len(self._turns) / MAX_POLLS_PER_SECOND)
        is_new = last is None or (last.progress is None and last.misses < MAX_FIRST_MISSES)
        return min(FIRST_PERIOD_S, usual_s) if is_new else usual_s

    async def poll(self, pod: PodRecord) -> None:
        """Read one trainer once and put its report into the cache."""
        try:
            progress = check_progress(await self._fetcher.fetch(pod.address, pod.port), pod)
        except UnusableError as error:
            report = self._count_miss(pod, error)
        except Exception as error:  # noqa: BLE001 - whatever a trainer answers, the others are polled
            where = {"namespace": pod.key.namespace, "search": pod.key.name, "pod": pod.name}
            _log.error("poll failed with a bug", error=str(error), exc_info=error, **where)
            report = self._count_miss(pod, UnusableError("bug", "answer could not be read"))
        else:
            self._metrics.count_poll(None)
            report = report_success(pod, progress, self._clock())
        if self._cache.put_report(report):
            self._queue.add(pod.key)

    def _count_miss(self, pod: PodRecord, error: UnusableError) -> Report:
        self._metrics.count_poll(error.cause)
        return report_miss(pod, self._cache.reports.get(pod.uid), error, self._clock())


def _is_target(pod: PodRecord) -> bool:
    return pod.is_running and bool(pod.address) and pod.end is None and not pod.is_over

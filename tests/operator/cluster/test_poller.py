"""The poller against real HTTP servers on the loopback, well-behaved and hostile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from autohas_api.base.names import MAX_PROGRESS_BYTES
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import encode_progress
from autohas_operator.cluster.cache import Cache
from autohas_operator.cluster.poller import FIRST_PERIOD_S, Fetcher, HttpFetcher, Poller, UnusableError, report_miss
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Key, PodRecord, Report, pod_record
from autohas_operator.testing.builders import NOW_S, ended_pod, progress, running_pod, stored_job, stored_pod, stored_search

SEARCH = stored_search()
JOB = stored_job(SEARCH)
POD = running_pod(JOB)
GOOD = encode_progress(progress(SEARCH))
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def only_pod() -> PodRecord:
    pod = pod_record(POD)
    assert pod is not None
    return pod


def fill_cache() -> Cache:
    """A cache with a search and the Job that its status names."""
    cache = Cache()
    cache.put_search({**SEARCH, "status": {"jobUid": "job-1"}})
    cache.put_job(JOB)
    return cache


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return f"{head}\r\n\r\n".encode() + body


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def saying(raw: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()

    return answer


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One byte at a time, forever."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flooding(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Endless data without a length."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def continuing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Interim answers without end."""
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts and says nothing."""
    await reader.read()


def poll(answer: Answer, pod: PodRecord | None = None, times: int = 1) -> tuple[Report, str]:
    """The report in the cache after polls of this server, and the metrics."""

    async def scenario() -> tuple[Report, str]:
        cache, metrics = Cache(), Metrics()
        queue: WorkQueue[Key] = WorkQueue(lambda: 0.0, lambda: 0.5)
        cache.put_pod(POD)
        async with serving(answer) as port:
            asked = replace(pod or next(iter(cache.pods.values())), port=port)
            fetcher = HttpFetcher(timeout_s=0.3)
            poller = Poller(
                cache, queue, fetcher, metrics, clock=lambda: NOW_S, monotonic=lambda: 0.0, rng=lambda: 0.5, period_s=15, concurrency=5
            )
            for _ in range(times):
                await poller.poll(asked)
            await fetcher.close()
        assert queue.pop() == Key("ml", "fashion")
        return cache.reports["pod-1"], metrics.render().decode()

    return asyncio.run(scenario())


def test_a_good_answer_is_remembered_and_wakes_the_search() -> None:
    """The report holds the progress and its time."""
    report, _ = poll(saying(http(GOOD)))

    assert report == Report(pod_uid="pod-1", time_s=NOW_S, progress=progress(SEARCH))


def other(**changes: object) -> bytes:
    return json.dumps({**json.loads(GOOD), **changes}).encode()


HOSTILE: dict[str, tuple[Answer, str]] = {
    "redirect": (saying(http(b"", "Location: http://169.254.169.254/", status="302 Found")), "status"),
    "error": (saying(http(GOOD, status="500 Internal Server Error")), "status"),
    "compressed": (saying(http(GOOD, "Content-Encoding: gzip")), "encoding"),
    "too long": (saying(http(b" " * (MAX_PROGRESS_BYTES + 1))), "size"),
    "flood": (flooding, "size"),
    "drip": (dripping, "timeout"),
    "silence": (silent, "timeout"),
    "no http": (saying(b"\x00\xff\x00\r\n\r\n"), "connection"),
    "headers without end": (saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "connection"),
    "bad chunks": (saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"), "connection"),
    "short body": (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "connection"),
    "switching protocols": (saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"), "status"),
    "continue forever": (continuing, "timeout"),
    "not utf-8": (saying(http(b'{"version": "\xff\xfe"}')), "malformed"),
    "not json": (saying(http(b"<html>")), "malformed"),
    "nan": (saying(http(GOOD.replace(b"0.91", b"NaN"))), "malformed"),
    "infinite": (saying(http(GOOD.replace(b"0.91", b"1e999"))), "malformed"),
    "deep": (saying(http(b"[" * 16_000)), "malformed"),
    "deep object": (saying(http(b'{"a":' * 3_000)), "malformed"),
    "list": (saying(http(b"[]")), "malformed"),
    "negative step": (saying(http(other(step=-1))), "malformed"),
    "too many notices": (saying(http(other(notices=[{"id": n, "reason": "A", "message": "", "time": 0} for n in range(17)]))), "malformed"),
    "control characters in a reason": (saying(http(other(notices=[{"id": 1, "reason": "A\n", "message": "", "time": 0}]))), "malformed"),
    "other search": (saying(http(other(searchUid="other"))), "identity"),
    "other pod": (saying(http(other(podUid="other"))), "identity"),
    "other attempt": (saying(http(other(attempt=2))), "identity"),
    "other version": (saying(http(other(version=2))), "version"),
}


@pytest.mark.parametrize(("answer", "cause"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_is_a_miss_with_a_sentence(answer: Answer, cause: str) -> None:
    """Nothing of it is kept but one short printable line; the cause is counted."""
    report, metrics = poll(answer)

    assert (report.progress, report.misses) == (None, 1)
    assert 0 < len(report.problem) < 400
    assert report.is_version_skew is (cause == "version")
    assert f'autohas_progress_poll_failures_total{{reason="{cause}"}} 1.0' in metrics


def test_misses_before_the_startup_probe_passed_are_no_misses_after_it() -> None:
    """Four misses while torch loads, then the startup probe passes: the count restarts, and three make the progress unreachable."""
    error = UnusableError("connection", "no connection")
    pods = [pod_record(running_pod(JOB, started=started)) for started in (False, True)]
    report, counted = None, []
    for pod in (*pods[:1] * 4, *pods[1:] * 3):
        assert pod is not None
        report = report_miss(pod, report, error, NOW_S)
        counted.append((report.misses, report.is_early))

    assert counted == [(1, True), (2, True), (3, True), (4, True), (1, False), (2, False), (3, False)]


def test_misses_are_counted_beside_the_last_good_report() -> None:
    """Three failures keep what was known."""
    before = poll(saying(http(GOOD)))[0]

    async def scenario() -> Report:
        cache, metrics = Cache(), Metrics()
        queue: WorkQueue[Key] = WorkQueue(lambda: 0.0, lambda: 0.5)
        cache.put_pod(POD)
        cache.reports["pod-1"] = before
        poller = Poller(
            cache,
            queue,
            Refusing(),
            metrics,
            clock=lambda: NOW_S + 60,
            monotonic=lambda: 0.0,
            rng=lambda: 0.5,
            period_s=15,
            concurrency=5,
        )
        for _ in range(3):
            await poller.poll(next(iter(cache.pods.values())))
        return cache.reports["pod-1"]

    assert asyncio.run(scenario()) == replace(before, misses=3, problem="no connection")


def test_no_answer_says_nothing_about_the_version() -> None:
    """The problem of another version stays while the trainer is unreachable; any answer replaces it."""
    skewed = poll(saying(http(other(version=2))))[0]
    unreachable = report_miss(only_pod(), skewed, UnusableError("timeout", "no answer"), NOW_S)
    answered = report_miss(only_pod(), unreachable, UnusableError("malformed", "not JSON"), NOW_S)

    assert (unreachable.is_version_skew, unreachable.problem) == (True, skewed.problem)
    assert (answered.is_version_skew, answered.problem) == (False, "not JSON")


def test_a_bug_in_reading_one_trainer_is_a_miss_like_any_other() -> None:
    """The loop continues."""

    class Broken:
        """A fetcher with a bug."""

        async def fetch(self, address: str, port: int) -> bytes:
            raise ZeroDivisionError

    async def scenario() -> Report:
        cache = Cache()
        cache.put_pod(POD)
        await _poller(cache, Broken(), lambda: 0.0).poll(next(iter(cache.pods.values())))
        return cache.reports["pod-1"]

    assert asyncio.run(scenario()).problem == "answer could not be read"


class Refusing:
    """A fetcher that never answers."""

    async def fetch(self, address: str, port: int) -> bytes:
        raise UnusableError("connection", "no connection")


class Recording:
    """A fetcher that answers well and remembers the most requests at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = self.most = 0

    async def fetch(self, address: str, port: int) -> bytes:
        self.asked.append(address)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return GOOD


def test_only_running_trainers_are_asked() -> None:
    """The poller does not ask pending and ended pods."""
    cache = fill_cache()
    for pod in (stored_pod(JOB, uid="a"), ended_pod(JOB, code=0, uid="b"), running_pod(JOB, uid="c")):
        cache.put_pod(pod)

    assert [pod.uid for pod in _poller(cache, Recording(), lambda: 0.0).list_due()] == ["c"]


def test_only_pods_of_a_job_that_a_known_search_owns_are_asked() -> None:
    """3,000 labelled sleepers neither stretch the period of a trainer nor speak for its search."""
    cache = fill_cache()
    strange = with_change(JOB, "metadata", {**JOB["metadata"], "uid": "job-without-search", "name": "sleeper", "ownerReferences": []})
    cache.put_job(strange)
    cache.put_pod(POD)
    for number in range(1500):
        bare = running_pod(JOB, uid=f"bare-{number}")
        cache.put_pod(with_change(bare, "metadata.ownerReferences", []))
        cache.put_pod(running_pod(strange, uid=f"sleeper-{number}"))
    poller = _poller(cache, Recording(), lambda: 0.0)
    cache.reports["pod-1"] = Report(pod_uid="pod-1", time_s=NOW_S, progress=progress(SEARCH))
    cache.reports["bare-1"] = Report(pod_uid="bare-1", time_s=NOW_S, progress=progress(SEARCH, pod_uid="bare-1", best=1.0))
    observed = cache.observe(Key("ml", "fashion"))

    assert [pod.uid for pod in poller.list_due()] == ["pod-1"]
    assert poller.period_of(only_pod()) == 15
    assert observed is not None
    assert observed.report is not None
    assert observed.report.pod_uid == "pod-1"


def test_turns_come_every_period_and_sooner_before_the_first_report() -> None:
    """3 s until the first answer, then 15 s."""
    cache, now = fill_cache(), [0.0]
    cache.put_pod(POD)
    pod = pod_record(POD)
    assert pod is not None
    poller = _poller(cache, Recording(), lambda: now[0])

    async def turn() -> None:
        await poller._take_turn(pod)

    assert poller.period_of(pod) == FIRST_PERIOD_S
    assert len(poller.list_due()) == 1
    asyncio.run(turn())
    now[0] = 14.9
    early = poller.list_due()
    now[0] = 15.0

    assert early == []
    assert len(poller.list_due()) == 1


def test_a_trainer_that_never_answers_is_asked_as_seldom_as_others() -> None:
    """3 s apart for 40 misses, 15 s from then on."""
    cache, pod = Cache(), only_pod()
    poller = _poller(cache, Refusing(), lambda: 0.0)
    periods = []
    for misses in (39, 40):
        cache.reports[pod.uid] = Report(pod_uid=pod.uid, time_s=NOW_S, progress=None, misses=misses)
        periods.append(poller.period_of(pod))

    assert periods == [FIRST_PERIOD_S, 15]


def test_many_trainers_are_asked_less_often_and_never_all_at_once() -> None:
    """1,000 trainers stretch the period to 100 s; requests at once are bounded."""
    cache, fetcher = fill_cache(), Recording()
    for number in range(1000):
        cache.put_pod(running_pod(JOB, uid=f"pod-{number}"))
    poller = _poller(cache, fetcher, lambda: 0.0)

    async def scenario() -> None:
        pods = poller.list_due()
        cache.reports[pods[0].uid] = Report(pod_uid=pods[0].uid, time_s=NOW_S, progress=progress(SEARCH))
        assert poller.period_of(pods[0]) == 100
        await asyncio.gather(*(poller._take_turn(pod) for pod in pods[:100]))

    asyncio.run(scenario())
    assert fetcher.most == 5


def _poller(cache: Cache, fetcher: Fetcher, monotonic: Callable[[], float]) -> Poller:
    queue: WorkQueue[Key] = WorkQueue(lambda: 0.0, lambda: 0.5)
    return Poller(cache, queue, fetcher, Metrics(), clock=lambda: NOW_S, monotonic=monotonic, rng=lambda: 0.5, period_s=15, concurrency=5)


def test_a_trainer_is_asked_on_the_port_that_its_pod_names() -> None:
    """spec.monitoring.metricsPort reaches the container's port, its environment and the poller; the usual port is the contract's."""
    search = stored_search(monitoring={"metricsPort": 12345})
    job = stored_job(search)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    pod = pod_record({**running_pod(job), "spec": job["spec"]["template"]["spec"]})
    bare = pod_record({**running_pod(job), "spec": {}})

    assert container["ports"] == [{"name": "metrics", "containerPort": 12345, "protocol": "TCP"}]
    assert {"name": "AUTOHAS_PORT", "value": "12345"} in container["env"]
    assert pod is not None
    assert pod.port == 12345
    assert bare is not None
    assert bare.port == 9464

"""`python -m benchmarks.operator`: a thousand searches on a real control plane, and the cost of the operator.

etcd, API server, Job controller and scheduler are real (tests/cluster); there is no node. This program plays the kubelet: it sets the
status of pods, answers /progress for each trainer on an address of its own, and ends the pod with a valid result after the first report.

1. steady: searches created at an even rate;
2. burst: all others at once; both are watched from `POST` of the search to the arrival of its Job on a watch;
3. resync: two passes over every search with nothing to do; the operator's count of requests is compared with that of the API server;
4. memory at rest, compared with a controller that does nothing: kopf with the same three watches.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from benchmarks.operator.played import Kubelet, Server
from benchmarks.operator.processes import Operator, Samples, measure_idle, num_passes, server_writes, settle, wait_passes
from kubernetes.aio.client import Configuration

from autohas_api.base.names import LABEL_SEARCH, TRAINER_PORT
from autohas_api.testing.rejections import a_search
from autohas_operator.client import SEARCHES, HttpClient
from autohas_operator.cluster import login
from autohas_operator.metrics import Metrics
from autohas_operator.token_bucket import TokenBucket
from testcluster.chart import CHART
from testcluster.control_plane import ControlPlane

NAMESPACE: Final = "bench"
JOBS_PATH: Final = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
PODS_PATH: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
CONCURRENCY: Final = 20


@dataclass(slots=True)
class Book:
    """The times of events by name of the search, in monotonic seconds."""

    created: dict[str, float] = field(default_factory=dict)
    has_job: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    def waits(self, names: list[str]) -> list[float]:
        """Seconds from creation to Job."""
        return [self.has_job[name] - self.created[name] for name in names]


async def wait_all(book: dict[str, float], names: list[str], what: str, deadline_s: float) -> None:
    """Wait until every name is in the book."""
    end = time.monotonic() + deadline_s
    while not all(name in book for name in names):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: {sum(name in book for name in names)} of {len(names)} within {deadline_s:.0f} s")
        await asyncio.sleep(0.2)


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The control plane under test, with the clients and players around it."""

    plane: ControlPlane
    folder: Path
    session: aiohttp.ClientSession
    server: Server
    client: HttpClient
    kubelet: Kubelet
    book: Book

    def operator(self, name: str, **flags: object) -> Operator:
        """Start an operator with these settings."""
        return Operator(self.plane.kubeconfig, self.folder / f"{name}.log", flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The number of searches, and the write limit of the operator."""

    searches: int
    steady: int
    steady_rate: float
    writes_per_second: float


async def create(site: Site, name: str) -> None:
    """Create a search, and note the time at which the API server has stored it."""
    document = a_search(name)
    document["spec"]["checkpoint"] = {"storage": {"persistentVolumeClaim": {"claimName": "ck"}}}
    stored = await site.client.create(SEARCHES, NAMESPACE, document)
    site.book.created[name] = time.monotonic()
    site.kubelet.add_search(dict(stored))


async def measure(plane: ControlPlane, folder: Path, scale: Scale) -> dict[str, Any]:
    """Run all four parts; returns the figures by name."""
    loaded: Configuration = await login.configuration(str(plane.kubeconfig))
    headers = {"Authorization": await loaded.get_api_key_with_prefix("BearerToken") or ""}
    fast = TokenBucket(rate_per_s=10_000, burst=10_000, clock=time.monotonic)
    client = HttpClient(loaded, timeout_s=60, writes=fast, metrics=Metrics())
    kubelet, book = Kubelet(client, NAMESPACE), Book()
    connector = aiohttp.TCPConnector(ssl=False, limit=0)  # the address is a loopback one that this program started
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**22) as session:
        server = Server(session, plane.url, headers)

        async def note_job(_: str, job: dict[str, Any]) -> None:
            name = job["metadata"]["labels"][LABEL_SEARCH]
            book.has_job.setdefault(name, time.monotonic())

        async def note_search(_: str, search: dict[str, Any]) -> None:
            if search.get("status", {}).get("completionTime"):
                book.ended.setdefault(search["metadata"]["name"], time.monotonic())

        watches = [
            asyncio.create_task(server.watch(JOBS_PATH, note_job)),
            asyncio.create_task(server.watch(PODS_PATH, kubelet.handle_pod)),
            asyncio.create_task(server.watch(SEARCHES.path(NAMESPACE), note_search)),
        ]
        for watch in watches:
            watch.add_done_callback(lambda task: None if task.cancelled() else sys.stderr.write(f"a watch ended: {task.exception()!r}\n"))
        application = web.Application()
        application.router.add_get("/progress", kubelet.answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", TRAINER_PORT).start()  # noqa: S104 - every trainer has an address of its own
        try:
            site = Site(plane=plane, folder=folder, session=session, server=server, client=client, kubelet=kubelet, book=book)
            return await _measure_searches(site, scale) | await _measure_rest(site, scale)
        finally:
            for task in watches:
                task.cancel()
            await runner.cleanup()
            await client.close()


async def _measure_searches(site: Site, scale: Scale) -> dict[str, Any]:
    """Create searches one by one, then all others at once."""
    operator = site.operator("lives", writes_per_second=scale.writes_per_second, resync_period_s=100_000)
    try:
        await operator.wait_ready(site.session)
        figures: dict[str, Any] = {"memory without searches, MiB": operator.usage()[0]}
        figures |= await _create_steadily(site, scale)
        _, cpu_before = operator.usage()
        writes_before = await operator.writes(site.session)
        burst = [f"burst-{n}" for n in range(scale.searches - scale.steady)]
        figures |= await _create_at_once(site, scale, burst)
        await settle(operator, site.session)
        _, cpu_after = operator.usage()
        figures["operator CPU per life, ms"] = 1000 * (cpu_after - cpu_before) / len(burst)
        spent = {key: count - writes_before.get(key, 0) for key, count in (await operator.writes(site.session)).items()}
        figures |= {f"writes per life: {key}": count / len(burst) for key, count in sorted(spent.items())}
        figures["writes per life"] = sum(spent.values()) / len(burst)
        page = await operator.page(site.session)
        figures["reconcile p99 (upper bound of its bucket), ms"] = 1000 * bucket_quantile(page, "autohas_reconcile_duration_seconds", 0.99)
        figures["decision p99 (upper bound of its bucket), ms"] = 1000 * bucket_quantile(page, "autohas_reconcile_decide_seconds", 0.99)
        figures["memory after all lives, MiB"] = operator.usage()[0]
    finally:
        operator.stop()
    return figures


async def _create_steadily(site: Site, scale: Scale) -> dict[str, Any]:
    steady = [f"steady-{n}" for n in range(scale.steady)]
    for name in steady:
        await create(site, name)
        await asyncio.sleep(1 / scale.steady_rate)
    await wait_all(site.book.ended, steady, "steady searches ended", 120)
    return waits("steady", site.book.waits(steady))


async def _create_at_once(site: Site, scale: Scale, burst: list[str]) -> dict[str, Any]:
    book, slots, begun = site.book, asyncio.Semaphore(CONCURRENCY), time.monotonic()

    async def create_bounded(name: str) -> None:
        async with slots:
            await create(site, name)

    await asyncio.gather(*(create_bounded(name) for name in burst))
    created_s = time.monotonic() - begun
    deadline_s = 120 + 30 * len(burst) / scale.writes_per_second
    await wait_all(book.has_job, burst, "Jobs of the burst", deadline_s)
    await wait_all(book.ended, burst, "burst searches ended", deadline_s)
    return {
        "burst: searches created per second by this program": len(burst) / created_s,
        **waits("burst", book.waits(burst)),
        "burst: Jobs per second": len(burst) / (max(book.has_job[name] for name in burst) - begun),
        "burst: whole lives per second": len(burst) / (max(book.ended[name] for name in burst) - begun),
    }


async def _measure_rest(site: Site, scale: Scale) -> dict[str, Any]:
    """Start a new operator on all these searches: the writes of a resync, and the memory."""
    operator, session, server = site.operator("rest", resync_period_s=20), site.session, site.server
    try:
        await operator.wait_ready(session)
        await asyncio.sleep(10)
        restart = sum((await operator.writes(session)).values())
        writes_before = server_writes(await server.text("/metrics"))
        passes = await num_passes(operator, session)
        _, cpu_before = operator.usage()
        await wait_passes(operator, session, passes + 2 * scale.searches)
        memory_mib, cpu_after = operator.usage()
        done = await num_passes(operator, session) - passes
        figures = {
            "writes after an operator restart": restart,
            "resync: passes": done,
            "resync: writes by the operator's count": sum((await operator.writes(session)).values()) - restart,
            "resync: writes by the API server's count": server_writes(await server.text("/metrics")) - writes_before,
            "resync: CPU per pass, ms": 1000 * (cpu_after - cpu_before) / done,
            "memory at rest, MiB": memory_mib,
        }
    finally:
        operator.stop()
    memory_mib, cpu = await measure_idle(site.plane.kubeconfig, 20)
    return {**figures, "do-nothing controller: memory at rest, MiB": memory_mib, "do-nothing controller: CPU to start, s": cpu}


def bucket_quantile(page: Samples, name: str, share: float) -> float:
    """Upper bound, in seconds, of the bucket with this quantile of a histogram, summed over its labels."""
    buckets: dict[float, float] = {}
    for (sample, labels), value in page.items():
        if sample == f"{name}_bucket":
            bound = float(dict(labels)["le"])
            buckets[bound] = buckets.get(bound, 0) + value
    return next(bound for bound, count in sorted(buckets.items()) if count >= share * buckets[float("inf")])


def waits(name: str, seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and mean of the seconds from creation to Job."""
    statistic = {"p50": quantile(seconds, 0.5), "p99": quantile(seconds, 0.99), "mean": statistics.fmean(seconds)}
    return {f"{name}: created to Job {key}, ms": 1000 * value for key, value in statistic.items()}


def prepare(plane: ControlPlane) -> None:
    """Install the chart's CRD and create the namespace."""
    plane.kubectl("apply", "--server-side", "-f", CHART / "files" / "crd.yaml")
    plane.kubectl("wait", "--for=condition=Established", "crd/autohassearches.autohas.dev", "--timeout=30s")
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.processes.end("kube-scheduler")  # without nodes it would mark every pod as unschedulable


def table(figures: Mapping[str, float], scale: Scale) -> str:
    """The figures as a Markdown table."""
    processors = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in processors if "model name" in line), "?")
    lines = [
        f"# Operator at {scale.searches} searches, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{model}, {os.cpu_count()} cores shared by etcd, API server, Job controller, operator and this program;",
        f"Python {platform.python_version()};",
        f"load average at the end {os.getloadavg()[0]:.1f}. Writes limited to {scale.writes_per_second:g} per second (the default is 20);",
        f"{scale.steady} searches at {scale.steady_rate:g} per second, then {scale.searches - scale.steady} at once.",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:.0f} |" if float(value) == int(value) else f"| {name} | {value:.2f} |" for name, value in figures.items()),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print the figures; with --out also write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--steady", type=int, default=60, help="how many of them come at an even rate, before the burst")
    parser.add_argument("--steady-rate", type=float, default=1.0, help="per second")
    parser.add_argument("--writes-per-second", type=float, default=20.0, help="the operator's setting")
    parser.add_argument("--out", type=Path, help="file for the table")
    options = parser.parse_args()
    scale = Scale(
        searches=options.searches, steady=options.steady, steady_rate=options.steady_rate, writes_per_second=options.writes_per_second
    )
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane.start(Path(folder, "plane"))
        try:
            prepare(plane)
            figures = asyncio.run(measure(plane, Path(folder), scale))
        finally:
            plane.stop()
    text = table(figures, scale)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Starts the operator, and a controller that does nothing for comparison, as processes, and reads their memory and CPU time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from testcluster import ports

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")


class Operator:
    """`python -m autohas_operator` as a process."""

    def __init__(self, kubeconfig: Path, log: Path, flags: Mapping[str, object]) -> None:
        (self.port,) = ports.free(1)
        defaults = {"kubeconfig": kubeconfig, "listen-address": "127.0.0.1", "listen-port": self.port, "trainer-image": "trainer:bench"}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in {**defaults, **flags}.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "autohas_operator", *options], stdout=log.open("ab"), stderr=subprocess.STDOUT
        )

    async def page(self, session: aiohttp.ClientSession) -> Samples:
        """The metrics of the operator."""
        async with session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = await answer.text()
        families = text_string_to_metric_families(text)
        return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}

    async def writes(self, session: aiohttp.ClientSession) -> dict[str, int]:
        """Number of write requests, by verb and resource."""
        counts: dict[str, int] = {}
        for (name, labels), value in (await self.page(session)).items():
            label = dict(labels)
            if name == "autohas_api_request_duration_seconds_count" and label["verb"] in WRITES:
                key = f"{label['verb']} {label['resource']}"
                counts[key] = counts.get(key, 0) + int(value)
        return counts

    async def wait_ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until the operator's cache is filled."""
        while True:
            if self.process.poll() is not None:
                raise RuntimeError("the operator has ended")
            try:
                async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)

    def usage(self) -> tuple[float, float]:
        """Resident memory in MiB and consumed CPU seconds."""
        return usage_of(self.process.pid)

    def stop(self) -> None:
        """Send SIGTERM and wait for the end."""
        self.process.terminate()
        self.process.wait(30)


def usage_of(pid: int) -> tuple[float, float]:
    """Resident memory in MiB and consumed CPU seconds of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    times = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024, (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def server_writes(text: str) -> int:
    """The API server's count of writes that only the operator makes: status of searches, ConfigMaps, creations and deletions of Jobs."""
    total = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples if family.name == "apiserver_request" else ():
            resource, verb, part = (sample.labels.get(key, "") for key in ("resource", "verb", "subresource"))
            is_status = (resource, part) == ("autohassearches", "status") and verb in ("PUT", "PATCH")
            is_child = (resource, part) in (("configmaps", ""), ("jobs", "")) and verb in ("POST", "DELETE")
            total += sample.value if is_status or is_child else 0
    return int(total)


async def num_passes(operator: Operator, session: aiohttp.ClientSession) -> int:
    """Number of passes that the operator has made."""
    page = await operator.page(session)
    return int(sum(value for (name, _), value in page.items() if name == "autohas_reconcile_duration_seconds_count"))


async def wait_passes(operator: Operator, session: aiohttp.ClientSession, number: int) -> None:
    """Wait until the operator has made `number` passes."""
    while await num_passes(operator, session) < number:  # noqa: ASYNC110 - another process, which can only be polled
        await asyncio.sleep(1)


async def settle(operator: Operator, session: aiohttp.ClientSession) -> None:
    """Wait until ten seconds pass without a write."""
    before = -1
    while (now := sum((await operator.writes(session)).values())) != before:
        before = now
        await asyncio.sleep(10)


DO_NOTHING: Final = """
import asyncio, sys
import kopf
from autohas_operator.cluster import login
from autohas_operator.cluster.cache import Cache
from autohas_operator.cluster.handlers import kopf_settings

async def main():
    loaded = await login.configuration(sys.argv[1])
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def authenticate(**_):
        return await login.connection_info(loaded)

    async def nothing(event, **_):
        pass

    kopf.on.event("autohas.dev", "v1alpha1", "autohassearches", id="searches", registry=registry)(nothing)
    kopf.on.event("batch", "v1", "jobs", id="jobs", registry=registry)(nothing)
    kopf.on.event("", "v1", "pods", id="pods", registry=registry)(nothing)
    await kopf.operator(registry=registry, settings=kopf_settings(), clusterwide=True, identity="nothing")

asyncio.run(main())
"""


async def measure_idle(kubeconfig: Path, seconds: float) -> tuple[float, float]:
    """Memory and CPU seconds of a kopf program with the same watches that does nothing."""
    process = subprocess.Popen(  # noqa: ASYNC220 - it blocks for a moment, once
        [sys.executable, "-c", DO_NOTHING, str(kubeconfig)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await asyncio.sleep(seconds)
        if process.poll() is not None:
            raise RuntimeError("the controller that does nothing has ended")
        return usage_of(process.pid)
    finally:
        process.terminate()
        process.wait(30)

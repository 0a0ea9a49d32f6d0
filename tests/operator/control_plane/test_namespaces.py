"""watchNamespaces on a real API server: one namespace goes and comes back, the other one is served throughout."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import kopf
import pytest

from autohas_api.testing.rejections import with_change
from autohas_operator.cluster.handlers import kopf_settings
from autohas_operator.process import application
from autohas_operator.settings import read_settings
from autohas_operator.testing.builders import DURABLE
from testcluster.cluster import Cluster

pytestmark = pytest.mark.control_plane
_numbers = count(1)


@pytest.fixture(name="pair")
def _pair(control_plane: Cluster, operator_kubeconfig: Path, tmp_path: Path, bench_parts: Any) -> Iterator[tuple[Any, Any]]:
    """The same operator over two namespaces, which it lists every second."""
    install, operator_process, bench = bench_parts
    number = next(_numbers)
    names = [f"t-{os.getpid()}-{name}-{number}" for name in ("kept", "lost")]
    for namespace in names:
        control_plane.kubectl("create", "namespace", namespace)
    flags = (f"--set-json=watchNamespaces={json.dumps(names)}", "--set=aggregateRoles=false", "--set=crds.enabled=false")
    kubeconfig = install(control_plane, f"{names[0]}-operator", tmp_path / "kubeconfig", *flags)
    operator = operator_process(kubeconfig, tmp_path / "operator.log", namespaces=",".join(names), resync_period_s=1)
    operator.start()
    yield bench(control_plane, operator, names[0]), bench(control_plane, operator, names[1])
    operator.kill()
    for namespace in names:
        control_plane.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


def test_a_namespace_that_goes_takes_no_other_along_and_is_served_again_when_it_returns(pair: tuple[Any, Any]) -> None:
    """Its role goes with it: the process stays, a search in the other namespace starts; role and search come back, and it starts too."""
    kept, lost = pair
    (role,) = json.loads(lost.kubectl("get", "role", "-o", "json"))["items"]
    (binding,) = json.loads(lost.kubectl("get", "rolebinding", "-o", "json"))["items"]
    lost.cluster.kubectl("delete", "namespace", lost.namespace)
    kept.until(lambda: "autohas_namespaces_unreadable 1.0" in kept.operator.page("/metrics"), "the loss is noticed")
    kept.until(lambda: kept.operator.page("/readyz") == "ok\n", "the operator is ready again")
    kept.apply(DURABLE)
    kept.pod()
    process = kept.operator.is_running()
    lost.cluster.kubectl("create", "namespace", lost.namespace)
    for document in (role, binding):
        bare = {name: part for name, part in document["metadata"].items() if name in ("name", "namespace", "labels")}
        lost.kubectl("create", "-f", "-", input=json.dumps(with_change(document, "metadata", bare)))
    lost.apply(DURABLE)
    lost.pod()

    assert process
    kept.until(lambda: "autohas_namespaces_unreadable 0.0" in kept.operator.page("/metrics"), "the return is noticed")
    assert kept.operator.is_running()


def test_an_operator_that_starts_without_one_of_its_namespaces_serves_the_others(pair: tuple[Any, Any]) -> None:
    """A restart after the loss, by kill -9: it is ready, and a search starts."""
    kept, lost = pair
    kept.operator.kill()
    lost.cluster.kubectl("delete", "namespace", lost.namespace)
    kept.operator.start()
    kept.apply(DURABLE)
    kept.pod()

    assert "autohas_namespaces_unreadable 1.0" in kept.operator.page("/metrics")


def test_an_operator_whose_every_namespace_is_gone_says_so_and_ends(pair: tuple[Any, Any]) -> None:
    """Nothing is left to serve: exit code 1, and the API server's sentence in the log."""
    kept, lost = pair
    kept.operator.kill()
    for bench in (kept, lost):
        bench.kubectl("delete", "rolebinding", "--all")

    assert kept.operator.wait_for_exit() == 1
    assert "operator failed" in kept.operator.log()


def test_watches_that_are_refused_are_started_anew_without_their_namespace(
    pair: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Kopf gives up its refused watch before a list shows the loss: the operator restarts instead of ending."""
    kept, lost = pair
    kept.operator.kill()

    def impatient() -> kopf.OperatorSettings:
        settings = kopf_settings()
        settings.watching.server_timeout = 1
        settings.networking.error_backoffs = ()
        return settings

    monkeypatch.setattr(application, "kopf_settings", impatient)
    flags = {"kubeconfig": tmp_path / "kubeconfig", "namespaces": f"{kept.namespace},{lost.namespace}", "listen-port": 0}
    settings = read_settings([f"--{name}={value}" for name, value in flags.items()], {})

    async def scenario() -> bool:
        control = application.Control()
        operator = asyncio.create_task(application.run(settings, control))
        async with asyncio.timeout(60):
            await control.ready.wait()
            await asyncio.to_thread(lost.kubectl, "delete", "rolebinding", "--all")
            return await operator

    assert asyncio.run(scenario()) is True
    gc.collect()  # kopf leaves the other watches' errors to the garbage collector: here, and not in the middle of a later test
    assert "Task exception was never retrieved" not in caplog.text


def test_an_annotation_on_a_job_keeps_no_operator_from_starting(pair: tuple[Any, Any], trainer: Any) -> None:
    """`autohas.dev/touched-at: x` on its Job: the operator starts over it and follows the search on."""
    kept, _ = pair
    kept.apply(DURABLE)
    pod = kept.pod()
    kept.kubectl("annotate", "job", "--all", "autohas.dev/touched-at=x")
    kept.operator.kill()
    kept.operator.start()

    kept.report_progress(trainer, pod)
    unreadable = re.findall(r'^autohas_objects_unreadable_total{resource="(\w+)"} (\S+)$', kept.operator.page("/metrics"), re.MULTILINE)
    assert sorted(unreadable) == [("autohassearches", "0.0"), ("jobs", "0.0"), ("pods", "0.0")]

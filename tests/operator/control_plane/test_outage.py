"""The API server goes away and comes back, on a control plane of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autohas_operator.testing.builders import DURABLE, result_text
from testcluster import levels
from testcluster.chart import NAMESPACE
from testcluster.cluster import Cluster
from testcluster.control_plane import ControlPlane

pytestmark = pytest.mark.control_plane
AWAY_S = 60.0


@pytest.fixture(name="plane")
def _plane(tmp_path: Path) -> Iterator[ControlPlane]:
    reason = levels.why_no_control_plane()
    if reason:
        levels.leave_out(reason)
    plane = ControlPlane.start(tmp_path / "plane")
    yield plane
    plane.stop()


@pytest.fixture(name="lonely")
def _lonely(plane: ControlPlane, tmp_path: Path, bench_parts: Any) -> Iterator[Any]:
    install, operator_process, bench = bench_parts
    cluster = Cluster(kubeconfig=plane.kubeconfig, url=plane.url, node=None)
    kubeconfig = install(cluster, NAMESPACE, tmp_path / "kubeconfig")
    namespace = f"t-{os.getpid()}-outage"
    cluster.kubectl("create", "namespace", namespace)
    operator = operator_process(kubeconfig, tmp_path / "operator.log")
    operator.start()
    yield bench(cluster, operator, namespace)
    operator.kill()


def test_an_api_server_that_is_away_for_a_minute_is_waited_for(plane: ControlPlane, lonely: Any, trainer: Any) -> None:
    """The same operator process carries on: watches are cut and made again, the search that ran succeeds, a new one starts."""
    lonely.apply(DURABLE)
    pod = lonely.pod()
    lonely.report_progress(trainer, pod)
    plane.kill_api_server()
    time.sleep(AWAY_S)  # the outage itself
    alive = lonely.operator.page("/healthz")
    plane.start_api_server()
    plane.wait_api_server()
    lonely.end(pod, 0, result_text(lonely.search(), pod_uid=pod["metadata"]["uid"]))
    lonely.until_phase("Succeeded")

    assert alive == "ok\n"
    assert lonely.search()["status"]["attempt"] == 1
    assert len(lonely.objects("jobs")) == 1

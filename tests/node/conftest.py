"""The cluster with the chart installed, and one search left alone whose digest others are compared with: one each per session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from line import GIVEN, NAMESPACE, Line, Reference, durable
from testcluster import chart, levels
from testcluster.cluster import Cluster


@pytest.fixture(scope="session", name="line")
def _line(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    if node_cluster.node is None:
        levels.leave_out(GIVEN)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    node_cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    chart.install(node_cluster, restart=False)
    claim = tmp_path_factory.mktemp("checkpoints")
    node_cluster.local_volume("checkpoints", claim, namespace=NAMESPACE)
    yield Line(cluster=node_cluster, claim=claim)
    node_cluster.kubectl("delete", "-n", NAMESPACE, "ahs", "--all", "--timeout=60s")


@pytest.fixture(scope="session", name="reference")
def _reference(line: Line) -> Reference:
    """Started, not waited for: it runs at the same time as the first test that asks for its digest."""
    line.apply(durable(Reference.NAME, steps=Reference.STEPS))
    return Reference(line=line)

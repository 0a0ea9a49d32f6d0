"""Two releases in one cluster, each with namespaces of its own, as docs/install.md describes it."""

from __future__ import annotations

from typing import Any

from rendering import Objects, render
from testcluster.client import Tool

EVERYTHING: dict[str, Any] = {
    "admissionPolicy": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "metrics": {key: {"enabled": True} for key in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboards")},
}


def cluster_scoped(objects: Objects) -> set[tuple[str, str]]:
    """Objects without a namespace: the chart gives one to all others."""
    return {key for key, item in objects.items() if "namespace" not in item["metadata"]}


def test_two_releases_share_no_cluster_scoped_name(helm: Tool) -> None:
    """The first brings CRD and roles, the second leaves both out; one name in two namespaces is no conflict."""
    first = cluster_scoped(render(helm, namespace="vision-operator", watchNamespaces=["vision"], **EVERYTHING))
    plain = cluster_scoped(render(helm, namespace="ml-operator", watchNamespaces=["ml"], **EVERYTHING))
    second = cluster_scoped(
        render(helm, namespace="ml-operator", watchNamespaces=["ml"], crds__enabled=False, aggregateRoles=False, **EVERYTHING)
    )

    assert {kind for kind, _ in first & plain} == {"CustomResourceDefinition", "ClusterRole"}
    assert first & second == set()
    assert {kind for kind, _ in second} == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}

"""Searches that were stored under the former schema, after the CRD and the operator were upgraded, on a control plane of its own."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autohas_api.base.field_lookup import FORMER_NAMES
from autohas_operator.testing.builders import DURABLE
from crd_fixtures import NAME, wait_until_served
from testcluster import levels
from testcluster.chart import CHART, NAMESPACE
from testcluster.cluster import Cluster
from testcluster.control_plane import ControlPlane

pytestmark = pytest.mark.control_plane
CRD = CHART / "files" / "crd.yaml"
PASSES = "autohas_reconcile_duration_seconds_count"


def condition(kind: str, status: str, reason: str) -> dict[str, str]:
    """A condition as an operator of the former version wrote it."""
    return {"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


RESULT = {
    "hyperparameters": [{"name": "learning_rate", "value": "0.1"}],
    "architecture": [],
    "scores": {"metric": "accuracy", "test": "0.9", "selection": "0.91"},
    "parameters": 1000,
    "trainings": "4",
    "stopReason": "Completed",
    "configurationDigest": "sha256:1",
    "modelDigest": "sha256:2",
    "digest": "sha256:3",
}
STATUS: dict[str, dict[str, Any]] = {
    "new": {},
    "began": {"phase": "Running", "attempt": 1, "best": "0.9", "conditions": [condition("CheckpointReady", "Unknown", "NoneYet")]},
    "ended": {
        "phase": "Succeeded",
        "attempt": 1,
        "completionTime": "2026-01-01T00:00:00Z",
        "result": RESULT,
        "conditions": [condition("Succeeded", "True", "Completed"), condition("Finished", "True", "Succeeded")],
    },
}
"""What an operator of the former version wrote, by the name of the search; `NoneYet` is a reason of those days."""


@pytest.fixture(name="plane")
def _plane(tmp_path: Path) -> Iterator[ControlPlane]:
    reason = levels.why_no_control_plane()
    if reason:
        levels.leave_out(reason)
    plane = ControlPlane.start(tmp_path / "plane")
    yield plane
    plane.stop()


def former_crd() -> dict[str, Any]:
    """The CRD with the former names of fields, in properties, in what is required, in defaults and in rules."""
    crd: dict[str, Any] = yaml.safe_load(CRD.read_text())
    (version,) = crd["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]
    for path, present in FORMER_NAMES.items():
        *places, former = path.split(".")
        holder = root
        for place in places:
            holder = holder["properties"][place]
        holder["properties"][former] = holder["properties"].pop(present)
        holder["required"] = [former if name == present else name for name in holder.get("required", [])]
        if present in holder.get("default", {}):
            holder["default"][former] = holder["default"].pop(present)
        for rule in root["x-kubernetes-validations"]:
            rule |= {key: re.sub(rf"\bspec\.{present}\b", path, text) for key, text in rule.items() if isinstance(text, str)}
        for rule in holder.get("x-kubernetes-validations", []):
            own = rf"(\bself\.|^\.){present}\b"
            rule |= {key: re.sub(own, rf"\g<1>{former}", text) for key, text in rule.items() if isinstance(text, str)}
    return crd


def former_search(name: str) -> dict[str, Any]:
    """A search as it was written for the former schema."""
    document = copy.deepcopy(DURABLE)
    document["metadata"]["name"] = name
    document["spec"]["retrain"] = document["spec"].pop("training")
    document["spec"]["cleanup"] = {"jobTTLSeconds": 60}
    return document


@pytest.fixture(name="upgraded")
def _upgraded(plane: ControlPlane, tmp_path: Path, bench_parts: Any) -> Iterator[Any]:
    """Three searches of the former schema on a server whose CRD is the present one, and an operator that has not started."""
    install, operator_process, bench_class = bench_parts
    cluster = Cluster(kubeconfig=plane.kubeconfig, url=plane.url, node=None)
    namespace = f"t-{os.getpid()}-former"
    cluster.kubectl.apply(former_crd())
    wait_until_served(cluster.kubectl, NAME)
    cluster.kubectl("create", "namespace", namespace)
    operator = operator_process(Path(), tmp_path / "operator.log")
    bench = bench_class(cluster, operator, namespace)
    for name, status in STATUS.items():
        bench.apply(former_search(name))
        if status:
            bench.kubectl("patch", "ahs", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    kubeconfig = install(cluster, NAMESPACE, tmp_path / "kubeconfig")
    bench.until(lambda: all("retrain" not in item["spec"] for item in bench.objects("ahs")), "the present CRD serves")
    bench.operator = operator_process(kubeconfig, tmp_path / "operator.log", resync_period_s=1)
    yield bench
    bench.operator.kill()


def num_passes(bench: Any) -> float:
    """Passes over searches that the operator has made."""
    return sum(float(line.split()[-1]) for line in bench.operator.page("/metrics").splitlines() if line.startswith(PASSES))


def test_searches_of_a_former_schema_are_reported_once(upgraded: Any) -> None:
    """One event and one status write for each in twenty passes, no failed pass, no Job; status and result stay, and each can be deleted."""
    upgraded.operator.start()
    upgraded.until(lambda: num_passes(upgraded) >= 20, "twenty passes")
    found = {item["metadata"]["name"]: item for item in upgraded.objects("ahs")}
    accepted = {name: next(c for c in item["status"]["conditions"] if c["type"] == "Accepted") for name, item in found.items()}
    posted = [(event["involvedObject"]["name"], event["reason"], event.get("count", 1)) for event in upgraded.objects("events")]
    written = [line for line in upgraded.operator.log().splitlines() if '"reason": "Spec' in line or '"reason": "SearchRejected"' in line]

    assert sorted(posted) == [("began", "SpecUnreadable", 1), ("ended", "SpecUnreadable", 1), ("new", "SearchRejected", 1)]
    assert {name: c["reason"] for name, c in accepted.items()} == {
        "new": "InvalidSpec",
        "began": "SpecUnreadable",
        "ended": "SpecUnreadable",
    }
    assert all("spec.training: Required value" in c["message"] for c in accepted.values())
    assert {name: item["status"]["phase"] for name, item in found.items()} == {"new": "Rejected", "began": "Rejected", "ended": "Succeeded"}
    assert (found["began"]["status"]["best"], found["ended"]["status"]["result"]) == ("0.9", STATUS["ended"]["result"])
    assert upgraded.objects("jobs") == []
    assert len(written) == 3
    assert "reconciliation failed" not in upgraded.operator.log()
    upgraded.kubectl("delete", "ahs", "--all", "--timeout=30s")

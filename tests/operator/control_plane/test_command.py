"""`autohas watch`, `wait` and `fetch` against a real API server with the operator at work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autohas.fetching import reader_pod
from autohas_api.testing.rejections import with_change
from autohas_operator.testing.builders import DURABLE

pytestmark = pytest.mark.control_plane


def _autohas(bench: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    kubectl = Path(bench.cluster.kubectl.executable).parent
    command = [sys.executable, "-m", "autohas", arguments[0], *arguments[1:]]
    place = [f"--namespace={bench.namespace}", f"--kubeconfig={bench.cluster.kubeconfig}"]
    environment = {"PATH": str(kubectl), "HOME": "/nonexistent", "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run([*command, *place], capture_output=True, text=True, check=False, timeout=400, env=environment)


def test_wait_follows_a_search_to_its_result(bench: Any, trainer: Any) -> None:
    """124 while it runs, with what it is at; 0 once the result is stored; watch then ends at once with 0."""
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    early = _autohas(bench, "wait", "fashion", "--timeout=1s")
    watched = _autohas(bench, "watch", "--once")
    bench.succeed(pod)
    late = _autohas(bench, "wait", "fashion", "--timeout=1m")

    assert (early.returncode, "fashion: Running" in early.stdout) == (124, True), early
    assert (watched.returncode, "fashion: Running" in watched.stdout) == (0, True), watched
    assert (late.returncode, "fashion: Succeeded" in late.stdout) == (0, True), late
    assert _autohas(bench, "watch", "fashion").returncode == 0


def test_wait_ends_with_1_when_a_search_is_rejected_or_absent(bench: Any) -> None:
    """The operator's sentence is printed, and the API server's when there is no such search."""
    bench.apply(with_change(DURABLE, "spec.budget.trainings", "2"))
    rejected = _autohas(bench, "wait", "fashion", "--timeout=1m")
    absent = _autohas(bench, "wait", "absent")

    assert rejected.returncode == 1
    assert "fashion: Rejected" in rejected.stdout
    assert "spec.budget.trainings: must be at least" in rejected.stdout
    assert (absent.returncode, '"absent" not found' in absent.stderr) == (1, True), absent


def test_the_reader_pod_is_admitted_where_only_restricted_pods_are(bench: Any, trainer: Any) -> None:
    """`fetch` makes a pod that Pod Security's restricted profile takes, with the image that status pins and the search's claim."""
    bench.kubectl("label", "namespace", bench.namespace, "pod-security.kubernetes.io/enforce=restricted")
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    bench.succeed(pod)
    made = json.loads(bench.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(reader_pod(bench.search()))))

    assert made["spec"]["containers"][0]["image"] == bench.search()["status"]["trainer"]["image"]
    assert made["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "ck", "readOnly": True}

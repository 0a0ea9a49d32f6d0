"""Helm 4, which waits by kstatus: a search that is part of a release is waited for until its end, and its failure is the release's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_operator.testing.builders import DURABLE

pytestmark = pytest.mark.control_plane
WAIT_S = 120


@pytest.fixture(name="release")
def _release(bench: Any, tmp_path: Path) -> Any:
    """`helm install --wait` of a chart whose one template is a search, as a process."""

    def install(document: dict[str, Any]) -> subprocess.Popen[str]:
        chart = tmp_path / "chart"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: searches\nversion: 1.0.0\n")
        (chart / "templates" / "search.yaml").write_text(json.dumps(document))
        helm = bench.cluster.helm
        command = [helm.executable, "install", "team", chart, "--namespace", bench.namespace, "--wait", f"--timeout={WAIT_S}s"]
        environment = {"KUBECONFIG": str(helm.kubeconfig), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    return install


def test_a_rejected_search_fails_its_release(bench: Any, release: Any) -> None:
    """Long before the timeout, with the name of what failed."""
    with release(with_change(DURABLE, "spec.trainer", {"serviceAccountName": "other"})) as process:
        output, _ = process.communicate(timeout=WAIT_S)

    assert process.returncode == 1, output
    assert "status: Failed" in output
    assert bench.search()["status"]["phase"] == "Rejected"


def test_a_release_is_deployed_once_its_search_has_succeeded(bench: Any, release: Any, trainer: Any) -> None:
    """Not before: while the trainer works, Helm waits."""
    with release(with_change(DURABLE, "spec.monitoring", {"metricsPort": trainer.port})) as process:
        pod = bench.pod()
        bench.report_progress(trainer, pod)
        waits = process.poll() is None
        bench.succeed(pod)
        output, _ = process.communicate(timeout=WAIT_S)

    assert waits, output
    assert process.returncode == 0, output
    assert "STATUS: deployed" in output


def test_a_search_that_was_just_made_has_observed_no_generation(bench: Any) -> None:
    """The API server says so itself, before any operator does: the default of the schema."""
    bench.operator.kill()
    bench.apply(DURABLE)

    assert bench.search()["status"] == {"observedGeneration": 0, "conditions": []}

"""Two operators for one namespace on a real API server: the Lease decides, with the rights that the chart grants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autohas_operator.testing.builders import DURABLE

pytestmark = pytest.mark.control_plane


@pytest.mark.parametrize("bench", ["narrow"], indirect=True)
def test_a_second_operator_waits_says_so_and_takes_over(bench: Any, tmp_path: Path, operator_process: Any, trainer: Any) -> None:
    """It is not ready and names the first; one Job is made; when the first one and its Lease are gone, it follows the search to its end."""
    second = operator_process(tmp_path / "kubeconfig", tmp_path / "second.log", namespaces=bench.namespace, identity="b/autohas-operator")
    try:
        second.start_unready(f"namespace {bench.namespace} is served by autohas-operator (Lease autohas-operator)")
        bench.apply(DURABLE)
        pod = bench.pod()
        bench.report_progress(trainer, pod)
        events = {
            event["reason"]: event["count"] for event in bench.objects("events") if event["involvedObject"]["kind"] == "AutoHASSearch"
        }
        bench.operator.kill()
        bench.kubectl("delete", "lease", "autohas-operator")  # no test waits until it has expired
        bench.until(lambda: second.page("/readyz") == "ok\n", "the second is ready")
        bench.succeed(pod)
    finally:
        second.kill()

    assert events["TrainerJobCreated"] == 1
    assert "namespace held" in second.log()
    assert len(bench.objects("jobs")) == 1
    assert bench.search()["status"]["attempt"] == 1
    assert [lease["spec"]["holderIdentity"] for lease in bench.objects("leases")] == ["b/autohas-operator"]

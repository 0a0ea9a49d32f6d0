"""The test cluster itself: what every other test of this level takes for granted."""

import json
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testcluster import levels
from testcluster.cluster import Cluster

pytestmark = pytest.mark.node

NAMESPACE = f"cluster-smoke-{secrets.token_hex(3)}"  # new: on a given cluster, the last run's may still be going
USER = 65532
ENDED = "--for=jsonpath={.status.phase}=Succeeded"


@pytest.fixture(scope="module")
def restricted(node_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with a namespace that admits only pods of the restricted profile."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    node_cluster.kubectl.apply(namespace)
    yield node_cluster
    node_cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def pod(name: str, *command: str, image: str = "autohas-operator:0.1.0", claim: str | None = None) -> dict[str, Any]:
    """A pod of the restricted profile that runs `command`; a claim is mounted at /data."""
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def run_to_end(cluster: Cluster, manifest: dict[str, Any]) -> dict[str, Any]:
    """The status of a pod that succeeded."""
    name = manifest["metadata"]["name"]
    cluster.kubectl.apply(manifest)
    cluster.kubectl("wait", "-n", NAMESPACE, ENDED, f"pod/{name}", "--timeout=180s", timeout_s=210)
    status: dict[str, Any] = cluster.kubectl.json("get", "-n", NAMESPACE, "pod", name)["status"]
    return status


def test_restricted_pod_leaves_its_termination_message(restricted: Cluster) -> None:
    """A pod of the restricted profile runs as its user, and its termination message reaches its status."""
    code = "import os; open('/dev/termination-log', 'w').write(f'user {os.getuid()}')"
    status = run_to_end(restricted, pod("termination-message", "python", "-c", code))
    assert status["containerStatuses"][0]["state"]["terminated"]["message"] == f"user {USER}"


def test_logs_are_read_through_the_api_server(restricted: Cluster) -> None:
    """What a pod prints comes back through `kubectl logs`."""
    run_to_end(restricted, pod("logs", "python", "-c", "print('hello')"))
    assert restricted.kubectl("logs", "-n", NAMESPACE, "logs") == "hello\n"


def test_port_answers_from_the_host(restricted: Cluster) -> None:
    """The host reaches a port that a pod serves."""
    server = pod("server", "python", "-m", "http.server", "8000", "--directory", "/opt")
    server["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
    restricted.kubectl.apply(server)
    restricted.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/server", "--timeout=60s")
    address = restricted.kubectl.json("get", "-n", NAMESPACE, "pod", "server")["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:8000/", timeout=10) as answer:
        assert answer.status == 200


def test_names_of_services_resolve(restricted: Cluster) -> None:
    """A pod finds the API server by name, and its address lies in the range of services."""
    code = "import socket; print(socket.gethostbyname('kubernetes.default.svc.cluster.local'))"
    run_to_end(restricted, pod("names", "python", "-c", code))
    assert restricted.kubectl("logs", "-n", NAMESPACE, "names").startswith("10.96.")


def test_pod_reaches_the_api_server(restricted: Cluster) -> None:
    """A pod gets an answer from the API server through its service, and trusts its certificate."""
    code = (
        "import ssl, urllib.request; authority = '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt'; "
        "context = ssl.create_default_context(cafile=authority); "
        "print(urllib.request.urlopen('https://kubernetes.default.svc/version', context=context, timeout=10).status)"
    )
    manifest = pod("api", "python", "-c", code)
    manifest["spec"]["automountServiceAccountToken"] = True
    run_to_end(restricted, manifest)
    assert restricted.kubectl("logs", "-n", NAMESPACE, "api") == "200\n"


def test_local_volume_is_writable_without_root(restricted: Cluster, tmp_path: Path) -> None:
    """A pod that is not root writes to a local volume through its fsGroup, and the host sees the file."""
    if restricted.node is None:
        levels.leave_out("a given cluster's nodes do not see this machine's folders")
    restricted.local_volume("smoke-data", tmp_path / "data", namespace=NAMESPACE)
    run_to_end(restricted, pod("writer", "python", "-c", "open('/data/it', 'w').write('here')", claim="smoke-data"))
    assert (tmp_path / "data" / "it").read_text() == "here"
    assert (tmp_path / "data" / "it").stat().st_gid == USER


def test_devices_are_offered_and_requested(restricted: Cluster) -> None:
    """A pod that asks for a GPU is scheduled once the node offers one."""
    if restricted.node is None:
        levels.leave_out("the nodes of a given cluster are not ours to change")
    restricted.node.offer_gpus(1)
    manifest = pod("device", "python", "-c", "pass")
    manifest["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    assert run_to_end(restricted, manifest)["phase"] == "Succeeded"


def test_operator_image_has_no_torch(restricted: Cluster) -> None:
    """The operator's image holds the operator and the contract, and no torch."""
    code = (
        "import importlib.util as util, json; "
        "print(json.dumps([util.find_spec(name) is not None for name in ('autohas_operator', 'autohas_api', 'torch')]))"
    )
    run_to_end(restricted, pod("operator-image", "python", "-c", code))
    assert json.loads(restricted.kubectl("logs", "-n", NAMESPACE, "operator-image")) == [True, True, False]


def test_trainer_image_has_torch(restricted: Cluster) -> None:
    """The trainer's image computes with torch under a read-only root."""
    code = "import autohas_trainer, torch; print(int(torch.ones(2, 3).sum()))"
    run_to_end(restricted, pod("trainer-image", "python", "-c", code, image="autohas-trainer:0.1.0"))
    assert restricted.kubectl("logs", "-n", NAMESPACE, "trainer-image") == "6\n"

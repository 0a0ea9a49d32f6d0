"""Fixtures of the control-plane tests: the operator as a process, and methods with which a test plays the kubelet.

The API server, the Job controller, the scheduler and the garbage collector are real; there is no node, so tests write
the status of pods. The operator runs with the rights that the chart grants and with nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from autohas_api.base.names import TRAINER_CONTAINER
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import encode_progress
from autohas_operator.testing.builders import progress, result_text
from crd_fixtures import NAME, wait_until_served
from testcluster import ports
from testcluster.chart import CHART, NAMESPACE, RELEASE
from testcluster.cluster import Cluster
from testcluster.waiting import until

DEADLINE_S = 60.0
DRIVER = "secrets-store.csi.k8s.io"
"""The driver of csi volumes that the chart allows here."""
(PORT,) = ports.free(1)
"""The port of the played trainers: a real trainer on this machine may listen on the usual port on all addresses."""
_addresses, _numbers = count(2), count(1)


class Trainer:
    """Answers /progress on a loopback address of its own."""

    def __init__(self) -> None:
        self.address = f"127.0.{os.getpid() % 250 + 1}.{next(_addresses)}"
        self.port = PORT
        self.body = b"{}"
        trainer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(trainer.body)

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer((self.address, PORT), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class OperatorProcess:
    """`python -m autohas_operator` with the chart's service account; `kill` is kill -9."""

    def __init__(self, kubeconfig: Path, log: Path, *, namespaces: str = "", resync_period_s: float = 600, **flags: str) -> None:
        self._kubeconfig = kubeconfig
        self._namespaces = namespaces
        self._resync_period_s = resync_period_s
        self._flags = flags
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start, and return when its cache is filled."""
        self._spawn()
        until(self._is_ready, what="the operator is ready", deadline_s=DEADLINE_S, context=self._log.read_text)

    def wait_for_exit(self) -> int:
        """Start, and return the exit code of a process that ends by itself."""
        self._spawn()
        assert self._process is not None
        return self._process.wait(timeout=DEADLINE_S)

    def is_running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """The log lines of all starts."""
        return self._log.read_text()

    def start_unready(self, sentence: str) -> None:
        """Start, and return when /readyz says why it is not ready."""
        self._spawn()
        until(lambda: sentence in self._readyz(), what=f"/readyz says {sentence}", deadline_s=DEADLINE_S, context=self._log.read_text)

    def _readyz(self) -> str:
        url = f"http://127.0.0.1:{self.port}/readyz"
        return subprocess.run(["curl", "-sS", url], capture_output=True, text=True, check=False).stdout

    def _spawn(self) -> None:
        (self.port,) = ports.free(1)
        flags = {
            "kubeconfig": self._kubeconfig,
            "namespaces": self._namespaces,
            "listen-address": "127.0.0.1",
            "listen-port": self.port,
            "poll-period-s": 1,
            "resync-period-s": self._resync_period_s,
            "trainer-image": "trainer:test",
            "trainer-service-accounts": "absent",
            "trainer-csi-drivers": DRIVER,
            **self._flags,
        }
        command = [sys.executable, "-m", "autohas_operator", *(f"--{name}={value}" for name, value in flags.items())]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        """Send SIGTERM; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=30)

    def page(self, path: str) -> str:
        """The body that the operator serves under a path."""
        answer = subprocess.run(["curl", "-fsS", f"http://127.0.0.1:{self.port}{path}"], capture_output=True, text=True, check=False)
        return answer.stdout

    def memory_mib(self) -> float:
        """The resident memory of the process."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return self.page("/readyz") == "ok\n"


class Bench:
    """One namespace on the control plane that the operator serves, with methods to play the kubelet."""

    def __init__(self, cluster: Cluster, operator: OperatorProcess, namespace: str) -> None:
        self.cluster = cluster
        self.operator = operator
        self.namespace = namespace

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess calls it
        return self.cluster.kubectl("-n", self.namespace, *arguments, input=input)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        objects: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return objects

    def apply(self, document: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", input=json.dumps(with_change(document, "spec.monitoring", {"metricsPort": PORT})))

    def search(self) -> dict[str, Any]:
        (search,) = self.objects("ahs")
        return search

    def condition(self, kind: str) -> tuple[str, str]:
        conditions = self.search().get("status", {}).get("conditions", [])
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        return until(condition, what=what, deadline_s=DEADLINE_S, context=self.explain)

    def until_phase(self, phase: str) -> None:
        self.until(lambda: self.search().get("status", {}).get("phase") == phase, f"phase {phase}")

    def explain(self) -> str:
        return yaml.safe_dump([item.get("status") for kind in ("ahs", "jobs", "pods") for item in self.objects(kind)])

    def pod(self) -> dict[str, Any]:
        """Wait for a pod that has not ended; returns the newest one."""

        def newest() -> dict[str, Any] | None:
            alive = [pod for pod in self.objects("pods") if pod["status"]["phase"] not in ("Succeeded", "Failed")]
            return alive[-1] if alive else None

        pod: dict[str, Any] = self.until(newest, "a pod")
        return pod

    def bind(self, pod: dict[str, Any]) -> dict[str, Any]:
        """Bind a pod to a node that does not exist: a deleted pod stays until the test confirms its end, as a kubelet would.

        A node of its own: 40 s after it missed one, the pod garbage collector deletes whatever is bound to that name by then.
        """
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": f"absent-{pod['metadata']['uid']}"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/binding"
        self.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(binding))
        return pod

    def play_kubelet(
        self, pod: dict[str, Any], phase: str, state: dict[str, Any], address: str = "127.0.0.1", *, sidecars: tuple[str, ...] = ()
    ) -> None:
        """Write the status that a kubelet would write; containers in `sidecars` run."""
        container = {
            "name": TRAINER_CONTAINER,
            "state": state,
            "started": "running" in state,
            "ready": "running" in state,
            "restartCount": 0,
            "image": "trainer:test",
            "imageID": "trainer:test",
        }
        others = [{**container, "name": name, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}} for name in sidecars]
        status = {"phase": phase, "podIP": address, "podIPs": [{"ip": address}], "containerStatuses": [container, *others]}
        self.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))

    def run(self, pod: dict[str, Any], address: str = "127.0.0.1") -> None:
        self.play_kubelet(pod, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, address)

    def report_progress(self, trainer: Trainer, pod: dict[str, Any], **fields: Any) -> None:
        """Let the pod run and its trainer answer."""
        attempt = int(pod["metadata"]["labels"]["autohas.dev/attempt"])
        trainer.body = encode_progress(progress(self.search(), pod_uid=pod["metadata"]["uid"], attempt=attempt, **fields))
        self.run(pod, trainer.address)
        self.until_phase("Running")

    def succeed(self, pod: dict[str, Any]) -> None:
        """Let the trainer end with a valid result."""
        attempt = int(pod["metadata"]["labels"]["autohas.dev/attempt"])
        self.end(pod, 0, result_text(self.search(), pod_uid=pod["metadata"]["uid"], attempt=attempt))
        self.until_phase("Succeeded")

    def end(self, pod: dict[str, Any], code: int, message: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # the Job controller's back-off counts from it
        times = {"startedAt": now, "finishedAt": now}
        ended = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message, **times}}
        self.play_kubelet(pod, "Succeeded" if code == 0 else "Failed", ended)


def install(cluster: Cluster, namespace: str, path: Path, *flags: str) -> Path:
    """Install CRD, service account, rights and policies as the chart renders them; returns a kubeconfig of that account."""
    rendered = cluster.helm("template", RELEASE, CHART, "--namespace", namespace, *flags)
    rights = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    kinds = ("CustomResourceDefinition", *rights, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    objects = [document for document in yaml.safe_load_all(rendered) if document and document["kind"] in kinds]
    cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=bundle)
    wait_until_served(cluster.kubectl, NAME)
    account = next(item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount")
    token = cluster.kubectl("-n", namespace, "create", "token", account, "--duration=4h").strip()
    config = yaml.safe_load(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten"))
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="session", name="operator_kubeconfig")
def _operator_kubeconfig(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    allowed = ("--set=trainer.serviceAccounts={absent}", f"--set=trainer.csiDrivers={{{DRIVER}}}")
    return install(control_plane, NAMESPACE, tmp_path_factory.mktemp("operator") / "kubeconfig", *allowed)


@pytest.fixture(name="bench")
def _bench(control_plane: Cluster, operator_kubeconfig: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    namespace = f"t-{os.getpid()}-{next(_numbers)}"
    control_plane.kubectl("create", "namespace", namespace)
    operator = OperatorProcess(operator_kubeconfig, tmp_path / "operator.log")
    if (kind := getattr(request, "param", "")) in ("narrow", "guarded"):
        flags = [f'--set-json=watchNamespaces=["{namespace}"]', "--set=aggregateRoles=false", "--set=crds.enabled=false"]
        flags += ["--set=trainer.priorityClasses={research}"] if kind == "guarded" else []
        narrow = install(control_plane, f"{namespace}-operator", tmp_path / "kubeconfig", *flags)
        operator = OperatorProcess(narrow, tmp_path / "operator.log", namespaces=namespace)
    operator.start()
    try:
        yield Bench(control_plane, operator, namespace)
    finally:
        operator.kill()
        control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(name="trainer")
def _trainer() -> Iterator[Trainer]:
    trainer = Trainer()
    yield trainer
    trainer.close()


@pytest.fixture(name="operator_process")
def _operator_process() -> type[OperatorProcess]:
    """For tests that start a further operator."""
    return OperatorProcess


@pytest.fixture(name="bench_parts")
def _bench_parts() -> tuple[Callable[..., Path], type[OperatorProcess], type[Bench]]:
    """For tests on a control plane of their own."""
    return install, OperatorProcess, Bench

"""etcd, API server, controller manager and scheduler on free ports, as any user.

Enough for everything but running pods: schemas, Jobs, RBAC, garbage collection. Several run side by side, each in
a directory of its own. Called by the fixtures and by cluster.py, which adds a node.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from testcluster import binaries, ports
from testcluster.client import Tool
from testcluster.commands import CommandFailedError, run
from testcluster.processes import Processes
from testcluster.waiting import until

LOOPBACK = "127.0.0.1"
SERVICE_RANGE = "10.96.0.0/16"
READY_S = 180.0  # takes 3 s on an idle machine, a minute on one that is busy with builds


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """A running control plane; its one user is a cluster administrator."""

    directory: Path
    address: str
    url: str
    etcd_url: str

    @property
    def kubeconfig(self) -> Path:
        """For the administrator."""
        return self.directory / "kubeconfig"

    @property
    def processes(self) -> Processes:
        """What runs, and its logs."""
        return Processes(directory=self.directory)

    @property
    def kubectl(self) -> Tool:
        """The client, as the administrator."""
        return Tool(executable=binaries.kubectl(), kubeconfig=self.kubeconfig)

    @property
    def helm(self) -> Tool:
        """Helm as the administrator."""
        return Tool(executable=binaries.helm(), kubeconfig=self.kubeconfig)

    @classmethod
    def start(cls, directory: Path, address: str = LOOPBACK) -> Self:
        """Start one in `directory`, listening on `address`; ready when it returns.

        Raises TimeoutError with the ends of the logs; nothing is left running then.
        """
        peer, client, api = (*ports.free(2), *ports.free(1, address))
        plane = cls(
            directory=directory,
            address=address,
            url=f"https://{address}:{api}",
            etcd_url=f"http://{LOOPBACK}:{client}",
        )
        directory.mkdir(parents=True, exist_ok=True)
        try:
            plane._write_credentials()
            plane._start_etcd(f"http://{LOOPBACK}:{peer}")
            plane.start_api_server()
            # The others read its certificate when they start, and end if it does not answer within their first seconds.
            plane.wait_api_server()
            plane._start_controllers()
            # The last of the controllers' first acts that pods depend on.
            plane._until(lambda: plane._answers("get", "serviceaccount", "default"), "the default service account exists")
        except BaseException:
            plane.stop()
            raise
        return plane

    def stop(self) -> None:
        """End its processes; logs and kubeconfig stay."""
        end(self.processes)

    def kill_api_server(self) -> None:
        """End the API server at once, as a crash does."""
        self.processes.end("kube-apiserver", grace_s=0)

    def start_api_server(self) -> None:
        """Start the API server, also again after `kill_api_server`: same port, same data."""
        certificates = self.directory / "certificates"
        self._component(
            "kube-apiserver",
            f"--etcd-servers={self.etcd_url}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.url.rpartition(':')[2]}",
            f"--cert-dir={certificates}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.directory / 'service-accounts.key'}",
            f"--service-account-signing-key-file={self.directory / 'service-accounts.key'}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
        )

    def wait_api_server(self) -> None:
        """Return once the API server answers that it is ready."""
        self._until(lambda: self._answers("get", "--raw", "/readyz"), "the API server is ready")

    def _start_etcd(self, peer_url: str) -> None:
        self._component(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            "--unsafe-no-fsync",  # the data need not outlive the machine
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
        )

    def _start_controllers(self) -> None:
        fast = ("--kube-api-qps=200", "--kube-api-burst=400", "--leader-elect=false", "--secure-port=0")
        self._component(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.directory / 'service-accounts.key'}",
            # The API server's self-signed certificate is its own authority: pods verify against it.
            f"--root-ca-file={self._authority}",
            *fast,
        )
        self._component("kube-scheduler", f"--kubeconfig={self.kubeconfig}", *fast)

    def _component(self, name: str, *arguments: str) -> None:
        self.processes.start(name, [binaries.kubernetes(), name, *arguments])

    @property
    def _authority(self) -> Path:
        return self.directory / "certificates" / "apiserver.crt"

    def _write_credentials(self) -> None:
        token = secrets.token_hex(16)
        tokens = self.directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{token},admin,admin,"system:masters"\n')
        run(["openssl", "genrsa", "-out", self.directory / "service-accounts.key", "2048"])
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self.url, self._authority, token), indent=2))

    def _answers(self, *arguments: str) -> bool:
        try:
            self.kubectl(*arguments, "--request-timeout=5s")
        except CommandFailedError:
            return False
        return True

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        def look() -> bool:
            ended = [name for name in self.processes.names() if not self.processes.is_alive(name)]
            if ended:
                message = f"{', '.join(ended)} ended while waiting until {what}\n{self.processes.explain(*ended)}"
                raise RuntimeError(message)
            return condition()

        until(look, what=what, deadline_s=READY_S, context=self.processes.explain)


def end(processes: Processes) -> None:
    """End a control plane's processes, servers after their clients: without etcd an API server takes 10 s to go."""
    processes.end("kube-scheduler", "kube-controller-manager")
    processes.end("kube-apiserver")
    processes.end("etcd")


def _kubeconfig(url: str, authority: Path, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }

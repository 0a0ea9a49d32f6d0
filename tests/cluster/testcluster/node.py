"""One node: container runtime, kubelet, kube-proxy and DNS next to a control plane.

There is at most one per machine, in RUN: the bridge and its addresses are the machine's. leftovers.py takes it
down, also after a crash. Needs root.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from testcluster import binaries, dns, leftovers, network, ports
from testcluster.containerd import Containerd
from testcluster.control_plane import ControlPlane
from testcluster.processes import Processes
from testcluster.waiting import until

RUN = leftovers.RUN
NAME = "autohas-test"
READY_S = 120.0  # takes 11 s on an idle machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The running node."""

    control_plane: ControlPlane
    name: str = NAME

    @property
    def processes(self) -> Processes:
        """What runs, and its logs."""
        return Processes(directory=RUN)

    @classmethod
    def start(cls, control_plane: ControlPlane) -> Self:
        """Join a node to `control_plane`, which listens on network.HOST; containerd runs already.

        Ready when it returns; raises TimeoutError with the ends of the logs.
        """
        node = cls(control_plane=control_plane)
        leftovers.create_cgroup()
        node._start_kubelet()
        node._start_proxy()
        dns.start(node.processes, control_plane.kubeconfig)
        node._wait_ready()
        return node

    def stop(self) -> None:
        """Take everything down that start made, pods included."""
        leftovers.clean()

    def offer_gpus(self, count: int) -> None:
        """Make the node claim `count` GPUs, which no container gets: enough for scheduling."""
        offer = {"nvidia.com/gpu": str(count)}
        patch = json.dumps({"status": {"capacity": offer, "allocatable": offer}})
        self.control_plane.kubectl("patch", "node", self.name, "--subresource=status", "--patch", patch)

    def _start_kubelet(self) -> None:
        resolver = RUN / "resolv.conf"
        resolver.write_text(f"nameserver {network.HOST}\n")  # not the host's: its search domains would leak into pods
        config = RUN / "kubelet.json"
        config.write_text(json.dumps(_kubelet_config(Containerd(directory=RUN), resolver), indent=2))
        self.processes.start(
            "kubelet",
            [
                binaries.kubernetes(),
                "kubelet",
                f"--config={config}",
                f"--kubeconfig={self.control_plane.kubeconfig}",
                f"--root-dir={RUN / 'kubelet'}",
                f"--cert-dir={RUN / 'kubelet-certificates'}",
                f"--node-ip={network.HOST}",
                f"--hostname-override={self.name}",
            ],
        )

    def _start_proxy(self) -> None:
        self.processes.start(
            "kube-proxy",
            [
                binaries.kubernetes(),
                "kube-proxy",
                f"--kubeconfig={self.control_plane.kubeconfig}",
                f"--hostname-override={self.name}",
                "--proxy-mode=iptables",
                "--conntrack-max-per-core=0",  # the kernel's limit stays as it is
                # Without the bridge's netfilter module, answers between two pods would bypass the translation back.
                "--masquerade-all",
                f"--metrics-bind-address=127.0.0.1:{ports.free(1)[0]}",
                f"--healthz-bind-address=127.0.0.1:{ports.free(1)[0]}",
            ],
        )

    def _wait_ready(self) -> None:
        kubectl = self.control_plane.kubectl

        def is_ready() -> bool:
            ended = [name for name in self.processes.names() if not self.processes.is_alive(name)]
            if ended:
                message = f"{', '.join(ended)} ended while the node was starting\n{self.processes.explain(*ended)}"
                raise RuntimeError(message)
            nodes = kubectl.json("get", "nodes")["items"]
            conditions = [condition for node in nodes for condition in node.get("status", {}).get("conditions", [])]
            tainted = any(node["spec"].get("taints") for node in nodes)
            return not tainted and any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

        until(is_ready, what=f"node {self.name} is ready", deadline_s=READY_S, context=self.processes.explain)


def _kubelet_config(containerd: Containerd, resolver: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.HOST,
        "port": ports.free(1, network.HOST)[0],
        "healthzPort": 0,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{leftovers.CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{containerd.socket}",
        "resolvConf": str(resolver),
        "clusterDNS": [network.HOST],
        "clusterDomain": dns.DOMAIN,
        # The disk is the developer's: pods are not evicted, nor images deleted, because it is nearly full.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
    }

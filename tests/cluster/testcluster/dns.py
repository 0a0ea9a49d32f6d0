"""Cluster DNS: CoreDNS as a process of the host, on the bridge's address.

Answers for services and pods, and for nothing outside: tests depend on no other name.
"""

import socket
from pathlib import Path

from testcluster import binaries, network
from testcluster.processes import Processes
from testcluster.waiting import until

DOMAIN = "cluster.local"
NAME = "coredns"
READY_S = 30.0

CONFIG = """\
.:53 {{
  bind {address}
  errors
  kubernetes {domain} {{
    kubeconfig {kubeconfig} test
    ttl 1
  }}
}}
"""


def start(processes: Processes, kubeconfig: Path) -> None:
    """Start it; it answers when this returns, or TimeoutError is raised with the end of its log."""
    config = processes.directory / "Corefile"
    config.write_text(CONFIG.format(address=network.HOST, domain=DOMAIN, kubeconfig=kubeconfig))
    processes.start(NAME, [binaries.coredns(), "-conf", config])
    until(
        lambda: resolves(f"kubernetes.default.svc.{DOMAIN}"),
        what="DNS answers for the API server's service",
        deadline_s=READY_S,
        context=lambda: processes.explain(NAME),
    )


def resolves(name: str) -> bool:
    """Whether our server has an address for `name`."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    # RFC 1035: id, flags (recursion desired), one question; type A, class IN.
    question = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect((network.HOST, 53))
        try:
            client.send(question)
            answer = client.recv(512)
        except OSError:
            return False
    num_answers = int.from_bytes(answer[6:8], "big")
    return answer[3] & 0x0F == 0 and num_answers > 0

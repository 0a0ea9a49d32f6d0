"""The container runtime, with a content store that lasts and a state that does not.

Its root lies in the cache: images imported once stay imported. State, socket and network configuration lie in the
run directory. Called by node.py and loading.py. Needs root.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from testcluster import cache, network
from testcluster.commands import CommandFailedError, run, succeeds
from testcluster.processes import Processes
from testcluster.waiting import until

NAMESPACE = "k8s.io"  # where the kubelet's runtime interface keeps images and containers
PAUSE_IMAGE = "autohas.test/pause:1"
NAME = "containerd"
READY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Containerd:
    """A container runtime whose state lies in `directory`."""

    directory: Path

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return self.directory / "containerd.sock"

    @property
    def root(self) -> Path:
        """Images and snapshots; lasts."""
        return cache.root() / "containerd"

    @property
    def processes(self) -> Processes:
        """What runs, and its log."""
        return Processes(directory=self.directory)

    def start(self) -> None:
        """Start it; containers that an earlier run left in its database are gone when it returns."""
        self._configure()
        self._launch()
        if self.containers():
            self.remove_containers()
            # Its kubelet side learned of them when it started: only a new start forgets them.
            self.processes.end(NAME)
            self._launch()

    def stop(self) -> None:
        """Remove all containers, then end it."""
        if self.processes.is_alive(NAME):
            with contextlib.suppress(CommandFailedError):
                self.remove_containers()
        self.processes.end(NAME)

    def ctr(self, *arguments: str | Path, input: bytes | None = None, timeout_s: float = 900) -> str:  # noqa: A002
        """The runtime's own client; raises CommandFailedError."""
        return run(["ctr", "--address", self.socket, "--namespace", NAMESPACE, *arguments], input=input, timeout_s=timeout_s)

    def containers(self) -> list[str]:
        """Ids of all containers, running or not."""
        return self.ctr("containers", "list", "--quiet").split()

    def remove_containers(self) -> None:
        """Kill and delete every container with its snapshot."""
        for task in self.ctr("tasks", "list", "--quiet").split():
            with contextlib.suppress(CommandFailedError):  # one that ended meanwhile
                self.ctr("tasks", "delete", "--force", task)
        for container in self.containers():
            with contextlib.suppress(CommandFailedError):
                self.ctr("containers", "delete", container)
            network.forget(container)

    def _launch(self) -> None:
        self.processes.start(NAME, ["containerd", "--config", self._config])
        answers = ["ctr", "--address", str(self.socket), "version"]
        until(
            lambda: succeeds(answers),
            what="containerd answers",
            deadline_s=READY_S,
            context=lambda: self.processes.explain(NAME),
        )

    @property
    def _config(self) -> Path:
        return self.directory / "containerd.toml"

    def _configure(self) -> None:
        network.write_cni(self.directory / "cni", self.directory / "cni-addresses")
        self._config.write_text(
            CONFIG.format(
                root=json.dumps(str(self.root)),
                state=json.dumps(str(self.directory / "containerd")),
                socket=json.dumps(str(self.socket)),
                cni=json.dumps(str(self.directory / "cni")),
                pause=json.dumps(PAUSE_IMAGE),
            )
        )


# restrict_oom_score_adj: inside many sandboxes and virtual machines the score cannot be lowered, and runc then dies
# with "can't get final child's PID from pipe".
CONFIG = """\
version = 2
root = {root}
state = {state}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = {socket}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {pause}
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = {cni}

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"""

"""Taking a node off the machine, whatever state it is in.

The same steps serve an orderly stop and the start after everything was killed: each looks for what is there.
Touches only what is ours: recorded processes, shims of our socket, our control group, mounts under our directory,
our bridge, chains that were not there before. Needs root.
"""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

from testcluster import control_plane, network
from testcluster.commands import succeeds
from testcluster.containerd import NAME as CONTAINERD
from testcluster.containerd import Containerd
from testcluster.processes import Identity, Processes
from testcluster.waiting import until

RUN = Path("/var/lib/autohas-test-cluster")
CGROUP = "autohas-test-cluster"
GONE_S = 30.0


def prepare() -> None:
    """An empty RUN that remembers which packet filter chains were there before us."""
    RUN.mkdir(parents=True)
    _chains_file().write_text(json.dumps(sorted(network.chains())))


def clean() -> None:
    """Leave nothing of a node, running or crashed; RUN is gone when it returns."""
    if not RUN.exists():
        return
    processes = Processes(directory=RUN)
    # The kubelet first: it would start again what we end.
    others = [name for name in processes.names() if name != CONTAINERD]
    if others:
        processes.end(*others)
    # While the bridge is there: an API server that cannot reach itself takes 10 s to go.
    control_plane.end(Processes(directory=RUN / "control-plane"))
    Containerd(directory=RUN).stop()
    _kill_shims()
    _kill_cgroup()
    unmount_below(RUN)
    network.delete_chains(_chains_before())
    network.delete_bridge()
    _remove_cgroup()
    remove_tree(RUN)


def create_cgroup() -> None:
    """The control group that holds all pods, in every hierarchy."""
    for root in _cgroup_roots():
        with contextlib.suppress(OSError):  # a hierarchy that takes no groups holds no pods either
            (root / CGROUP).mkdir(exist_ok=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything under `folder`, the innermost first."""
    for point in reversed(mounts_below(folder)):
        succeeds(["umount", "--lazy", point])


def mounts_below(folder: Path) -> list[Path]:
    """Mount points under `folder`, in the order in which they were mounted."""
    # Field 5 is the mount point, with blanks and the like as octal escapes.
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    paths = [Path(point.encode().decode("unicode_escape")) for point in points]
    return [path for path in paths if path.is_relative_to(folder) and path != folder]


def remove_tree(folder: Path) -> None:
    """Delete `folder`; refuses while something is mounted there, for that would delete what is mounted."""
    mounted = mounts_below(folder)
    if mounted:
        message = f"not deleting {folder}: still mounted: {', '.join(map(str, mounted))}. Unmount these and try again."
        raise RuntimeError(message)
    shutil.rmtree(folder)


def _chains_file() -> Path:
    return RUN / "chains-before.json"


def _chains_before() -> frozenset[tuple[str, str]]:
    try:
        return frozenset((table, name) for table, name in json.loads(_chains_file().read_text()))
    except (OSError, ValueError):
        # Without the record we cannot tell ours from others': better leave some behind than break another cluster.
        return network.chains()


def _kill_shims() -> None:
    address = str(Containerd(directory=RUN).socket)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "containerd-shim" in words[0] and address in words:
            identity = Identity.of(int(process.name))
            if identity:
                identity.signal(signal.SIGKILL)


def _kill_cgroup() -> None:
    def is_empty() -> bool:
        pids = {int(pid) for root in _cgroup_roots() for pid in _members(root / CGROUP)}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    until(is_empty, what="processes of killed pods are gone", deadline_s=GONE_S)


def _members(group: Path) -> list[str]:
    pids: list[str] = []
    for file in group.rglob("cgroup.procs"):
        with contextlib.suppress(OSError):  # groups go while we look
            pids += file.read_text().split()
    return pids


def _remove_cgroup() -> None:
    for root in _cgroup_roots():
        top = root / CGROUP
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            top.rmdir()


def _cgroup_roots() -> list[Path]:
    base = Path("/sys/fs/cgroup")
    if (base / "cgroup.controllers").exists():
        return [base]
    return [path for path in base.iterdir() if path.is_dir() and not path.is_symlink()]

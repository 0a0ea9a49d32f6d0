"""Control planes for the time of one process, and clearing away those of processes that were killed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testcluster import cache, control_plane
from testcluster.control_plane import ControlPlane
from testcluster.processes import Identity, Processes, this_process

KEPT = 3  # folders of ended ones, for their logs


@contextmanager
def control_plane_of_this_process() -> Iterator[ControlPlane]:
    """A control plane in the cache's folder `control-planes`; its data goes with it, its logs stay a while."""
    shelf = cache.root() / "control-planes"
    shelf.mkdir(exist_ok=True)
    with cache.lock("control-planes"):
        sweep(shelf)
        owner = this_process()
        directory = shelf / f"{owner.pid}-{owner.started}"
        directory.mkdir()
    plane = ControlPlane.start(directory)
    try:
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(directory / "etcd", ignore_errors=True)


def sweep(shelf: Path) -> None:
    """End the control planes whose process is gone, and keep the folders of the last few."""
    dead = [directory for directory in shelf.iterdir() if not _owner(directory).is_alive()]
    for directory in dead:
        control_plane.end(Processes(directory=directory))
        shutil.rmtree(directory / "etcd", ignore_errors=True)
    for directory in sorted(dead, key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
        shutil.rmtree(directory)


def _owner(directory: Path) -> Identity:
    pid, started = directory.name.split("-")
    return Identity(pid=int(pid), started=int(started))

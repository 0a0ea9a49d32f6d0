"""A whole cluster on this machine, from nothing: the story that the other modules' steps make up.

Called by the fixtures, for the time of a test run, and by the command line, for as long as a person wants it.
There is one at a time, and its owner is a process, or None (left running).
"""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from testcluster import binaries, cache, images, leftovers, levels, loading, network, packages, pause, volumes
from testcluster.client import Tool
from testcluster.containerd import Containerd
from testcluster.control_plane import ControlPlane
from testcluster.node import NAME as NODE_NAME
from testcluster.node import RUN, Node
from testcluster.processes import Identity, Processes, this_process
from testcluster.steps import step

LAST_LOGS = "last-logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster as tests see it.

    `node` is None where there is none, or where the cluster was given and we know nothing of its nodes. With a
    given cluster (`is_given`), the tools that its owner has on PATH are used.
    """

    kubeconfig: Path
    url: str
    node: Node | None
    is_given: bool = False

    @classmethod
    def given(cls, kubeconfig: Path) -> Self:
        """The cluster that a kubeconfig's current context names; raises CommandFailedError if it names none."""
        cluster = cls(kubeconfig=kubeconfig, url="", node=None, is_given=True)
        view = cluster.kubectl.json("config", "view", "--minify")
        return replace(cluster, url=view["clusters"][0]["cluster"]["server"])

    @property
    def kubectl(self) -> Tool:
        """The client, as the administrator."""
        return Tool(executable=self._on_path("kubectl") or binaries.kubectl(), kubeconfig=self.kubeconfig)

    @property
    def helm(self) -> Tool:
        """Helm as the administrator."""
        return Tool(executable=self._on_path("helm") or binaries.helm(), kubeconfig=self.kubeconfig)

    def _on_path(self, name: str) -> Path | None:
        found = shutil.which(name) if self.is_given else None
        return Path(found) if found else None

    def local_volume(
        self,
        name: str,
        host_path: Path,
        *,
        namespace: str = "default",
        access_modes: tuple[str, ...] = volumes.READ_WRITE,
    ) -> None:
        """Make the folder `host_path` of this machine a volume and a claim, both `name`, in a namespace that exists.

        The folder is made if absent; fsGroup is obeyed. Raises RuntimeError on a cluster that is not ours.
        """
        if self.node is None:
            message = f"no local volume {name}: this cluster was not started here, its nodes do not see {host_path}"
            raise RuntimeError(message)
        host_path.mkdir(parents=True, exist_ok=True)
        volume = volumes.LocalVolume(name=name, host_path=host_path, node=self.node.name, namespace=namespace, access_modes=access_modes)
        self.kubectl.apply(*volume.objects())
        # A pod that comes before the binding is unschedulable for a moment, which is not what its test is about.
        self.kubectl("wait", "-n", namespace, f"pvc/{name}", "--for=jsonpath={.status.phase}=Bound", "--timeout=120s")

    def image_on_trainer(self, name: str, folder: Path) -> None:
        """Build the Dockerfile of `folder` on the trainer's image and give it to the node as `name`, a full name with registry and tag.

        Raises RuntimeError on a cluster that is not ours.
        """
        if self.node is None:
            message = f"no image {name}: this cluster was not started here; push the image to a registry that its nodes know"
            raise RuntimeError(message)
        loading.load(Containerd(directory=RUN), images.build_on_trainer(name, folder))


def start(owner: Identity | None, targets: tuple[str, ...] = images.TARGETS) -> Cluster:
    """Start a cluster that holds the images of `targets`; its `owner` is a process, or None for a cluster that is left running.

    Clears away what an owner that is gone left behind. Raises RuntimeError if one is running, CommandFailedError
    or TimeoutError with the words of what failed; nothing is left running then.
    """
    refuse_if_running()
    with step("Debian packages"):
        packages.install()
    with ThreadPoolExecutor() as pool:
        building = pool.submit(images.build, targets)  # network and disk, while programs need the processor
        with step("binaries"):
            prepare_binaries()
        layout = building.result()
    with cache.lock("node"):
        refuse_if_running()  # someone may have started one during the builds
        with step("clear what an earlier cluster left"):
            leftovers.clean()
        leftovers.prepare()
        _owner_file().write_text(json.dumps(asdict(owner) if owner else None))
    try:
        return _start(layout)
    except BaseException:
        stop()
        raise


def refuse_if_running() -> None:
    """Raise RuntimeError if a cluster runs whose owner is alive."""
    if is_running():
        message = (
            f"a cluster already runs on this machine (in {RUN}). End it with `make cluster-down`: the tests start one of their own. "
            f"(On the running one, {levels.KUBECONFIG_VARIABLE}={_kubeconfig()}, only tests run that need none of the node's files.)"
        )
        raise RuntimeError(message)


def refuse_if_owned() -> None:
    """Raise RuntimeError if a cluster runs that belongs to a living process other than this."""
    owner = _owner()
    if owner and owner.is_alive() and owner != this_process():
        message = f"the running cluster belongs to process {owner.pid}, probably a test run, which ends it when it ends"
        raise RuntimeError(message)


def is_running() -> bool:
    """Whether there is a cluster that someone still wants."""
    if not _owner_file().exists():
        return False
    owner = _owner()
    return owner.is_alive() if owner else Processes(directory=RUN).is_alive("kubelet")


def running() -> Cluster | None:
    """The running cluster, of any owner."""
    kubeconfig = _kubeconfig()
    if not is_running() or not kubeconfig.exists():
        return None
    url = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    plane = ControlPlane(directory=kubeconfig.parent, address=network.HOST, url=url, etcd_url="")
    return Cluster(kubeconfig=kubeconfig, url=url, node=Node(control_plane=plane, name=NODE_NAME))


def refresh_images() -> list[str]:
    """Build and load what changed since into the running cluster; returns names of images that are new."""
    return loading.load(Containerd(directory=RUN), images.build())


def stop() -> None:
    """End the cluster and leave nothing of it but the logs, in the cache's folder `last-logs`."""
    kept = cache.root() / LAST_LOGS
    for part in (RUN, RUN / "control-plane"):
        if (part / "logs").is_dir():
            if part == RUN:
                shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(part / "logs", kept, dirs_exist_ok=True)
    leftovers.clean()


def prepare_binaries() -> None:
    """Build every program that a cluster runs."""
    binaries.kubectl()
    binaries.pause()
    binaries.coredns()
    binaries.helm()


def _start(layout: images.Layout) -> Cluster:
    containerd = Containerd(directory=RUN)
    with step("network and control plane"):
        network.create_bridge()
        plane = ControlPlane.start(RUN / "control-plane", network.HOST)
    with step("container runtime"):
        containerd.start()
        pause.load(containerd)
    with step("images"):
        loading.load(containerd, layout)
    with step("node"):
        node = Node.start(plane)
    return Cluster(kubeconfig=plane.kubeconfig, url=plane.url, node=node)


def _kubeconfig() -> Path:
    return RUN / "control-plane" / "kubeconfig"


def _owner_file() -> Path:
    return RUN / "owner.json"


def _owner() -> Identity | None:
    try:
        fields = json.loads(_owner_file().read_text())
    except (OSError, ValueError):
        return None
    return Identity(**fields) if fields else None

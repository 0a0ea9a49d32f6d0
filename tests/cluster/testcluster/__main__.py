"""The command line of the test cluster: `python -m testcluster VERB`, behind `make cluster` and `make images`."""

import argparse
import logging
import shutil
import sys
from collections.abc import Callable

from testcluster import binaries, chart, cluster, images, levels, packages
from testcluster.commands import CommandFailedError
from testcluster.containerd import Containerd
from testcluster.node import RUN
from testcluster.processes import Processes


def up() -> None:
    """Leave a cluster running with the chart installed; again: bring images and chart up to date."""
    _refuse(levels.why_no_node())
    running = cluster.running()
    changed = cluster.refresh_images() if running else []
    running = running or cluster.start(None)
    reason = chart.why_not_installable()
    if reason:
        _say(f"\nNot installed: {reason}. The cluster is empty.")
    else:
        chart.install(running, restart=bool(changed))
    _say_how_to_use(running)


def down() -> None:
    """End that cluster, or what is left of one, and clean up."""
    cluster.refuse_if_owned()
    cluster.stop()
    _say("No cluster runs.")


def status() -> None:
    """Say what runs, and how to use it."""
    running = cluster.running()
    if running is None:
        _say("No cluster runs. `make cluster` starts one.")
        return
    for directory in (RUN / "control-plane", RUN):
        processes = Processes(directory=directory)
        for name in processes.names():
            _say(f"{name:24} {'runs' if processes.is_alive(name) else 'HAS ENDED'}  {processes.log(name)}")
    _say_how_to_use(running)


def prepare_in_process() -> None:
    """Build what the in-process tests need: helm, and an S3 server."""
    if not _is_left_out(binaries.why_not_buildable(), "helm and the S3 server"):
        binaries.helm()
        binaries.versitygw()


def prepare_control_plane() -> None:
    """Build what the control-plane tests need; start nothing."""
    if _is_left_out(levels.why_no_control_plane(), "control plane"):
        return
    if shutil.which("openssl") is None:
        packages.install()
    binaries.kubectl()
    binaries.helm()
    binaries.kubeconform()
    binaries.prometheus()
    binaries.prometheus_operator_crds()


def prepare_node() -> None:
    """Build what else the node tests need, the images first; start nothing."""
    if levels.given_kubeconfig():
        _say(f"No image is built: {levels.KUBECONFIG_VARIABLE} names a cluster.")
    elif not _is_left_out(levels.why_no_node(), "node"):
        build_images()
        cluster.prepare_binaries()


def build_images() -> None:
    """Build the images, start nothing."""
    _refuse(levels.why_no_node())
    packages.install()
    layout = images.build()
    for name, digest in layout.digests().items():
        _say(f"{name}@{digest}")
    _say(f"They lie in {layout.folder}; `skopeo copy oci:{layout.folder}:NAME docker://...` pushes one.")


VERBS: dict[str, Callable[[], None]] = {
    "up": up,
    "down": down,
    "status": status,
    "images": build_images,
    "prepare-in-process": prepare_in_process,
    "prepare-control-plane": prepare_control_plane,
    "prepare-node": prepare_node,
}


def main() -> int:
    """Exit code 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="testcluster", description="A real Kubernetes on this machine, for tests")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, function in VERBS.items():
        verbs.add_parser(name, help=function.__doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        VERBS[parser.parse_args().verb]()
    except (CommandFailedError, RuntimeError, TimeoutError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _is_left_out(reason: str | None, what: str) -> bool:
    if reason:
        _say(f"No {what} here: {reason}")
    return reason is not None


def _refuse(reason: str | None) -> None:
    if reason:
        raise RuntimeError(reason)


def _say_how_to_use(running: cluster.Cluster) -> None:
    _say(f"""
Use it:
  export KUBECONFIG={running.kubeconfig}
  export PATH={binaries.tools_folder()}:$PATH    # kubectl, helm
  kubectl get nodes
Logs: {RUN / "logs"} and {RUN / "control-plane" / "logs"}; container runtime: {Containerd(directory=RUN).socket}
End it:
  make cluster-down""")


if __name__ == "__main__":
    sys.exit(main())

"""pytest's way to the test cluster; the root conftest.py names this module in `pytest_plugins`.

`control_plane` is cheap and one per process; `node_cluster` is one per machine, so its tests run in one process.
Both give a Cluster, and both give the one that AUTOHAS_TEST_KUBECONFIG names, if it names one.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testcluster import binaries, cache, cluster, images, levels, solitary
from testcluster.cluster import Cluster
from testcluster.processes import this_process
from testcluster.s3 import S3Server

LOGS = pytest.StashKey[list[Path]]()
FIRST_IMPORT_S = 600
START_S = pytest.StashKey[float]()


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A control plane without a node: objects live, pods never run."""
    given = levels.given_kubeconfig()
    if given:
        yield Cluster.given(given)
        return
    reason = levels.why_no_control_plane()
    if reason:
        levels.leave_out(reason)
    with solitary.control_plane_of_this_process() as plane:
        _remember(request.config, plane.directory / "logs")
        yield Cluster(kubeconfig=plane.kubeconfig, url=plane.url, node=None)


@pytest.fixture(scope="session")
def node_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster whose one node runs pods and holds the project's images."""
    given = levels.given_kubeconfig()
    if given:
        yield Cluster.given(given)
        return
    reason = levels.why_no_node()
    if reason:
        levels.leave_out(reason)
    _remember(request.config, cache.root() / cluster.LAST_LOGS)
    start = time.monotonic()
    started = cluster.start(this_process())
    request.config.stash[START_S] = time.monotonic() - start
    try:
        _read_trainer_image(started)
        yield started
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on loopback."""
    reason = binaries.why_not_buildable()
    if reason:
        levels.leave_out(reason)
    server = S3Server.start(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


def pytest_terminal_summary(exitstatus: int, config: pytest.Config, terminalreporter: pytest.TerminalReporter) -> None:
    """Say how long the start took, and where the logs are when something failed."""
    if START_S in config.stash:
        terminalreporter.write_line(f"the test cluster with its node started in {config.stash[START_S]:.1f} s")
    if exitstatus:
        for logs in config.stash.get(LOGS, []):
            terminalreporter.write_line(f"logs of the test cluster: {logs}")


def _read_trainer_image(node: Cluster) -> None:
    """Import once what every trainer imports: from a cold disk that takes minutes, which no test is about."""
    imports = "import torch, sklearn, matplotlib, optuna"
    node.kubectl("run", "reader", f"--image={images.full_name('trainer')}", "--restart=Never", "--command", "--", "python", "-c", imports)
    ended = "--for=jsonpath={.status.phase}=Succeeded"
    node.kubectl("wait", ended, "pod/reader", f"--timeout={FIRST_IMPORT_S}s", timeout_s=FIRST_IMPORT_S + 30)
    node.kubectl("delete", "pod", "reader", "--wait=false")


def _remember(config: pytest.Config, logs: Path) -> None:
    config.stash.setdefault(LOGS, []).append(logs)

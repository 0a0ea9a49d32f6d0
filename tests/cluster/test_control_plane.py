"""The control plane of the test cluster: what the tests of that level take for granted."""

import secrets
from pathlib import Path

import pytest

from testcluster.cluster import Cluster
from testcluster.control_plane import ControlPlane

pytestmark = pytest.mark.control_plane


def test_objects_live_and_controllers_act(control_plane: Cluster) -> None:
    """A new namespace gets the service account that only a running controller manager makes."""
    name = f"alive-{secrets.token_hex(3)}"  # new: on a given cluster, the last run's may still be going
    control_plane.kubectl("create", "namespace", name)
    control_plane.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=30s")
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


def test_two_run_side_by_side(control_plane: Cluster, tmp_path: Path) -> None:
    """A second control plane has its own port and data, and ending it leaves the first alone."""
    second = ControlPlane.start(tmp_path)
    try:
        second.kubectl("create", "namespace", "only-here")
        assert second.url != control_plane.url
    finally:
        second.stop()
    assert "only-here" not in control_plane.kubectl("get", "namespaces", "-o", "name")
    assert second.processes.names() == ()


def test_api_server_comes_back(tmp_path: Path) -> None:
    """An API server that was killed starts again at the same address with the same data."""
    plane = ControlPlane.start(tmp_path)
    try:
        plane.kubectl("create", "namespace", "kept")
        plane.kill_api_server()
        plane.start_api_server()
        plane.wait_api_server()
        assert "namespace/kept" in plane.kubectl("get", "namespaces", "-o", "name")
    finally:
        plane.stop()

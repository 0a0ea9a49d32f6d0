"""Every document of every example is accepted by a real API server, as `kubectl apply` would send it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testcluster.cluster import Cluster

pytestmark = pytest.mark.control_plane
ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "examples").glob("*.yaml"), *(ROOT / "examples").glob("*/search.yaml")])


@pytest.fixture(scope="module", name="server")
def _server(control_plane: Cluster) -> Cluster:
    control_plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds" / "autohas.dev_autohassearches.yaml"))
    control_plane.kubectl("wait", "--for=condition=Established", "crd/autohassearches.autohas.dev", "--timeout=30s")
    return control_plane


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT / "examples").as_posix())
def test_an_example_is_stored(server: Cluster, file: Path) -> None:
    """Each object is created and read back; what is wrong in one fails the command."""
    printed = server.kubectl("apply", "--validate=strict", "-f", str(file))
    server.kubectl("delete", "--wait=false", "-f", str(file))

    assert sum(" created" in line for line in printed.splitlines()) == file.read_text().count("\nkind: ")
    assert "autohassearch.autohas.dev/" in printed

"""A release on a real API server, as docs/install.md describes it: install, upgrade, uninstall, install again, remove."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autohas_api.base.names import GROUP, PLURAL
from autohas_api.testing.rejections import a_search
from crd_fixtures import wait_until_served
from testcluster import levels
from testcluster.commands import CommandFailedError
from testcluster.control_plane import ControlPlane
from testcluster.waiting import until

pytestmark = pytest.mark.control_plane
CHART = Path(__file__).parents[2] / "charts" / "autohas"
CRD = f"{PLURAL}.{GROUP}"
NAMESPACE = ("--namespace", "autohas-system")


@pytest.fixture(name="plane")
def _plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """A control plane of this test alone: it deletes the CRD, with every search."""
    if reason := levels.why_no_control_plane():
        levels.leave_out(reason)
    plane = ControlPlane.start(tmp_path / "plane")
    try:
        yield plane
    finally:
        plane.stop()


def older_chart(folder: Path) -> Path:
    """A copy of the chart whose CRD does not know spec.monitoring yet."""
    chart = folder / "older"
    shutil.copytree(CHART, chart)
    crd = yaml.safe_load((chart / "files" / "crd.yaml").read_text())
    del spec_schema(crd)["monitoring"]
    (chart / "files" / "crd.yaml").write_text(json.dumps(crd))
    return chart


def spec_schema(crd: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return found


def apply_search(plane: ControlPlane) -> str:
    """A search, once the API server serves the kind; returns its uid."""
    wait_until_served(plane.kubectl, CRD)
    plane.kubectl("apply", "-f", "-", input=json.dumps(a_search("kept")))
    return uid_of_search(plane)


def uid_of_search(plane: ControlPlane) -> str:
    uid: str = plane.kubectl.json("get", CRD, "kept")["metadata"]["uid"]
    return uid


def test_an_upgrade_brings_the_crd_and_searches_survive_everything_but_its_deletion(plane: ControlPlane, tmp_path: Path) -> None:
    """`helm upgrade` renews the CRD; uninstalling keeps it and its searches; the same release takes it back; another needs a flag."""
    plane.helm("install", "autohas", older_chart(tmp_path), *NAMESPACE, "--create-namespace")
    uid = apply_search(plane)
    assert "monitoring" not in spec_schema(plane.kubectl.json("get", "crd", CRD))

    plane.helm("upgrade", "autohas", CHART, *NAMESPACE)
    assert "monitoring" in spec_schema(plane.kubectl.json("get", "crd", CRD))

    plane.helm("uninstall", "autohas", *NAMESPACE)
    assert plane.kubectl("get", "deployments", *NAMESPACE, "-o", "name") == ""
    assert uid_of_search(plane) == uid

    with pytest.raises(CommandFailedError, match="cannot be imported into the current release"):
        plane.helm("install", "other", CHART, *NAMESPACE)
    plane.helm("install", "autohas", CHART, *NAMESPACE)
    plane.helm("uninstall", "autohas", *NAMESPACE)
    plane.helm("install", "other", CHART, *NAMESPACE, "--take-ownership")
    assert uid_of_search(plane) == uid

    plane.helm("uninstall", "other", *NAMESPACE)
    plane.kubectl("delete", "crd", CRD, "--timeout=60s")
    assert plane.kubectl("get", "crd", "--ignore-not-found", CRD) == ""


def test_a_crd_of_somebody_else_is_left_alone(plane: ControlPlane) -> None:
    """crds.enabled=false: applied by kubectl beforehand, and neither changed nor deleted by the release."""
    plane.kubectl("apply", "--server-side", "-f", CHART / "files" / "crd.yaml")
    before = plane.kubectl.json("get", "crd", CRD)["metadata"]["uid"]
    plane.helm("install", "autohas", CHART, *NAMESPACE, "--create-namespace", "--set", "crds.enabled=false")
    uid = apply_search(plane)
    plane.helm("uninstall", "autohas", *NAMESPACE)

    assert plane.kubectl.json("get", "crd", CRD)["metadata"]["uid"] == before
    assert uid_of_search(plane) == uid


def test_handing_the_crd_over_keeps_it_unless_told_otherwise(plane: ControlPlane) -> None:
    """An upgrade to crds.enabled=false leaves a kept CRD; with crds.keep=false uninstalling takes every search with it."""
    plane.helm("install", "autohas", CHART, *NAMESPACE, "--create-namespace")
    uid = apply_search(plane)
    plane.helm("upgrade", "autohas", CHART, *NAMESPACE, "--set", "crds.enabled=false")
    assert uid_of_search(plane) == uid

    plane.helm("upgrade", "autohas", CHART, *NAMESPACE, "--take-ownership", "--set", "crds.keep=false")
    plane.helm("uninstall", "autohas", *NAMESPACE)
    until(lambda: not plane.kubectl("get", "crd", "--ignore-not-found", CRD), what="the CRD is gone", deadline_s=30)

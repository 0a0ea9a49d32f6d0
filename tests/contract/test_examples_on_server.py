"""Every document of every example is accepted by a real API server, as `kubectl apply` would send it."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autohas_api.accept.acceptance import accept
from autohas_api.base import yaml_file
from autohas_operator.manifests.job import Attempt, build_job
from autohas_operator.records.observed import search_record
from autohas_operator.testing.builders import PODS, SEARCH_UID
from crd_fixtures import install_crd
from testcluster.cluster import Cluster
from testcluster.commands import CommandFailedError

pytestmark = pytest.mark.control_plane
ROOT = Path(__file__).parents[2]
RESTRICTED = ROOT / "examples" / "09-restricted-namespace.yaml"
SUSPENDED = ("06-gpu-with-claim.yaml", "10-suspended-start.yaml")
GUIDE = (ROOT / "docs" / "guide.md").read_text().partition("### Putting data on a claim\n")[2].partition("\n## ")[0]
FILES = sorted([*(ROOT / "examples").glob("*.yaml"), *(ROOT / "examples").glob("*/search.yaml")])


@pytest.fixture(scope="module", name="server")
def _server(control_plane: Cluster) -> Cluster:
    install_crd(control_plane)
    return control_plane


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT / "examples").as_posix())
def test_an_example_is_stored(server: Cluster, file: Path) -> None:
    """Each object is created and read back; what is wrong in one fails the command."""
    printed = server.kubectl("apply", "--validate=strict", "-f", str(file))
    server.kubectl("delete", "--wait=false", "-f", str(file))

    assert sum(" created" in line for line in printed.splitlines()) == file.read_text().count("\nkind: ")
    assert "autohassearch.autohas.dev/" in printed


@pytest.fixture(scope="module", name="namespace")
def _namespace(server: Cluster) -> Iterator[str]:
    """A namespace with the labels of example 09, under a name of its own: the example's own namespace may still be terminating."""
    labelled = next(d for d in yaml.safe_load_all(RESTRICTED.read_text()) if d["kind"] == "Namespace")
    labelled["metadata"]["name"] = "admits-restricted"
    server.kubectl("create", "-f", "-", input=json.dumps(labelled))
    yield "admits-restricted"
    server.kubectl("delete", "namespace", "admits-restricted", "--wait=false")


def _pod(file: Path, namespace: str) -> dict[str, Any]:
    """The pod of the Job that the operator makes of an example's search, as the Job controller would create it."""
    search = yaml_file.read_search(file).value
    search["metadata"] |= {"namespace": namespace, "uid": SEARCH_UID, "resourceVersion": "1", "generation": 1}
    record = search_record(search)
    job = build_job(record, accept(json.loads(record.document))[0], Attempt(number=1, image="trainer:1"), PODS)
    template = job["spec"]["template"]
    metadata = {"name": "trainer", "namespace": namespace, "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _create(server: Cluster, document: dict[str, Any]) -> str:
    return server.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=json.dumps(document))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT / "examples").as_posix())
def test_the_trainer_of_every_example_is_admitted_as_restricted(server: Cluster, namespace: str, file: Path) -> None:
    """Whatever an example mounts or asks for, its pod keeps the restricted profile, as 09 says."""
    assert "pod/trainer created" in _create(server, _pod(file, namespace))


def test_the_restricted_namespace_refuses_other_pods(server: Cluster, namespace: str) -> None:
    """09: its labels are enforced: the trainer's pod without its security context is not admitted."""
    pod = copy.deepcopy(_pod(RESTRICTED, namespace))
    del pod["spec"]["containers"][0]["securityContext"]

    with pytest.raises(CommandFailedError, match='violates PodSecurity "restricted:latest"'):
        _create(server, pod)


@pytest.mark.parametrize("example", SUSPENDED)
def test_the_command_in_the_comment_starts_the_suspended_search(server: Cluster, example: str) -> None:
    """06 and 10: created it is suspended; after the one patch of its comment it is not."""
    file = ROOT / "examples" / example
    (command,) = re.findall(r"^# +(kubectl patch .*)$", file.read_text(), flags=re.MULTILINE)
    search = yaml_file.read_search(file).value
    name = search["metadata"]["name"]
    wanted = ("get", "ahs", name, "-o", "jsonpath={.spec.suspend}")
    server.kubectl("apply", "-f", "-", input=json.dumps(search))
    before = server.kubectl(*wanted)
    server.kubectl(*shlex.split(command)[1:])
    after = server.kubectl(*wanted)
    server.kubectl("delete", "ahs", name)

    assert (before, after) == ("true", "false")


def test_the_claims_and_the_loader_of_the_guide_are_admitted_as_restricted(server: Cluster, namespace: str) -> None:
    """Each object of "Putting data on a claim" is accepted in a restricted namespace; the pod mounts the claim of the same example."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    objects = [document for block in blocks for document in yaml.safe_load_all(block)]
    for document in objects:
        document["metadata"]["namespace"] = namespace
        assert " created" in _create(server, document)

    claims = {document["metadata"]["name"]: document for document in objects if document["kind"] == "PersistentVolumeClaim"}
    (pod,) = (document for document in objects if document["kind"] == "Pod")
    mounted = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"]]
    assert mounted == ["fashion-mnist"]
    assert set(mounted) < claims.keys() == {"fashion-mnist", "checkpoints"}

"""The CustomResourceDefinition on a real API server refuses what the models refuse, naming the same field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.testing.rejections import REJECTED_BY_RULE, REJECTED_BY_SCHEMA, UNACCEPTABLE, Rejection, a_search, with_change
from autohas_operator.manifests.job import Attempt, build_job
from autohas_operator.records.observed import search_record
from autohas_operator.testing.builders import PODS, SEARCH_UID
from autohas_operator.testing.trainer_fields import EVERY_TRAINER_FIELD, PLACEMENT
from crd_fixtures import install_crd
from testcluster.cluster import Cluster
from testcluster.commands import CommandFailedError

pytestmark = pytest.mark.control_plane
CRD = Path(__file__).parents[2] / "crds" / "autohas.dev_autohassearches.yaml"


@pytest.fixture(scope="module", name="server")
def _server(control_plane: Cluster) -> Cluster:
    install_crd(control_plane)
    return control_plane


def _create(server: Cluster, document: dict[str, Any], *flags: str) -> str:
    return server.kubectl("create", "--validate=strict", *flags, "-f", "-", "-o", "json", input=json.dumps(document))


def test_the_example_is_accepted_and_completed_with_defaults(server: Cluster) -> None:
    """A valid search is stored with every static default filled in."""
    stored = json.loads(_create(server, a_search(), "--dry-run=server"))

    assert stored["spec"]["task"]["recipe"]["momentum"] == "0.9"
    assert stored["spec"]["checkpoint"]["storage"] == {"emptyDir": {}}
    assert stored["spec"]["algorithm"]["name"] == "AutoHAS"


def test_a_job_with_every_wish_is_taken_by_the_server(server: Cluster) -> None:
    """Everything that a search can say about its pod is stored by the CRD and accepted by the Job's own validation."""
    stored = json.loads(_create(server, with_change(a_search(), "spec.trainer", EVERY_TRAINER_FIELD), "--dry-run=server"))
    stored["metadata"]["uid"] = SEARCH_UID
    record = search_record(stored)
    job = build_job(record, accept(json.loads(record.document))[0], Attempt(number=1, image="trainer:1"), PODS)
    taken = json.loads(_create(server, job, "--dry-run=server"))
    pod = taken["spec"]["template"]["spec"]

    assert {name: pod[name] for name in PLACEMENT} == PLACEMENT
    assert pod["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]


def test_a_name_that_is_too_long_is_refused_at_its_place(server: Cluster) -> None:
    """A rule of the whole object that points nowhere is printed as `<nil>`."""
    with pytest.raises(CommandFailedError) as caught:
        _create(server, with_change(a_search(), "metadata.name", "a" * 47), "--dry-run=server")

    assert "metadata.name: Invalid value" in str(caught.value)
    assert "at most 46 characters" in str(caught.value)
    assert "<nil>" not in str(caught.value)


@pytest.mark.parametrize("rejection", [*REJECTED_BY_SCHEMA, *REJECTED_BY_RULE], ids=str)
def test_the_server_refuses_what_the_models_refuse(server: Cluster, rejection: Rejection) -> None:
    """Each wrong value of the common table is refused on creation; field and words are those of the models."""
    with pytest.raises(CommandFailedError) as caught:
        _create(server, rejection.document(), "--dry-run=server")

    answer = str(caught.value).replace('\\"', '"')
    assert rejection.field in answer
    if rejection.words not in ("must be of type integer", "must be of type string"):
        assert rejection.words in answer


@pytest.mark.parametrize("rejection", UNACCEPTABLE, ids=str)
def test_what_the_schema_cannot_say_is_stored(server: Cluster, rejection: Rejection) -> None:
    """These pass the server; it is the operator that answers Accepted=False."""
    _create(server, rejection.document(), "--dry-run=server")


def test_the_spec_freezes_with_the_first_attempt(server: Cluster) -> None:
    """Before the first attempt a rejected search can be corrected; afterwards task, budget and the rest stay as they are."""
    _create(server, a_search("frozen"))
    corrected = with_change(a_search("frozen"), "spec.budget.trainings", "6")
    server.kubectl("apply", "-f", "-", input=json.dumps(corrected))
    stored = json.loads(server.kubectl("get", "ahs", "frozen", "-o", "json"))
    stored["status"] = {"attempt": 1}
    server.kubectl(
        "replace",
        "--raw",
        "/apis/autohas.dev/v1alpha1/namespaces/default/autohassearches/frozen/status",
        "-f",
        "-",
        input=json.dumps(stored),
    )

    for path, value in (
        ("spec.budget.trainings", "7"),
        ("spec.training.steps", 30),
        ("spec.task.recipe.momentum", "0.8"),
        ("spec.trainer.device", "CPU"),
        ("spec.checkpoint.periodSeconds", 60),
    ):
        with pytest.raises(CommandFailedError, match="must not change once the search has started"):
            server.kubectl("apply", "-f", "-", input=json.dumps(with_change(corrected, path, value)))
    server.kubectl("apply", "-f", "-", input=json.dumps(with_change(corrected, "spec.failurePolicy", {"backoffLimit": 3})))
    server.kubectl("delete", "ahs", "frozen")

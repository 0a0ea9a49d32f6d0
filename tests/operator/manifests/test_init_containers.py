"""Init containers and volumes that a driver, several objects or an image fill: what the pod has of them, and whose images are allowed.

`image` volumes are shown on a control plane only (tests/contract, tests/operator/control_plane): the test node's runtime cannot mount them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base.spec_errors import SpecError
from autohas_api.spec.trainer import ResourceRequirements
from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.status import ConditionType, Status
from autohas_operator.decide.actions import CreateAttempt
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import Plan, plan
from autohas_operator.testing.builders import NOW_S, PODS, observe, stored_search
from autohas_operator.testing.trainer_fields import EVERY_TRAINER_FIELD, VOLUMES
from autohas_operator.trainer_defaults import TrainerDefaults

OURS = replace(PODS, allowed_images=("registry.example/team",), csi_drivers=("secrets-store.csi.k8s.io",), service_accounts=("trainer",))


def decide_on(trainer: dict[str, Any]) -> Plan:
    return plan(observe(stored_search(trainer=trainer)), Status(), OURS, NOW_S)


def pod_of(trainer: dict[str, Any]) -> dict[str, Any]:
    decided = decide_on(trainer)
    assert isinstance(decided.action, CreateAttempt)
    spec: dict[str, Any] = decided.action.job["spec"]["template"]["spec"]
    return spec


def test_an_init_container_has_the_trainers_security_context_and_no_device() -> None:
    """Its limits are the trainer's without the GPU; the scratch volume is mounted, and its own variables win."""
    pod = pod_of(EVERY_TRAINER_FIELD)
    (fetch,), (trainer,) = pod["initContainers"], pod["containers"]

    assert fetch["securityContext"] == trainer["securityContext"]
    assert fetch["resources"] == {"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "500m"}}
    assert (fetch["image"], fetch["command"], fetch["args"]) == ("registry.example/team/fetch:1", ["fetch"], ["s3://bucket/data", "/data"])
    assert [mount["mountPath"] for mount in fetch["volumeMounts"]] == ["/scratch", "/data"]
    assert fetch["env"] == [{"name": "TMPDIR", "value": "/scratch"}, {"name": "HOME", "value": "/data"}]
    assert fetch["envFrom"] == [{"secretRef": {"name": "bucket"}}]


def test_an_init_container_without_an_image_runs_the_trainers() -> None:
    """A search without init containers has no such field."""
    pod = pod_of({"initContainers": [{"name": "fetch", "command": ["true"]}]})

    assert pod["initContainers"][0]["image"] == pod["containers"][0]["image"]
    assert "initContainers" not in pod_of({})


def test_every_kind_of_volume_is_in_the_pod_as_written() -> None:
    """After the operator's own."""
    assert pod_of(EVERY_TRAINER_FIELD)["volumes"][-len(VOLUMES) :] == VOLUMES


@pytest.mark.parametrize(
    ("trainer", "place"),
    [
        ({"initContainers": [{"name": "fetch", "image": "evil.example/x:1"}]}, "initContainers[0].image"),
        ({"volumes": [{"name": "v", "image": {"reference": "evil.example/x:1"}}]}, "volumes[0].image.reference"),
    ],
)
def test_the_list_of_allowed_images_holds_for_every_image_of_the_pod(trainer: dict[str, Any], place: str) -> None:
    """No Job is created, and the sentence names the field."""
    decided = decide_on(trainer)
    refusal = verdict_of(decided.status, ConditionType.ACCEPTED)

    assert decided.action is None
    assert refusal is not None
    assert (refusal.status, refusal.reason) == ("False", "ImageNotAllowed")
    assert refusal.message == (
        f'spec.trainer.{place}: "evil.example/x:1" must begin with an entry of the chart value trainer.allowedImages: registry.example/team'
    )


@pytest.mark.parametrize(("drivers", "listed"), [((), "none"), (("other.example",), "other.example")])
def test_only_listed_drivers_may_be_named(drivers: tuple[str, ...], listed: str) -> None:
    """No Job is created; an empty list allows no driver, and the sentence names the field."""
    search = stored_search(trainer={"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "csi": {"driver": "nfs.csi.k8s.io"}}]})
    decided = plan(observe(search), Status(), replace(PODS, csi_drivers=drivers), NOW_S)
    refusal = verdict_of(decided.status, ConditionType.ACCEPTED)

    assert decided.action is None
    assert refusal is not None
    assert (refusal.status, refusal.reason) == ("False", "CsiDriverNotAllowed")
    assert refusal.message == (
        'spec.trainer.volumes[1].csi.driver: "nfs.csi.k8s.io" must be one that the platform allows (chart value trainer.csiDrivers):'
        f" {listed}"
    )


@pytest.mark.parametrize(
    ("trainer", "defaults", "limit", "request_"),
    [
        ({}, {}, "20Gi", None),
        ({"scratchSize": "50Gi"}, {}, "50Gi", "50Gi"),
        ({"resources": {"limits": {"ephemeral-storage": "8Gi"}}}, {}, "8Gi", None),
        ({"scratchSize": "5Gi", "resources": {"limits": {"ephemeral-storage": "8Gi"}}}, {}, "5Gi", None),
        ({"scratchSize": "5Gi", "resources": {"requests": {"ephemeral-storage": "1Gi"}}}, {}, "5Gi", "1Gi"),
        ({}, {"scratch_size": "30Gi"}, "30Gi", "30Gi"),
    ],
)
def test_scratch_is_bounded_and_requested(trainer: dict[str, Any], defaults: dict[str, Any], limit: str, request_: str | None) -> None:
    """By its size, else by the limit of the pod's disk, else by the default; a size that is asked for is requested from the node."""
    pods = replace(PODS, defaults=TrainerDefaults(**defaults))
    action = plan(observe(stored_search(trainer=trainer)), Status(), pods, NOW_S).action
    assert isinstance(action, CreateAttempt)
    pod = action.job["spec"]["template"]["spec"]

    assert [v["emptyDir"] for v in pod["volumes"] if v["name"] == "autohas-scratch"] == [{"sizeLimit": limit}]
    assert pod["containers"][0]["resources"].get("requests", {}).get("ephemeral-storage") == request_


WORKERS = {"name": "image-folder", "path": "/d", "workers": 3}


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("spec.trainer", {"compute": {"threads": 3}}, "spec.trainer.compute.threads"),
        ("spec.task.data", WORKERS, "spec.task.data.workers"),
    ],
)
def test_the_platforms_resources_bound_what_a_search_asks_for(field: str, value: dict[str, Any], place: str) -> None:
    """As its own would at `autohas validate`; no Job is created."""
    defaults = TrainerDefaults(resources=ResourceRequirements(limits={"cpu": "2"}))
    search = with_change(stored_search(), field, value)
    decided = plan(observe(search), Status(), replace(PODS, defaults=defaults), NOW_S)
    refusal = verdict_of(decided.status, ConditionType.ACCEPTED)

    assert decided.action is None
    assert refusal is not None
    assert (refusal.status, refusal.reason) == ("False", "InvalidSpec")
    assert refusal.message == (
        f"{place}: 3 must be at most the CPU limit of the trainer, which is 2: lower {place.rpartition('.')[2]}, or raise the limit"
        " (with what the search leaves out from the chart value trainer.defaults)"
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"serviceAccountToken": {"path": "token"}}, "serviceAccountToken"),
        ({"secret": {"name": "s", "items": [{"key": "k", "path": "../x"}]}}, r"projected\.sources\[0\]\.secret\.items\[0\]\.path"),
        ({"downwardAPI": {"items": [{"path": "a/../x", "fieldRef": {"fieldPath": "metadata.name"}}]}}, r"downwardAPI\.items\[0\]\.path"),
    ],
)
def test_a_token_of_a_service_account_and_a_path_upwards_are_refused(source: dict[str, Any], words: str) -> None:
    """There is no field for a token, and the pattern of a path has no parts that begin with a point."""
    search = with_change(a_search(), "spec.trainer", {"volumes": [{"name": "v", "projected": {"sources": [source]}}]})

    with pytest.raises(SpecError, match=words):
        accept(search)

"""The children: names, owners, failure policy and a pod that the restricted profile admits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.base import names
from autohas_operator.manifests.job import Attempt, build_job
from autohas_operator.records.observed import child_name, search_record
from autohas_operator.settings import PodSettings
from autohas_operator.testing.builders import PODS, SEARCH_UID, stored_search
from autohas_operator.testing.trainer_fields import PLACEMENT, VARIABLES


def made(settings: PodSettings = PODS, **spec: Any) -> dict[str, Any]:
    record = search_record(stored_search(**spec))
    return build_job(record, accept(json.loads(record.document))[0], Attempt(number=3, image="trainer:1"), settings)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod_of(job)["containers"]
    return dict(container)


def environment_of(job: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container_of(job)["env"]}


def test_names_and_owner_are_those_of_the_contract() -> None:
    """`<name>-<uid8>-<attempt>`, labelled on Job and pods, owned without blocking."""
    job = made()
    labels = {
        "app.kubernetes.io/managed-by": "autohas-operator",
        names.LABEL_SEARCH: "fashion",
        names.LABEL_UID: SEARCH_UID,
        names.LABEL_ATTEMPT: "3",
    }

    assert job["metadata"]["name"] == "fashion-5ea4c400-3"
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"] == labels
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (names.KIND, SEARCH_UID, True, False)
    assert job["metadata"]["annotations"][names.ANNOTATION_SPEC_HASH].startswith("sha256:")


def test_the_longest_name_still_makes_a_dns_label() -> None:
    """46 characters and a three-digit attempt stay within 63."""
    assert len(child_name(search_record(stored_search("a" * names.MAX_NAME_LENGTH)), 999)) <= 63


def test_the_failure_policy_is_that_of_the_contract() -> None:
    """Fatal codes fail at once, disruptions and 75 are ignored, in this order; limits come from the spec."""
    spec = made(failurePolicy={"backoffLimit": 2})["spec"]
    fatal, disrupted, stopped = spec["podFailurePolicy"]["rules"]

    assert (fatal["action"], fatal["onExitCodes"]["values"]) == ("FailJob", [64, 65, 66, 70, 78])
    assert fatal["onExitCodes"]["containerName"] == "trainer"
    assert (disrupted["action"], disrupted["onPodConditions"]) == ("Ignore", [{"type": "DisruptionTarget", "status": "True"}])
    assert (stopped["action"], stopped["onExitCodes"]["values"]) == ("Ignore", [75])
    assert (spec["backoffLimit"], spec["podReplacementPolicy"], spec["completions"], spec["parallelism"]) == (2, "Failed", 1, 1)


def test_the_pod_passes_the_restricted_profile() -> None:
    """Non-root, no escalation, no capabilities, default seccomp, read-only root, no token, allowed volumes only."""
    pod, container = pod_of(made()), container_of(made())

    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 65532
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {"configMap", "persistentVolumeClaim", "emptyDir"}


def test_numeric_ids_are_left_to_the_cluster_where_it_assigns_them() -> None:
    """OpenShift: no runAsUser, no fsGroup, still non-root."""
    security = pod_of(made(replace(PODS, run_as_user=None, fs_group=None)))["securityContext"]

    assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_the_trainer_is_told_who_it_is_and_where_to_write() -> None:
    """Every variable of the contract, and writable directories for libraries that need a home."""
    environment = environment_of(made())

    assert environment[names.ENV_SEARCH_FILE] == "/etc/autohas/search.json"
    assert environment[names.ENV_SEARCH_UID] == SEARCH_UID
    assert environment[names.ENV_ATTEMPT] == "3"
    assert environment[names.ENV_WORKDIR] == f"/var/lib/autohas/ml/fashion/{SEARCH_UID}"
    assert environment[names.ENV_TERMINATION_LOG] == "/dev/termination-log"
    assert environment[names.ENV_PORT] == "9464"
    assert environment[names.ENV_POD_UID]["fieldRef"]["fieldPath"] == "metadata.uid"
    assert environment[names.ENV_CPU_LIMIT]["resourceFieldRef"]["resource"] == "limits.cpu"
    writable = ("HOME", "TMPDIR", "TRITON_CACHE_DIR", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR")
    assert all(environment[name].startswith("/scratch") for name in writable)


def test_the_end_of_a_trainer_can_be_read_and_its_stall_seen() -> None:
    """Message policy, grace, probes."""
    pod, container = pod_of(made()), container_of(made())

    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert pod["terminationGracePeriodSeconds"] == 120
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert container["startupProbe"]["httpGet"] == {"path": "/progress", "port": "metrics"}  # 503 until the data is there
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] == 1800
    assert "args" not in container
    assert "command" not in container


@pytest.mark.parametrize(("durable", "source"), [(True, "persistentVolumeClaim"), (False, "emptyDir")])
def test_checkpoints_lie_on_the_claim_or_on_the_pods_disk(durable: bool, source: str) -> None:  # noqa: FBT001 - a table
    """Same path either way."""
    volumes = {volume["name"]: volume for volume in pod_of(made(durable=durable))["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(made())["volumeMounts"]}

    assert source in volumes["autohas-checkpoint"]
    assert mounts["autohas-checkpoint"] == "/var/lib/autohas"


def test_what_the_user_asks_for_reaches_the_pod() -> None:
    """Resources, volumes, placement; a device brings shared memory."""
    wish: dict[str, Any] = {
        "resources": {"limits": {"nvidia.com/gpu": 1, "cpu": "2"}, "requests": {"cpu": "500m"}},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "mnist", "readOnly": True}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
    pod, container = pod_of(made(trainer=wish)), container_of(made(trainer=wish))

    assert container["resources"] == wish["resources"]
    assert wish["volumes"][0] in pod["volumes"]
    assert wish["volumeMounts"][0] in container["volumeMounts"]
    assert (pod["nodeSelector"], pod["tolerations"]) == (wish["nodeSelector"], wish["tolerations"])
    assert {"name": "autohas-shm", "emptyDir": {"medium": "Memory"}} in pod["volumes"]
    assert not any(volume["name"] == "autohas-shm" for volume in pod_of(made())["volumes"])


def test_placement_reaches_the_pod_under_kubernetes_own_names() -> None:
    """Every field of the pod is in its spec as written; no service account token is mounted."""
    pod = pod_of(made(trainer=PLACEMENT))

    assert {name: pod[name] for name in PLACEMENT} == PLACEMENT
    assert pod["automountServiceAccountToken"] is False


def test_variables_reach_the_container_and_ours_stay_ours() -> None:
    """The user's value replaces a default such as TMPDIR, but no variable of the contract (AUTOHAS_...)."""
    container = container_of(made(trainer=VARIABLES))
    variables = [entry["name"] for entry in container["env"]]

    assert container["env"][-4:] == VARIABLES["env"]
    assert container["envFrom"] == VARIABLES["envFrom"]
    assert len(variables) == len(set(variables))
    assert {names.ENV_SEARCH_UID, names.ENV_WORKDIR, names.ENV_POD_UID} <= set(variables)


def test_labels_and_annotations_are_the_pods_and_never_hide_ours() -> None:
    """They are on the pod template, not on the Job."""
    job = made(trainer={"labels": {"team": "vision"}, "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}})
    metadata = job["spec"]["template"]["metadata"]

    assert metadata["labels"] == {"team": "vision", **job["metadata"]["labels"]}
    assert metadata["annotations"] == {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def test_claimed_devices_and_shared_memory_are_the_trainers() -> None:
    """The only container gets all claims of the pod; /dev/shm has the requested size."""
    claims = [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}, {"name": "nic", "resourceClaimName": "shared"}]
    wish = {"resourceClaims": claims, "resources": {"limits": {"cpu": "2"}}, "shmSize": "8Gi"}
    job = made(trainer=wish)
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(job)["volumeMounts"]}

    assert pod_of(job)["resourceClaims"] == claims
    assert container_of(job)["resources"] == {"limits": {"cpu": "2"}, "claims": [{"name": "gpu"}, {"name": "nic"}]}
    assert {"name": "autohas-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}} in pod_of(job)["volumes"]
    assert mounts["autohas-shm"] == "/dev/shm"


def test_pull_secrets_and_policy_come_from_the_chart() -> None:
    """The platform decides them."""
    settings = replace(PODS, image_pull_secrets=("registry",), image_pull_policy="Always")

    assert pod_of(made(settings))["imagePullSecrets"] == [{"name": "registry"}]
    assert container_of(made(settings))["imagePullPolicy"] == "Always"
    both = made(settings, trainer={"imagePullSecrets": [{"name": "mine"}, {"name": "registry"}]})
    assert pod_of(both)["imagePullSecrets"] == [{"name": "registry"}, {"name": "mine"}]


def test_the_spec_hash_ignores_what_may_change() -> None:
    """The failure policy may be edited while a search runs; anything else is another search."""
    same = search_record(stored_search(failurePolicy={"backoffLimit": 1}))
    other = search_record(stored_search(algorithm={"seed": 1}))

    assert search_record(stored_search()).spec_hash == same.spec_hash != other.spec_hash


@pytest.mark.parametrize("path", ["/dev/shm", "/dev/shm/"])
def test_a_volume_of_the_users_at_dev_shm_takes_the_place_of_ours(path: str) -> None:
    """The usual recipe for PyTorch with a GPU: the pod mounts only the user's volume there."""
    wish = {
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}],
        "volumeMounts": [{"name": "shm", "mountPath": path}],
    }
    job = made(trainer=wish)

    assert [m["name"] for m in container_of(job)["volumeMounts"] if m["mountPath"].rstrip("/") == "/dev/shm"] == ["shm"]
    assert [v["name"] for v in pod_of(job)["volumes"]] == ["autohas-config", "autohas-checkpoint", "autohas-scratch", "shm"]


def test_nothing_in_a_pod_is_named_twice() -> None:
    """For any names of the user, the volumes, variables, ports and mount paths of the pod are distinct."""
    wish = {
        **VARIABLES,
        "volumes": [{"name": name, "emptyDir": {}} for name in ("scratch", "config", "tmp")],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in (("scratch", "/scratch-data"), ("tmp", "/tmp"))],
        "shmSize": "1Gi",
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    }
    job = made(trainer=wish)
    container = container_of(job)
    named = [
        [volume["name"] for volume in pod_of(job)["volumes"]],
        [entry["name"] for entry in container["env"]],
        [mount["mountPath"] for mount in container["volumeMounts"]],
        [port["containerPort"] for port in container["ports"]],
    ]

    assert [names for names in named if len(set(names)) < len(names)] == []

"""The trainer's pod template: restricted profile, no token, read-only root. Pure.

Only the fields of `spec.trainer` are copied from the search, one by one; the platform's defaults replace missing ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from autohas_api.base import names
from autohas_api.base.model import Model
from autohas_api.spec.search import Search
from autohas_api.spec.trainer import STORAGE, Trainer
from autohas_operator.settings import PodSettings
from autohas_operator.trainer_defaults import with_defaults

STARTUP_S: Final = 1800
"""Seconds for imports and data loading before the kubelet stops a trainer."""
STARTUP_PERIOD_S: Final = 10
LIVENESS_PERIOD_S: Final = 30
LIVENESS_FAILURES: Final = 3
PROBE_TIMEOUT_S: Final = 5
_SECURITY: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Of every container: with the pod's, the restricted Pod Security standard."""
_CONFIG, _CHECKPOINT, _SCRATCH, _SHM = "autohas-config", "autohas-checkpoint", "autohas-scratch", "autohas-shm"


def build_pod_spec(search: Search, *, name: str, attempt: int, image: str, settings: PodSettings) -> dict[str, Any]:
    """The spec of the Job's pods; `name` is the name of the ConfigMap."""
    search = with_defaults(search, settings.defaults)
    trainer = search.spec.trainer
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": trainer.termination_grace_period_seconds,
        "securityContext": _pod_security(settings),
        "containers": [_container(search, attempt, image, settings)],
        **_init_containers(trainer, image, settings),
        "volumes": [*_own_volumes(search, name), *_to_documents(trainer.volumes)],
        **_pod_options(trainer, settings),
    }


def _pod_options(trainer: Trainer, settings: PodSettings) -> dict[str, Any]:
    """Fields of the pod that `spec.trainer` sets, under their Kubernetes names."""
    secrets = dict.fromkeys((*settings.image_pull_secrets, *(secret.name for secret in trainer.image_pull_secrets or [])))
    options = {
        "nodeSelector": dict(trainer.node_selector or {}),
        "affinity": trainer.affinity.to_json() if trainer.affinity is not None else None,
        "tolerations": _to_documents(trainer.tolerations),
        "topologySpreadConstraints": _to_documents(trainer.topology_spread_constraints),
        "resourceClaims": _to_documents(trainer.resource_claims),
        "priorityClassName": trainer.priority_class_name,
        "schedulerName": trainer.scheduler_name,
        "runtimeClassName": trainer.runtime_class_name,
        "serviceAccountName": trainer.service_account_name,
        "imagePullSecrets": [{"name": secret} for secret in secrets],
    }
    return {key: value for key, value in options.items() if value}


def _to_documents(items: Sequence[Model] | None) -> list[dict[str, Any]]:
    return [item.to_json() for item in items or []]


def _container(search: Search, attempt: int, image: str, settings: PodSettings) -> dict[str, Any]:
    trainer = search.spec.trainer
    return {
        "name": names.TRAINER_CONTAINER,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": _environment(search, attempt),
        "envFrom": _to_documents(trainer.env_from),
        "ports": [{"name": names.TRAINER_PORT_NAME, "containerPort": search.spec.monitoring.metrics_port, "protocol": "TCP"}],
        "resources": _resources(trainer),
        "volumeMounts": [*_own_mounts(search), *_to_documents(trainer.volume_mounts)],
        "securityContext": _SECURITY,
        "startupProbe": _probe("/progress", STARTUP_PERIOD_S, STARTUP_S // STARTUP_PERIOD_S),
        "livenessProbe": _probe("/healthz", LIVENESS_PERIOD_S, LIVENESS_FAILURES),
        "terminationMessagePath": names.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _init_containers(trainer: Trainer, image: str, settings: PodSettings) -> dict[str, Any]:
    """The init containers with the trainer's security context and limits; the scratch volume is their home too. Nothing without any."""
    resources = trainer.resources.to_json() if trainer.resources is not None else {}
    folders = [{"name": name, "value": names.SCRATCH_DIRECTORY} for name in ("HOME", "TMPDIR")]
    containers = []
    for container in trainer.init_containers or []:
        given = {variable.name for variable in container.env or []}
        options = {"command": container.command, "args": container.args, "envFrom": _to_documents(container.env_from)}
        containers.append(
            {
                "name": container.name,
                "image": container.image or image,
                "imagePullPolicy": settings.image_pull_policy,
                "env": [*(entry for entry in folders if entry["name"] not in given), *_to_documents(container.env)],
                "resources": {side: _without_devices(amounts) for side, amounts in resources.items()},
                "volumeMounts": [{"name": _SCRATCH, "mountPath": names.SCRATCH_DIRECTORY}, *_to_documents(container.volume_mounts)],
                "securityContext": _SECURITY,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                **{key: value for key, value in options.items() if value},
            }
        )
    return {"initContainers": containers} if containers else {}


def _without_devices(amounts: dict[str, Any]) -> dict[str, Any]:
    return {name: amount for name, amount in amounts.items() if "/" not in name}


def _resources(trainer: Trainer) -> dict[str, Any]:
    """Requests and limits, with all resource claims of the pod, because the trainer is its only container that stays.

    A size of /scratch is requested from the node's disk, so that the scheduler chooses a node with room.
    """
    resources = trainer.resources.to_json() if trainer.resources is not None else {}
    if trainer.scratch_size is not None and STORAGE not in {**trainer.limits, **resources.get("requests", {})}:
        resources = {**resources, "requests": {**resources.get("requests", {}), STORAGE: trainer.scratch_size}}
    claims = [{"name": claim.name} for claim in trainer.resource_claims or []]
    return {**resources, "claims": claims} if claims else resources


def _probe(path: str, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.TRAINER_PORT_NAME},
        "periodSeconds": period_s,
        "timeoutSeconds": PROBE_TIMEOUT_S,
        "failureThreshold": failures,
    }


def _pod_security(settings: PodSettings) -> dict[str, Any]:
    """The pod's security context; numeric ids are left out where the cluster assigns its own (OpenShift)."""
    ids = {"runAsUser": settings.run_as_user, "runAsGroup": settings.run_as_user, "fsGroup": settings.fs_group}
    change = {"fsGroupChangePolicy": "OnRootMismatch"} if settings.fs_group is not None else {}
    return {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        **{key: value for key, value in ids.items() if value is not None},
        **change,
    }


def _environment(search: Search, attempt: int) -> list[dict[str, Any]]:
    identity = search.metadata
    plain = {
        names.ENV_SEARCH_FILE: f"{names.CONFIG_DIRECTORY}/{names.SEARCH_FILE}",
        names.ENV_SEARCH_UID: identity.uid,
        names.ENV_ATTEMPT: str(attempt),
        names.ENV_WORKDIR: f"{names.CHECKPOINT_DIRECTORY}/{identity.namespace}/{identity.name}/{identity.uid}",
        names.ENV_TERMINATION_LOG: names.TERMINATION_LOG,
        names.ENV_GPU: search.spec.trainer.requested_device,
        names.ENV_PORT: str(search.spec.monitoring.metrics_port),
        "HOME": names.SCRATCH_DIRECTORY,
        "TMPDIR": names.SCRATCH_DIRECTORY,
        "TRITON_CACHE_DIR": f"{names.SCRATCH_DIRECTORY}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{names.SCRATCH_DIRECTORY}/inductor",
        "MPLCONFIGDIR": f"{names.SCRATCH_DIRECTORY}/matplotlib",
    }
    variables = _to_documents(search.spec.trainer.env)
    taken = {entry["name"] for entry in variables}
    limit = {"containerName": names.TRAINER_CONTAINER, "resource": "limits.cpu", "divisor": "1"}
    return [
        *({"name": key, "value": value} for key, value in plain.items() if key not in taken),
        {"name": names.ENV_POD_UID, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}},
        {"name": names.ENV_CPU_LIMIT, "valueFrom": {"resourceFieldRef": limit}},
        *variables,
    ]


def _own_volumes(search: Search, config_map: str) -> list[dict[str, Any]]:
    claim = search.spec.checkpoint.storage.persistent_volume_claim
    source: dict[str, Any] = {"emptyDir": {}} if claim is None else {"persistentVolumeClaim": {"claimName": claim.claim_name}}
    size = search.spec.trainer.shm_size
    limit = {"sizeLimit": size} if size is not None else {}
    shared = [{"name": _SHM, "emptyDir": {"medium": "Memory", **limit}}] if _wants_shared_memory(search) else []
    return [
        {"name": _CONFIG, "configMap": {"name": config_map}},
        {"name": _CHECKPOINT, **source},
        {"name": _SCRATCH, "emptyDir": {"sizeLimit": search.spec.trainer.scratch_limit}},
        *shared,
    ]


def _own_mounts(search: Search) -> list[dict[str, Any]]:
    shared = [{"name": _SHM, "mountPath": names.SHM_DIRECTORY}] if _wants_shared_memory(search) else []
    return [
        {"name": _CONFIG, "mountPath": names.CONFIG_DIRECTORY, "readOnly": True},
        {"name": _CHECKPOINT, "mountPath": names.CHECKPOINT_DIRECTORY},
        {"name": _SCRATCH, "mountPath": names.SCRATCH_DIRECTORY},
        *shared,
    ]


def _wants_shared_memory(search: Search) -> bool:
    """Whether to mount /dev/shm: a size is set, or a device is requested, whose libraries need more than the default of 64 MiB.

    A volume of the search at that path takes precedence.
    """
    trainer = search.spec.trainer
    return not trainer.has_shared_memory and (trainer.shm_size is not None or bool(trainer.requested_device))

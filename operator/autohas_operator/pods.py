"""The trainer's pod template: restricted profile, no token, read-only root. Pure.

Nothing of the user's text is merged into it but what `spec.trainer` names field by field.
"""

from __future__ import annotations

from typing import Any, Final

from autohas_api import names
from autohas_api.search import Search
from autohas_operator.settings import PodSettings

GRACE_PERIOD_S: Final = 120
"""Time to finish a step and write a checkpoint after SIGTERM (Source: API section 1)."""
STARTUP_PERIOD_S: Final = 10
STARTUP_FAILURES: Final = 180
"""Half an hour for imports and for reading the data."""
LIVENESS_PERIOD_S: Final = 30
LIVENESS_FAILURES: Final = 3
PROBE_TIMEOUT_S: Final = 5
_CONFIG, _CHECKPOINT, _SCRATCH, _SHM = "autohas-config", "autohas-checkpoint", "autohas-scratch", "autohas-shm"


def pod_spec(search: Search, *, name: str, attempt: int, image: str, settings: PodSettings) -> dict[str, Any]:
    """The spec of the Job's pods; `name` is that of the ConfigMap."""
    trainer = search.spec.trainer
    volumes = [*_own_volumes(search, name), *(volume.to_json() for volume in trainer.volumes or [])]
    optional = {
        "nodeSelector": dict(trainer.node_selector) if trainer.node_selector else None,
        "tolerations": [toleration.to_json() for toleration in trainer.tolerations or []],
        "imagePullSecrets": [{"name": secret} for secret in settings.image_pull_secrets],
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_PERIOD_S,
        "securityContext": _pod_security(settings),
        "containers": [_container(search, attempt, image, settings)],
        "volumes": volumes,
        **{key: value for key, value in optional.items() if value},
    }


def _container(search: Search, attempt: int, image: str, settings: PodSettings) -> dict[str, Any]:
    trainer = search.spec.trainer
    return {
        "name": names.TRAINER_CONTAINER,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": _environment(search, attempt),
        "ports": [{"name": names.TRAINER_PORT_NAME, "containerPort": search.spec.monitoring.metrics_port, "protocol": "TCP"}],
        "resources": trainer.resources.to_json() if trainer.resources is not None else {},
        "volumeMounts": [*_own_mounts(search), *(mount.to_json() for mount in trainer.volume_mounts or [])],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe(STARTUP_PERIOD_S, STARTUP_FAILURES),
        "livenessProbe": _probe(LIVENESS_PERIOD_S, LIVENESS_FAILURES),
        "terminationMessagePath": names.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _probe(period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/healthz", "port": names.TRAINER_PORT_NAME},
        "periodSeconds": period_s,
        "timeoutSeconds": PROBE_TIMEOUT_S,
        "failureThreshold": failures,
    }


def _pod_security(settings: PodSettings) -> dict[str, Any]:
    """Numeric ids are left out where the cluster assigns its own (OpenShift)."""
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
        names.ENV_PORT: str(search.spec.monitoring.metrics_port),
        "HOME": names.SCRATCH_DIRECTORY,
        "TMPDIR": names.SCRATCH_DIRECTORY,
        "TRITON_CACHE_DIR": f"{names.SCRATCH_DIRECTORY}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{names.SCRATCH_DIRECTORY}/inductor",
        "MPLCONFIGDIR": f"{names.SCRATCH_DIRECTORY}/matplotlib",
    }
    limit = {"containerName": names.TRAINER_CONTAINER, "resource": "limits.cpu", "divisor": "1"}
    return [
        *({"name": key, "value": value} for key, value in plain.items()),
        {"name": names.ENV_POD_UID, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}},
        {"name": names.ENV_CPU_LIMIT, "valueFrom": {"resourceFieldRef": limit}},
    ]


def _own_volumes(search: Search, config_map: str) -> list[dict[str, Any]]:
    claim = search.spec.checkpoint.storage.persistent_volume_claim
    source: dict[str, Any] = {"emptyDir": {}} if claim is None else {"persistentVolumeClaim": {"claimName": claim.claim_name}}
    shared = [{"name": _SHM, "emptyDir": {"medium": "Memory"}}] if _has_devices(search) else []
    return [
        {"name": _CONFIG, "configMap": {"name": config_map}},
        {"name": _CHECKPOINT, **source},
        {"name": _SCRATCH, "emptyDir": {}},
        *shared,
    ]


def _own_mounts(search: Search) -> list[dict[str, Any]]:
    shared = [{"name": _SHM, "mountPath": "/dev/shm"}] if _has_devices(search) else []  # noqa: S108 - inside the pod
    return [
        {"name": _CONFIG, "mountPath": names.CONFIG_DIRECTORY, "readOnly": True},
        {"name": _CHECKPOINT, "mountPath": names.CHECKPOINT_DIRECTORY},
        {"name": _SCRATCH, "mountPath": names.SCRATCH_DIRECTORY},
        *shared,
    ]


def _has_devices(search: Search) -> bool:
    """Whether a device (nvidia.com/gpu, ...) is asked for: its libraries want more shared memory than the usual 64 MiB."""
    resources = search.spec.trainer.resources
    return resources is not None and any("/" in name for name in resources.limits or {})

"""Every field of `spec.trainer` that shapes the pod, for tests that compare it with the Job."""

from __future__ import annotations

from typing import Any, Final

_SELECTOR: Final[dict[str, Any]] = {
    "matchLabels": {"app": "x"},
    "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}],
}
_TERM: Final[dict[str, Any]] = {
    "topologyKey": "kubernetes.io/hostname",
    "labelSelector": _SELECTOR,
    "namespaces": ["ml"],
    "namespaceSelector": {},
}
_NODES: Final[dict[str, Any]] = {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["a100"]}]}
PLACEMENT: Final[dict[str, Any]] = {
    "nodeSelector": {"pool": "gpu"},
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_NODES]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference": _NODES}],
        },
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_TERM]},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": _TERM}]},
    },
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": _SELECTOR, "matchLabelKeys": ["x"]}
    ],
    "priorityClassName": "low",
    "schedulerName": "volcano",
    "runtimeClassName": "nvidia",
    "imagePullSecrets": [{"name": "mine"}],
    "serviceAccountName": "trainer",
    "terminationGracePeriodSeconds": 300,
}
"""The fields of the pod as a whole, as the pod's spec must have them."""
VARIABLES: Final[dict[str, Any]] = {
    "env": [
        {"name": "TMPDIR", "value": "/data/tmp"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token", "optional": True}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ],
    "envFrom": [{"prefix": "S3_", "secretRef": {"name": "bucket"}}, {"configMapRef": {"name": "common", "optional": True}}],
}
_CLAIM: Final[dict[str, Any]] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
VOLUMES: Final[list[dict[str, Any]]] = [
    {"name": "data", "persistentVolumeClaim": {"claimName": "mnist", "readOnly": True}},
    {"name": "driver", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True, "volumeAttributes": {"class": "keys"}}},
    {"name": "own", "ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"team": "vision"}}, "spec": _CLAIM}}},
    {"name": "mixed", "projected": {"sources": [{"secret": {"name": "keys"}}, {"configMap": {"name": "common"}}]}},
    {"name": "files", "image": {"reference": "registry.example/team/data:1", "pullPolicy": "IfNotPresent"}},
]
"""A volume of each kind that a driver, several objects or an image fill."""
EVERY_TRAINER_FIELD: Final[dict[str, Any]] = {
    **PLACEMENT,
    **VARIABLES,
    "labels": {"team": "vision"},
    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
    "shmSize": "8Gi",
    "resources": {"limits": {"nvidia.com/gpu": 1, "cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "500m"}},
    "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
    "volumes": VOLUMES,
    "initContainers": [
        {
            "name": "fetch",
            "image": "registry.example/team/fetch:1",
            "command": ["fetch"],
            "args": ["s3://bucket/data", "/data"],
            "env": [{"name": "HOME", "value": "/data"}],
            "envFrom": [{"secretRef": {"name": "bucket"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
    ],
    "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
}

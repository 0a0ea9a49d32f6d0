"""Searches that together have every field of the resource, and every way in which each field is commonly got wrong. For tests."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from autohas_api.testing.builders import a_search, own_training_search, with_change

__all__ = ["EVERY_FIELD", "Mutation", "mutations", "paths_of"]

Path = tuple[str | int, ...]

_SELECTOR: Final = {"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}
_NODES: Final = {
    "matchExpressions": [{"key": "gpu", "operator": "In", "values": ["a100"]}],
    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}],
}
_PODS: Final = {
    "topologyKey": "kubernetes.io/hostname",
    "labelSelector": _SELECTOR,
    "namespaceSelector": _SELECTOR,
    "namespaces": ["ml"],
    "matchLabelKeys": ["a"],
    "mismatchLabelKeys": ["b"],
}
_AROUND: Final = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_PODS],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": _PODS}],
}
_ITEMS: Final = {"items": [{"key": "a", "path": "b", "mode": 420}], "optional": True}
_FILES: Final = {**_ITEMS, "defaultMode": 420}
_MOUNT: Final = {"name": "claim", "mountPath": "/data", "subPath": "a", "readOnly": True}
_ENVIRONMENT: Final = {
    "env": [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
        {"name": "C", "valueFrom": {"resourceFieldRef": {"containerName": "trainer", "resource": "limits.cpu", "divisor": "1"}}},
        {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k", "optional": True}}},
        {"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
    ],
    "envFrom": [
        {"prefix": "S3_", "configMapRef": {"name": "m", "optional": True}},
        {"prefix": "T_", "secretRef": {"name": "s", "optional": True}},
    ],
}
_TRAINER: Final[dict[str, Any]] = {
    "image": "registry.example/team/trainer:1",
    "resources": {"limits": {"cpu": "2", "memory": 1024}, "requests": {"cpu": "500m"}},
    "device": "Auto",
    "determinism": "Relaxed",
    "compute": {"threads": 1, "channelsLast": True, "compile": "Default"},
    "volumes": [
        {"name": "claim", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
        {"name": "config", "configMap": {"name": "m", **_FILES}},
        {"name": "secret", "secret": {"secretName": "s", **_FILES}},
        {"name": "empty", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {
            "name": "driver",
            "csi": {
                "driver": "d.example",
                "fsType": "ext4",
                "readOnly": True,
                "volumeAttributes": {"a": "b"},
                "nodePublishSecretRef": {"name": "s"},
            },
        },
        {
            "name": "own",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                        "storageClassName": "fast",
                    },
                }
            },
        },
        {
            "name": "mixed",
            "projected": {
                "sources": [
                    {"configMap": {"name": "m", **_ITEMS}},
                    {"secret": {"name": "s", **_ITEMS}},
                    {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}]}},
                ],
                "defaultMode": 420,
            },
        },
        {"name": "files", "image": {"reference": "registry.example/data:1", "pullPolicy": "Always"}},
    ],
    "initContainers": [
        {
            "name": "fetch",
            "image": "registry.example/fetch:1",
            "command": ["a"],
            "args": ["b"],
            **_ENVIRONMENT,
            "volumeMounts": [_MOUNT],
        }
    ],
    "volumeMounts": [_MOUNT],
    "shmSize": "1Gi",
    "scratchSize": "8Gi",
    **_ENVIRONMENT,
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 1}],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": _SELECTOR,
            "matchLabelKeys": ["a"],
            "minDomains": 2,
            "nodeAffinityPolicy": "Honor",
            "nodeTaintsPolicy": "Ignore",
        }
    ],
    "resourceClaims": [{"name": "a", "resourceClaimName": "b"}, {"name": "c", "resourceClaimTemplateName": "d"}],
    "priorityClassName": "low",
    "schedulerName": "volcano",
    "runtimeClassName": "nvidia",
    "imagePullSecrets": [{"name": "mine"}],
    "serviceAccountName": "trainer",
    "labels": {"team": "vision"},
    "annotations": {"team": "vision"},
    "terminationGracePeriodSeconds": 300,
}
_NEAR: Final = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_NODES]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _NODES}],
    },
    "podAffinity": _AROUND,
}
_RECIPE: Final[dict[str, Any]] = {
    "batchSize": 32,
    "optimizer": "sgd",
    "learningRate": "0.1",
    "schedule": "Cosine",
    "warmupFraction": "0.05",
    "weightDecay": "1e-4",
    "momentum": "0.9",
    "dropout": "0.1",
    "labelSmoothing": "0.1",
    "mixup": "0.2",
    "classWeights": "Balanced",
    "decayNorms": True,
    "nesterov": True,
    "beta2": "0.99",
    "epsilon": "1e-6",
    "gradientClip": "1",
    "accumulate": 2,
    "ema": "0.999",
    "precision": "BFloat16",
    "scheduleFloor": "0.1",
    "decayFraction": "0.1",
    "stepFraction": "0.4",
    "stepFactor": "0.2",
}
_TABLE: Final[dict[str, Any]] = {
    "suspend": True,
    "task": {
        "data": {"name": "csv", "path": "/data/a.csv", "arguments": {"target": "label", "testFraction": "0.2"}},
        "model": {"template": "mlp-small"},
        "recipe": _RECIPE,
        "splits": {"reward": "0.1", "selection": "0.2", "stratify": True},
    },
    "objective": {
        "metric": "accuracy",
        "direction": "Maximize",
        "goal": "0.9",
        "cost": {"metric": "parameters", "target": "5000", "weight": "-0.1", "form": "Soft"},
    },
    "searchSpace": {
        "hyperparameters": [
            {
                "name": "learning_rate",
                "continuous": {"min": "0.03", "max": "3", "scale": "Log", "numBases": 4},
                "default": "0.1",
                "rateFactors": {"sgd": "1", "rmsprop": "0.01", "adam": "0.01", "adamw": "0.01"},
            },
            {"name": "optimizer", "categorical": {"choices": ["sgd", "rmsprop", "adam", "adamw"]}},
            {"name": "schedule", "categorical": {"choices": ["Cosine", "WSD", "Step"]}},
            {
                "name": "batch_size",
                "integer": {"min": 8, "max": 64, "step": 2, "scale": "Log"},
                "when": {"decision": "optimizer", "values": ["sgd"]},
            },
        ],
        "architecture": {
            "decisions": [
                {"name": "depth", "choices": ["1", "2"], "default": "1"},
                {"name": "activation", "when": {"decision": "depth", "values": ["2"]}},
            ]
        },
        "initialPoints": [{"values": {"learning_rate": "0.2", "optimizer": "adam"}}],
    },
    "algorithm": {"name": "AutoHAS", "seed": 3, "autoHAS": {"strategy": "Lanes", "policyLearningRate": "0.1", "warmupFraction": "0.25"}},
    "budget": {
        "trainings": "20",
        "maxActiveSeconds": 3600,
        "startDeadlineSeconds": 600,
        "earlyStopping": {"plateauSteps": 9, "minDelta": "0.01", "normalizedEntropyBelow": "0.1"},
    },
    "training": {"steps": 270, "seeds": 2},
    "checkpoint": {"periodSeconds": 60, "keepLast": 3, "storage": {"persistentVolumeClaim": {"claimName": "ck"}}},
    "failurePolicy": {"backoffLimit": 3, "maxInterruptions": 9, "stallTimeoutSeconds": 900},
    "cleanup": {"ttlSecondsAfterFinished": 60},
    "monitoring": {"metricsPort": 9465, "perChoiceLimit": 10, "profileSteps": 20},
}
_ONLY_RATE: Final = {
    "name": "learning_rate",
    "continuous": {"min": "0.03", "max": "3", "mixing": "TopK", "topK": 2, "derive": "Expectation"},
}


def _propose(algorithm: dict[str, Any]) -> dict[str, Any]:
    """A search by a multi-trial algorithm that learns, with enough trainings for it."""
    return with_change(with_change(a_search(), "spec.algorithm", algorithm), "spec.budget.trainings", "30")


def _learn(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """A search whose hyperparameters a controller learns."""
    document = with_change(a_search(), "spec.searchSpace.hyperparameters", [_ONLY_RATE])
    return with_change(document, "spec.algorithm", {"name": "AutoHAS", "autoHAS": knobs})


_OWN: Final = {
    "data": {"entrypoint": "a.b:C"},
    "model": {"entrypoint": "a.b:D", "arguments": {"width": "3"}, "pretrained": {"path": "/data/a.safetensors", "exclude": ["head"]}},
}
_IMAGES: Final = {
    "name": "image-folder",
    "path": "/data/a",
    "arguments": {"size": "32"},
    "loading": "Files",
    "workers": 2,
    "augmentation": {
        "randomResizedCrop": {"minScale": "0.25"},
        "horizontalFlip": "0.5",
        "randAugment": {"operations": 2, "magnitude": 9},
        "cutMix": "1",
    },
    "trainTransform": "a.b:transform",
}
_DOCUMENTS: Final = (
    {**a_search(), "spec": _TABLE},
    with_change(a_search(), "spec.trainer", _TRAINER),
    with_change(a_search(), "spec.trainer.affinity", _NEAR),
    with_change(a_search(), "spec.trainer.affinity.podAntiAffinity", _AROUND),
    _learn({"strategy": "OneStep", "sharedUpdate": "Sampled", "temporaryBatch": "Own"}),
    _learn({"strategy": "Paired", "pairedSamples": 4, "hyperparameterWindow": {"from": "0.1", "to": "0.3"}, "result": "Race"}),
    _learn({"strategy": "OneStep", "preset": "Published"}),
    with_change(a_search(), "spec.training", {"epochs": "12.5"}),
    with_change(a_search(), "spec.budget", {"trainings": "6", "for": "Model"}),
    with_change(
        with_change(a_search(), "spec.algorithm", {"name": "Hyperband"}), "spec.budget", {"trainings": "6", "rungs": {"eta": 2, "count": 4}}
    ),
    _propose({"name": "TPE", "tpe": {"startupTrials": 5, "halving": True, "parallelTrials": 2}}),
    _propose({"name": "BOHB", "bohb": {"parallelTrials": 4}}),
    _propose(
        {"name": "RegularizedEvolution", "regularizedEvolution": {"population": 10, "sample": 2, "aging": False, "parallelTrials": 1}}
    ),
    with_change(
        {**a_search(), "spec": {**a_search()["spec"], "searchSpace": {"architecture": {}}}},
        "spec.algorithm",
        {"name": "RandomSharing", "randomSharing": {"numSamples": 20}},
    ),
    with_change(with_change(a_search(), "spec.task", _OWN), "spec.checkpoint", {"storage": {"emptyDir": {}}}),
    with_change(
        a_search(), "spec.task", {"data": _IMAGES, "model": {"template": "resnet"}, "recipe": {"weightByClass": {"cat": "2", "dog": "0.5"}}}
    ),
    with_change(a_search(), "spec.objective", {"customMetric": {"entrypoint": "a.b:cost", "direction": "Minimize", "targets": "Classes"}}),
    own_training_search(),
    with_change(a_search(), "spec.algorithm.compare", {"seeds": 3}),
)
EVERY_FIELD: Final[tuple[dict[str, Any], ...]] = tuple(json.loads(json.dumps(document)) for document in _DOCUMENTS)
"""Valid for schema and rules, no part shared with another. A field that one has is left out of another where the two exclude each other."""

_OTHERS: Final[tuple[Any, ...]] = (None, True, 7, -1, 10**20, 0.5, "", "x", "7", "0.5", "yes", "é" * 40, " ", [], ["x"], {}, {"x": "y"})
"""A value of every JSON type, and texts of every kind that a field may want."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A document with one thing changed; `name` says what."""

    name: str
    document: dict[str, Any]


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:  # noqa: ANN401 - any JSON value
    """Every place in a document below its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths_of(item, (*path, key))


def mutations(document: dict[str, Any]) -> Iterator[Mutation]:
    """Each field under other names, with values of other types, at other levels, without a value, or twice."""
    for path in paths_of(document["spec"], ("spec",)):
        yield from _retype(document, path)
        if isinstance(path[-1], str):
            yield from _rename_key(document, path)
            yield from _move(document, path)
        else:
            yield _edit(document, path, f"repeat {_format_path(path)}", lambda holder, key: holder.insert(key, copy.deepcopy(holder[key])))


def _retype(document: dict[str, Any], path: Path) -> Iterator[Mutation]:
    yield _edit(document, path, f"remove {_format_path(path)}", lambda holder, key: holder.pop(key))
    for other in _OTHERS:
        yield _edit(
            document, path, f"{_format_path(path)}={other!r}", lambda holder, key, other=other: _set(holder, key, copy.deepcopy(other))
        )


def _set(holder: Any, key: Any, value: Any) -> None:  # noqa: ANN401 - any JSON value
    holder[key] = value


def _rename_key(document: dict[str, Any], path: Path) -> Iterator[Mutation]:
    name = str(path[-1])
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for other in dict.fromkeys((snake, snake.replace("_", "-"), name.lower(), name[:1].upper() + name[1:], f"{name}s", f" {name}")):
        if other != name:
            yield _edit(document, path, f"{_format_path(path)} as {other!r}", lambda holder, key, other=other: _rename(holder, key, other))


def _rename(holder: dict[str, Any], key: str, other: str) -> None:
    holder[other] = holder.pop(key)


def _move(document: dict[str, Any], path: Path) -> Iterator[Mutation]:
    """One level up, and into each object next to it."""
    name, *_ = path[-1:]
    if len(path) > 2 and isinstance(path[-2], str):  # noqa: PLR2004 - below the spec itself
        result = copy.deepcopy(document)
        holder = _at(result, path[:-1])
        _at(result, path[:-2]).setdefault(name, holder.pop(name))
        yield Mutation(name=f"{_format_path(path)} one level up", document=result)
    for sibling, value in _at(document, path[:-1]).items():
        if isinstance(value, dict) and sibling != name:
            result = copy.deepcopy(document)
            holder = _at(result, path[:-1])
            holder[sibling].setdefault(name, holder.pop(name))
            yield Mutation(name=f"{_format_path(path)} inside {sibling}", document=result)


def _edit(document: dict[str, Any], path: Path, name: str, edit: Any) -> Mutation:  # noqa: ANN401 - a function of holder and key
    result = copy.deepcopy(document)
    edit(_at(result, path[:-1]), path[-1])
    return Mutation(name=name, document=result)


def _at(document: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON value
    for part in path:
        document = document[part]
    return document


def _format_path(path: Path) -> str:
    return ".".join(map(str, path))

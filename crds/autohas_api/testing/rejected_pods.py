"""What a search must not say about its pod, by kind: rows of the tables in `autohas_api.testing.rejections`."""

from __future__ import annotations

from typing import Any, Final

from autohas_api.testing.builders import Rejection

__all__ = ["ACCEPTED_PATHS", "POD_REJECTED_BY_RULE", "POD_REJECTED_BY_SCHEMA", "POD_UNACCEPTABLE"]

_TRAINER: Final = "spec.trainer"
_TERM: Final = f"{_TRAINER}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
_INIT: Final = {"name": "fetch", "command": ["fetch"]}
_FETCH_MOUNTS: Final = f"{_TRAINER}.initContainers[0].volumeMounts"
_SPREAD: Final = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
_FILE: Final = {"key": "k", "path": "x"}
_FIELD: Final = {"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}
_CLAIM_TEMPLATE: Final = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
_DATA: Final[dict[str, Any]] = {"name": "data", "emptyDir": {}}


def _mount(*mounts: dict[str, Any]) -> dict[str, Any]:
    return {"volumes": [_DATA], "volumeMounts": [{"name": "data", **mount} for mount in mounts]}


def _claim_template(**spec: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of a claim
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def _projected(*sources: dict[str, Any]) -> dict[str, Any]:
    return {"name": "mixed", "projected": {"sources": list(sources)}}


def _fetch(*mounts: dict[str, Any]) -> dict[str, Any]:
    return {"volumes": [_DATA], "initContainers": [{**_INIT, "volumeMounts": [{"name": "data", **mount} for mount in mounts]}]}


def _trainer(field: str, value: object, words: str, inside: str = "") -> Rejection:
    return Rejection(path=f"{_TRAINER}.{field}", value=value, field=f"{_TRAINER}.{field}{inside}", words=words)


def _of_both(amounts: dict[str, str]) -> dict[str, Any]:
    """Equal limits and requests."""
    return {"limits": amounts, "requests": amounts}


ACCEPTED_PATHS: Final = ("/scratch-data", "/data/", "/etc/autohas-data", "/dev/shm", "/opt/data", "/usr/share/x", "/tmp", "/devices")  # noqa: S108
"""Paths that look like the operator's and are not."""
_TAKEN_PATHS: Final = (
    *("/", "/etc", "/etc/", "/etc/autohas", "/etc/autohas/x", "/var/lib", "/var/lib/autohas/", "/scratch", "/scratch/x"),
    *("/dev", "/dev/", "/dev/sda", "/dev/shm/x", "/proc", "/proc/self", "/sys/fs", "/usr", "/bin", "/opt/venv/lib"),  # noqa: S108
)
_UNPLAIN_PATHS: Final = ("//etc/autohas", "/data//x", "/data/../etc/autohas", "/./etc", "/data/.", "/..")
_FOREIGN_LABELS: Final = (
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/controller-uid",
    "kubernetes.io/hostname",
    "node.k8s.io/x",
    "x.autohas.dev/y",
    "controller-uid",
    "job-name",
    "kueue.x-k8s.io/queue-name",
)
_FOREIGN_ANNOTATIONS: Final = (
    "autohas.dev/spec-hash",
    "batch.kubernetes.io/job-completion-index",
    "kubernetes.io/config.mirror",
    "container.apparmor.security.beta.kubernetes.io/trainer",
)
_BAD_KEYS: Final = ("bad key!", "-a", "a" * 64, "A.example/x", "a/b/c", "/a", "", "größe")

POD_REJECTED_BY_SCHEMA: Final = (
    *(_trainer("env", [{"name": name, "value": "1"}], "should match", "[0].name") for name in ("..", ".", "..A", "A=B", "1A")),
    _trainer("envFrom", [{"prefix": "1A", "configMapRef": {"name": "m"}}], "should match", "[0].prefix"),
    _trainer("env", [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}], "match", "[0].valueFrom.fieldRef.fieldPath"),
    _trainer(
        "env", [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "cpu"}}}], "match", "[0].valueFrom.resourceFieldRef.resource"
    ),
    *(_trainer("nodeSelector", {"a": value}, "should match", ".a") for value in ("b c", "-", "ü")),
    _trainer("labels", {"a": "b c"}, "should match", ".a"),
    _trainer("tolerations", [{"key": "a b", "operator": "Exists"}], "should match", "[0].key"),
    _trainer("topologySpreadConstraints", [{**_SPREAD, "topologyKey": "a b"}], "should match", "[0].topologyKey"),
    Rejection(
        path=_TERM,
        value={"nodeSelectorTerms": [{"matchFields": [{"key": "a", "operator": "In", "values": ["b"]}]}]},
        field=f"{_TERM}.nodeSelectorTerms[0].matchFields[0].key",
        words='"metadata.name"',
    ),
    *(_trainer("priorityClassName", name, "should match") for name in ("a..b", "a.-b")),
    _trainer("resources", {"limits": {"cpu": "-1"}}, "should match", ".limits.cpu"),
    _trainer("scratchSize", "-1Gi", "should match"),
    *(_trainer("volumes", [{"name": "a", "csi": {"driver": name}}], "should match", "[0].csi.driver") for name in ("a_b", "a..b", ".a")),
    *(
        _trainer(
            "volumes",
            [_projected({"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": name}}]}})],
            "should match",
            "[0].projected.sources[0].downwardAPI.items[0].fieldRef.fieldPath",
        )
        for name in ("status.podIP", "spec.nodeName", "metadata.labels")
    ),
    _trainer(
        "volumes",
        [_projected({"downwardAPI": {"items": []}})],
        "should have at least 1 items",
        "[0].projected.sources[0].downwardAPI.items",
    ),
    _trainer("resources", {"limits": {"cpu": -1}}, "greater than or equal to 0", ".limits.cpu"),
    _trainer(
        "volumes",
        [{"name": "a", "configMap": {"name": "m", "items": [{"key": "a", "path": "/x"}]}}],
        "match",
        "[0].configMap.items[0].path",
    ),
)
"""Refused by the schema itself."""

POD_REJECTED_BY_RULE: Final = (
    _trainer("volumes", [{**_DATA, "name": "autohas-data"}], "names that start with autohas- are the operator's", "[0].name"),
    _trainer(
        "volumes",
        [_claim_template(accessModes=["ReadWriteOnce", "ReadWriteOncePod"])],
        "ReadWriteOncePod must be the only access mode",
        "[0].ephemeral.volumeClaimTemplate.spec.accessModes",
    ),
    _trainer(
        "volumes",
        [{"name": "own", "ephemeral": {"volumeClaimTemplate": {**_CLAIM_TEMPLATE, "metadata": {"labels": {"a b": "x"}}}}}],
        "each key must be a name of at most 63",
        "[0].ephemeral.volumeClaimTemplate.metadata.labels",
    ),
    *(
        _trainer("volumes", [{"name": "a", "image": {"reference": image}}], "reference must be a reference such as", "[0].image.reference")
        for image in ("My Image", "a:b:c")
    ),
    _trainer("initContainers", [{"name": "fetch", "image": "My Image"}], "image must be a reference such as", "[0].image"),
    *(
        _trainer("initContainers", [{"name": "fetch", **rest}], "command must be given without an image of its own", "[0].command")
        for rest in ({}, {"args": ["--help"]})
    ),
    _trainer("resources", _of_both({"nvidia.com/gpu": "2"}), "must be 1: one search uses one GPU", ".requests"),
    _trainer("resources", _of_both({"example.com/fpga": "500m"}), "must be a whole number", ".requests"),
    _trainer("resources.requests", {"gpus": "1"}, "each name must be cpu, memory"),
    Rejection(
        path=f"{_TRAINER}.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        value=[{"topologyKey": "zone", "mismatchLabelKeys": ["a"]}],
        field=f"{_TRAINER}.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].mismatchLabelKeys",
        words="mismatchLabelKeys must not be given without labelSelector",
    ),
    *(
        Rejection(path=_TRAINER, value=_mount({"mountPath": p}), field=f"{_TRAINER}.volumeMounts[0].mountPath", words="or the image's own")
        for p in _TAKEN_PATHS
    ),
    *(
        Rejection(path=_TRAINER, value=_fetch({"mountPath": p}), field=f"{_FETCH_MOUNTS}[0].mountPath", words=words)
        for paths, words in ((_TAKEN_PATHS, "or the image's own"), (_UNPLAIN_PATHS, "a plain absolute path"))
        for p in paths
    ),
    Rejection(
        path=_TRAINER,
        value=_fetch({"mountPath": "/data"}, {"mountPath": "/data/"}),
        field=_FETCH_MOUNTS,
        words="each mountPath must be given once",
    ),
    *(
        Rejection(
            path=_TRAINER, value=_mount({"mountPath": p}), field=f"{_TRAINER}.volumeMounts[0].mountPath", words="a plain absolute path"
        )
        for p in _UNPLAIN_PATHS
    ),
    *(
        Rejection(
            path=_TRAINER,
            value=_mount({"mountPath": "/data", "subPath": p}),
            field=f"{_TRAINER}.volumeMounts[0].subPath",
            words="subPath must be relative",
        )
        for p in ("../..", "..", "a/../b", "/a")
    ),
    Rejection(
        path=_TRAINER,
        value=_mount({"mountPath": "/data"}, {"mountPath": "/data/"}),
        field=f"{_TRAINER}.volumeMounts",
        words="each mountPath must be given once",
    ),
    Rejection(
        path=_TRAINER,
        value={**_mount({"mountPath": "/dev/shm"}), "shmSize": "1Gi"},  # noqa: S108 - inside the pod
        field=f"{_TRAINER}.shmSize",
        words="must not be given with a volume of your own at /dev/shm",
    ),
    _trainer(
        "volumes",
        [{"name": "a", "configMap": {"name": "m", "items": [{"key": "a", "path": "a/../../b"}]}}],
        "must not begin with ..",
        "[0].configMap.items[0].path",
    ),
    *(_trainer("labels", {key: "x"}, "each key must be a name of at most 63") for key in _BAD_KEYS),
    *(_trainer("nodeSelector", {key: "x"}, "each key must be a name of at most 63") for key in _BAD_KEYS),
    *(_trainer("annotations", {key: "x"}, "each key must be a name of at most 63") for key in _BAD_KEYS if key != "A.example/x"),
    *(_trainer("labels", {key: "x"}, "are the operator's and Kubernetes' own") for key in _FOREIGN_LABELS),
    _trainer("labels", {"app.kubernetes.io/managed-by": "me"}, "is the operator's"),
    *(_trainer("annotations", {key: "x"}, "are the operator's and Kubernetes' own") for key in _FOREIGN_ANNOTATIONS),
    _trainer("envFrom", [{"prefix": "AUTOHAS_", "configMapRef": {"name": "m"}}], "names that are the operator's", "[0].prefix"),
    *(
        _trainer("image", image, "image must be a reference such as registry.example/team/trainer:1.2")
        for image in (
            "my image",
            "Trainer",
            "a//b",
            "a:b:c",
            "a@sha256:ab",
            ":1",
            "registry.example/Team/x",
            "a:-1",
            " a",
            "a\n",
            "https://a/b",
        )
    ),
    *(
        _trainer("priorityClassName", name, "begin with system-")
        for name in ("system-cluster-critical", "system-node-critical", "system-x")
    ),
    *(
        _trainer("resources", {"limits": {name: amount}}, "must be 1: one search uses one GPU", ".limits")
        for name, amount in (("nvidia.com/gpu", 8), ("nvidia.com/gpu", "2"), ("amd.com/gpu", 2), ("gpu.intel.com/i915", 3))
    ),
    _trainer("resources", {"limits": {"example.com/nic": "0.5"}}, "must be a whole number", ".limits"),
    _trainer("resources", {"requests": {"nvidia.com/gpu": 1}}, "a device must be in limits too", ".requests"),
    *(
        _trainer("resources", {"limits": {name: 1}}, "a resource with its domain", ".limits")
        for name in ("gpu", "CPU", "nvidia.com/", "mem ory")
    ),
    _trainer("tolerations", [{"operator": "Equal", "value": "x"}], "operator must be Exists", "[0].operator"),
    _trainer("tolerations", [{"key": "a", "operator": "Exists", "value": "x"}], "value must not be given", "[0].value"),
    _trainer("tolerations", [{"key": "a", "operator": "Exists", "tolerationSeconds": 5}], "effect is NoExecute", "[0].tolerationSeconds"),
    *(
        Rejection(
            path=_TERM,
            value={"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", **requirement}]}]},
            field=f"{_TERM}.nodeSelectorTerms[0].matchExpressions[0].values",
            words="values must be given for In and NotIn",
        )
        for requirement in (
            {"operator": "In"},
            {"operator": "Exists", "values": ["x"]},
            {"operator": "Gt", "values": ["x"]},
            {"operator": "Lt", "values": ["1", "2"]},
        )
    ),
    _trainer("topologySpreadConstraints", [{**_SPREAD, "minDomains": 2}], "unless whenUnsatisfiable is DoNotSchedule", "[0].minDomains"),
    _trainer("topologySpreadConstraints", [{**_SPREAD, "matchLabelKeys": ["a"]}], "without labelSelector", "[0].matchLabelKeys"),
    _trainer(
        "topologySpreadConstraints",
        [{**_SPREAD, "labelSelector": {"matchLabels": {"a b": "x"}}}],
        "each key must be a name",
        "[0].labelSelector.matchLabels",
    ),
    _trainer(
        "topologySpreadConstraints",
        [{**_SPREAD, "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}],
        "values must be given for In and NotIn",
        "[0].labelSelector.matchExpressions[0].values",
    ),
)
"""Refused by a rule in two languages."""

POD_UNACCEPTABLE: Final = (
    *(
        _trainer(
            "resources", {"limits": {name: limit}, "requests": {name: asked}}, f"most the limit, which is {limit}", f".requests.{name}"
        )
        for name, limit, asked in (
            ("cpu", "1", "1500m"),
            ("cpu", 1, 2),
            ("memory", "1G", "1Gi"),
            ("memory", "1e3", "1001"),
            ("cpu", "0.5", "501m"),
        )
    ),
    *(
        Rejection(
            path=_TRAINER,
            value={"compute": {"threads": threads}, "resources": {"limits": {"cpu": limit}}},
            field=f"{_TRAINER}.compute.threads",
            words=f"{threads} must be at most the CPU limit of the trainer, which is {limit}: lower threads, or raise the limit",
        )
        for threads, limit in ((2, "1"), (4, "2500m"), (2, "500m"), (65, 64))
    ),
    *(_trainer("scratchSize", size, f'Invalid value: "{size}": must be at least 1Mi') for size in ("0", "100m", "1023Ki")),
    _trainer(
        "volumes",
        [_claim_template(resources={"requests": {"storage": "0"}})],
        'Invalid value: "0": must be greater than 0',
        "[0].ephemeral.volumeClaimTemplate.spec.resources.requests.storage",
    ),
    *(
        _trainer("volumes", [_projected(*sources)], 'Invalid value: "x": must differ from', f"[0].projected.sources{place}.path")
        for sources, place in (
            (({"secret": {"name": "s", "items": [_FILE, _FILE]}},), "[0].secret.items[1]"),
            (({"secret": {"name": "s", "items": [_FILE]}}, {"configMap": {"name": "m", "items": [_FILE]}}), "[1].configMap.items[0]"),
            (({"configMap": {"name": "m", "items": [_FILE]}}, {"downwardAPI": {"items": [_FIELD]}}), "[1].downwardAPI.items[0]"),
        )
    ),
    Rejection(
        path=_TRAINER,
        value={"scratchSize": "5Gi", "resources": {"limits": {"ephemeral-storage": "4Gi"}}},
        field=f"{_TRAINER}.scratchSize",
        words='Invalid value: "5Gi": must be at most the limit of ephemeral-storage, which counts /scratch and is 4Gi',
    ),
)
"""Stored by the server; its Jobs would be refused."""

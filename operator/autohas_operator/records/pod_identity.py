"""Whether a pod is what its Job describes: a comparison of the parts that can affect the result. Pure.

A user who may create pods can give one the labels and owner reference of a trainer; its termination message would be read as a result.
A pod is therefore recognized only if its trainer container and its init containers run what the Job's do. Mutating webhooks may add what
cannot affect the result: sidecars, tolerations, pull secrets, resources, variables, mounted tokens. Whatever could run other code in the
trainer container, give it other input, or write its files is a difference.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from autohas_api.base.digest import canonical
from autohas_api.base.names import TRAINER_CONTAINER
from autohas_operator.lenient import get_object, get_objects, get_optional_int, get_text

_Document: TypeAlias = Mapping[str, Any]
_Entries: TypeAlias = tuple[tuple[str, str], ...]
_OF_THE_CONTAINER: Final = (
    "command",
    "args",
    "workingDir",
    "envFrom",
    "lifecycle",
    "stdin",
    "tty",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "restartPolicy",
)
_OF_THE_POD: Final = ("hostPID", "hostIPC", "hostNetwork", "shareProcessNamespace")
"""A container that shares the trainer's processes can write its files and its termination message through /proc."""
_PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
_SPARE_KEYS: Final = frozenset({"defaultMode", "divisor", "sizeLimit"})
"""Keys that the API server fills in or normalizes, and that cannot affect the result."""
_LOADING_PREFIXES: Final = ("AUTOHAS_", "BASH_", "GLIBC_", "LD_", "PYTHON", "TORCH", "TRITON_")
_LOADING_NAMES: Final = frozenset({"BROWSER", "CC", "CXX", "ENV", "PATH", "PERL5OPT"})
"""Variables that can make the loader, the interpreter or a compiler run other code; AUTOHAS_ is the operator's own prefix."""
_TOKEN_DIRECTORIES: Final = ("/var/run/secrets", "/run/secrets")
_TOKEN_SOURCES: Final = frozenset({"serviceAccountToken", "clusterTrustBundle", "podCertificate"})
_ROOT_CERTIFICATES: Final = "kube-root-ca.crt"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodIdentity:
    """User, group and pull secrets of a Job's pods; user and group are None if the cluster assigns them."""

    run_as_user: int | None
    fs_group: int | None
    pull_secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerTemplate:
    """What a container runs; values are canonical JSON under their names in the manifest, `mounts` are (mountPath, mount)."""

    image: str
    fixed: _Entries
    env: _Entries
    mounts: _Entries


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTemplate:
    """The trainer and the parts of its pod that can affect it; values are canonical JSON under their names in the manifest.

    `init` are the init containers by name, `volumes` (name, source) of all volumes, `tokens` the names of the volumes with only tokens
    and certificates of the cluster, `shared` pairs of another container and a volume that it mounts.
    """

    trainer: ContainerTemplate
    init: tuple[tuple[str, ContainerTemplate], ...]
    account: str
    fixed: _Entries
    volumes: _Entries
    tokens: frozenset[str]
    shared: frozenset[tuple[str, str]]


def pod_spec_in(job: _Document) -> _Document:
    """The spec of a Job's pods."""
    return get_object(get_object(get_object(job, "spec"), "template"), "spec")


def identity_in(job: _Document) -> PodIdentity:
    """The identity of a Job's pods."""
    pod = pod_spec_in(job)
    context = get_object(pod, "securityContext")
    secrets = tuple(get_text(secret, "name") for secret in get_objects(pod, "imagePullSecrets"))
    return PodIdentity(
        run_as_user=get_optional_int(context, "runAsUser"), fs_group=get_optional_int(context, "fsGroup"), pull_secrets=secrets
    )


def pod_template(spec: _Document) -> PodTemplate:
    """Trim the spec of a pod, or of a Job's template."""
    containers = get_objects(spec, "containers")
    trainer: _Document = next((c for c in containers if c.get("name") == TRAINER_CONTAINER), {})
    others = [c for name in ("containers", "initContainers") for c in get_objects(spec, name) if c is not trainer]
    volumes = get_objects(spec, "volumes")
    return PodTemplate(
        trainer=_container_template(trainer),
        init=tuple((get_text(c, "name"), _container_template(c)) for c in get_objects(spec, "initContainers")),
        account=get_text(spec, "serviceAccountName"),
        fixed=_entries((name, value) for name in _OF_THE_POD if (value := _plain(spec.get(name)))),
        volumes=_entries((get_text(volume, "name"), _source(volume)) for volume in volumes),
        tokens=frozenset(get_text(volume, "name") for volume in volumes if _is_token(volume)),
        shared=frozenset((get_text(c, "name"), get_text(mount, "name")) for c in others for mount in get_objects(c, "volumeMounts")),
    )


def _container_template(container: _Document) -> ContainerTemplate:
    fixed = {
        **{name: container.get(name) for name in _OF_THE_CONTAINER},
        **{f"{name}.exec": get_object(container, name).get("exec") for name in _PROBES},
    }
    return ContainerTemplate(
        image=get_text(container, "image"),
        fixed=_entries((name, _plain(value)) for name, value in fixed.items() if _plain(value)),
        env=_entries((get_text(entry, "name"), _plain(entry)) for entry in get_objects(container, "env")),
        mounts=_entries((get_text(mount, "mountPath"), _plain(mount)) for mount in get_objects(container, "volumeMounts")),
    )


def difference(pod: PodTemplate, job: PodTemplate, injected_mounts: Sequence[str] = ()) -> str | None:
    """The first difference between a pod and its Job's template, as a clause; None if there is none.

    Webhooks of the platform may mount anything below `injected_mounts`.
    """
    odd = _find_difference(pod.trainer, job.trainer, pod.tokens, injected_mounts)
    if odd is not None:
        return odd
    if pod.fixed != job.fixed:
        return f"{min(set(pod.fixed) ^ set(job.fixed))[0]} differs from its Job's"
    return (
        _find_changed(pod.volumes, job.volumes, "volume")
        or _find_changed_init_container(pod, job, injected_mounts)
        or next(
            (f"another of its containers mounts {name}" for _, name in sorted(pod.shared - job.shared) if name in dict(job.volumes)), None
        )
    )


def _find_changed_init_container(pod: PodTemplate, job: PodTemplate, injected_mounts: Sequence[str]) -> str | None:
    """The first difference in an init container of the Job, which writes what the trainer reads; webhooks may add others."""
    present = dict(pod.init)
    for name, wanted in job.init:
        if name not in present:
            return f"it has no init container {name}"
        odd = _find_difference(present[name], wanted, pod.tokens, injected_mounts)
        if odd is not None:
            return f"in init container {name}, {odd}"
    return None


def _find_difference(
    container: ContainerTemplate, wanted: ContainerTemplate, tokens: frozenset[str], injected_mounts: Sequence[str]
) -> str | None:
    """The first difference of a container from that of its Job, as a clause; None if there is none."""
    if container.image != wanted.image:
        return f'its image is "{container.image}", not "{wanted.image}"'
    if container.fixed != wanted.fixed:
        return f"{min(set(container.fixed) ^ set(wanted.fixed))[0]} differs from its Job's"
    added = (name for name in _find_added(container.env, wanted.env) if _is_loader_variable(name))
    return (
        _find_changed(container.env, wanted.env, "variable")
        or _find_changed(container.mounts, wanted.mounts, "mount")
        or next((f"it has the variable {name}, which its Job does not have" for name in added), None)
        or _find_added_mount(container, wanted, tokens, injected_mounts)
    )


def is_made_alike(job: PodTemplate, wanted: PodTemplate) -> bool:
    """Whether a Job of an older operator runs what this one would run: images, account, commands, volumes and host flags.

    Each emptyDir, the variables and the mounts are left out, because they differ between versions.
    """

    def comparable_parts(template: PodTemplate) -> tuple[object, ...]:
        volumes = sorted(entry for entry in template.volumes if not entry[1].startswith('{"emptyDir"'))
        containers = [("", template.trainer), *template.init]
        runs = [(name, container.image, container.fixed) for name, container in containers]
        return (runs, template.account, template.fixed, volumes)

    return comparable_parts(job) == comparable_parts(wanted)


def _find_changed(entries: _Entries, wanted: _Entries, what: str) -> str | None:
    """The first of the Job's entries that the pod lacks or changes, in order: the last of two entries with one name wins in a pod."""
    names = {name for name, _ in wanted}
    ours = tuple(entry for entry in entries if entry[0] in names)
    if ours == wanted:
        return None
    odd = min((name for name, _ in set(ours) ^ set(wanted)), default=ours[0][0])
    return f"{what} {odd} differs from its Job's"


def _find_added(entries: _Entries, wanted: _Entries) -> list[str]:
    names = {name for name, _ in wanted}
    return [name for name, _ in entries if name not in names]


def _is_loader_variable(variable: str) -> bool:
    return variable in _LOADING_NAMES or variable.startswith(_LOADING_PREFIXES)


def _find_added_mount(
    container: ContainerTemplate, wanted: ContainerTemplate, tokens: frozenset[str], injected: Sequence[str]
) -> str | None:
    """A mount that the Job does not have, unless it has only tokens or the platform allows it: a mount can hide or add code."""
    job_mounts = dict(wanted.mounts)
    for path, mount in container.mounts:
        is_token = _is_below(path, _TOKEN_DIRECTORIES) and json.loads(mount).get("name") in tokens
        if path not in job_mounts and not is_token and not _is_below(path, injected):
            return f"it mounts {path}, which its Job does not"
    return None


def _is_below(path: str, directories: Sequence[str]) -> bool:
    """Whether a path is below one of the directories, by whole names; never for a path with `..`."""
    return ".." not in path.split("/") and any(path == d.rstrip("/") or path.startswith(d.rstrip("/") + "/") for d in directories)


def _entries(items: Any) -> _Entries:  # noqa: ANN401 - pairs of a name and JSON
    """Interned, because a Job, its pods and those of other searches share most entries."""
    return tuple((sys.intern(name), sys.intern(canonical(value))) for name, value in items)


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The value without empty entries and without those that the API server fills in."""
    if isinstance(value, Mapping):
        items = {key: _plain(item) for key, item in value.items() if key not in _SPARE_KEYS and (key, item) != ("apiVersion", "v1")}
        return {key: item for key, item in items.items() if item not in (None, "", False, [], {})}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _source(volume: _Document) -> dict[str, Any]:
    """The kind of the volume with its fields; an empty emptyDir is kept."""
    return {kind: _plain(source) or {} for kind, source in volume.items() if kind != "name" and source is not None}


def _is_token(volume: _Document) -> bool:
    """Whether a volume has only tokens of the API server, certificates of the cluster, and the name of the namespace."""
    sources = get_objects(get_object(volume, "projected"), "sources")
    return bool(sources) and all(_is_token_source(source) for source in sources)


def _is_token_source(source: _Document) -> bool:
    kinds = {kind for kind, value in source.items() if value}
    if kinds == {"configMap"}:
        return get_text(get_object(source, "configMap"), "name") == _ROOT_CERTIFICATES
    if kinds == {"downwardAPI"}:
        items = get_objects(get_object(source, "downwardAPI"), "items")
        return all(get_text(get_object(item, "fieldRef"), "fieldPath") == "metadata.namespace" for item in items)
    return bool(kinds) and kinds <= _TOKEN_SOURCES

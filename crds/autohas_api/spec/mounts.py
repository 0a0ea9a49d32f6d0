"""Volumes of the trainer pod and where they appear: typed, bounded, and never over what the operator mounts or the image needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.kube_rules import never
from autohas_api.base.kube_types import DataKey, DnsName, FileMode, Quantity
from autohas_api.base.model import Model, Rule
from autohas_api.base.names import CHECKPOINT_DIRECTORY, CONFIG_DIRECTORY, SCRATCH_DIRECTORY, SHM_DIRECTORY

__all__ = [
    "ClaimSource",
    "ConfigMapSource",
    "EmptyDirSource",
    "KeyToPath",
    "SecretSource",
    "Volume",
    "VolumeMount",
    "mount_rules",
    "normal",
]

_UPWARD: Final = r"(^|/)\.\.(/|$)"
_WHOLE: Final = (CONFIG_DIRECTORY, CHECKPOINT_DIRECTORY, SCRATCH_DIRECTORY, "/proc", "/sys", "/opt/autohas", "/opt/venv")
"""With everything below: the operator's own mounts, what the kernel shows, and the trainer in its image."""
_EXACT: Final = (
    *("/", "/etc", "/var", "/var/lib", "/opt"),
    *("/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/bin", "/sbin", "/lib", "/lib64"),
)
"""The folders around the above, and those without which no image runs; below them a search may mount."""


class KeyToPath(Model):
    """One key of a ConfigMap or Secret as a file."""

    key: DataKey = Field()
    path: Annotated[str, StringConstraints(pattern=r"^[^/]", min_length=1, max_length=1024)] = Field()
    mode: FileMode | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (never("path", rf"^\.\.|{_UPWARD}", "path must not begin with .. or contain it as a part"),)


class ConfigMapSource(Model):
    """A ConfigMap of the search's namespace."""

    name: DnsName = Field()
    items: Annotated[list[KeyToPath], Field(max_length=64)] | None = Field(default=None)
    default_mode: FileMode | None = Field(default=None)
    optional: bool | None = Field(default=None)


class SecretSource(Model):
    """A Secret of the search's namespace."""

    secret_name: DnsName = Field()
    items: Annotated[list[KeyToPath], Field(max_length=64)] | None = Field(default=None)
    default_mode: FileMode | None = Field(default=None)
    optional: bool | None = Field(default=None)


class ClaimSource(Model):
    """A PersistentVolumeClaim of the search's namespace."""

    claim_name: DnsName = Field()
    read_only: bool | None = Field(default=None)


class EmptyDirSource(Model):
    """Scratch space that lives with the pod."""

    medium: Literal["", "Memory"] | None = Field(default=None)
    size_limit: Quantity | None = Field(default=None)


_SOURCES = ("persistentVolumeClaim", "configMap", "secret", "emptyDir")


def _num_sources(volume: Any) -> int:  # noqa: ANN401 - a Volume, defined below
    sources = (volume.persistent_volume_claim, volume.config_map, volume.secret, volume.empty_dir)
    return sum(source is not None for source in sources)


class Volume(Model):
    """A volume of the trainer pod: a claim, ConfigMap, Secret or emptyDir, never the host's files."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)] = Field()
    persistent_volume_claim: ClaimSource | None = Field(default=None)
    config_map: ConfigMapSource | None = Field(default=None)
    secret: SecretSource | None = Field(default=None)
    empty_dir: EmptyDirSource | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            expression="[" + ", ".join(f"has(self.{source})" for source in _SOURCES) + "].filter(x, x).size() == 1",
            message="exactly one of persistentVolumeClaim, configMap, secret and emptyDir must be given",
            holds=lambda v: _num_sources(v) == 1,
        ),
        Rule(
            expression="!self.name.startsWith('autohas-')",
            message="names that start with autohas- are the operator's",
            field_path=".name",
            holds=lambda v: not v.name.startswith("autohas-"),
        ),
    )


class VolumeMount(Model):
    """Where a volume appears in the trainer container."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field()
    mount_path: Annotated[str, StringConstraints(pattern=r"^/[^:]*$", min_length=1, max_length=1024)] = Field()
    sub_path: Annotated[str, StringConstraints(max_length=1024)] | None = Field(default=None)
    read_only: bool | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        never("mountPath", r"//|/\.\.?(/|$)", "mountPath must be a plain absolute path: without //, /. and /.."),
        never("subPath", rf"^/|{_UPWARD}", "subPath must be relative and must not contain .. as a part"),
    )


def normal(path: str) -> str:
    """A mount path that keeps the rules above, as it is compared: without a slash at its end."""
    return path[:-1] if path.endswith("/") and path != "/" else path


def _normal(path: str) -> str:
    """CEL of `normal`."""
    return f"({path}.endsWith('/') && {path} != '/' ? {path}.substring(0, size({path}) - 1) : {path})"


def _is_taken(path: str) -> bool:
    """Compares whole parts: `/scratch-data` is not below `/scratch`."""
    path = normal(path)
    is_device = path == "/dev" or (path.startswith("/dev/") and path != SHM_DIRECTORY)
    return path in (*_EXACT, *_WHOLE) or path.startswith(tuple(f"{whole}/" for whole in _WHOLE)) or is_device


def _cel_is_taken(path: str) -> str:
    """CEL of `_is_taken`."""
    exact = ", ".join(f"'{name}'" for name in (*_EXACT, *_WHOLE, "/dev"))
    below = " || ".join(f"{path}.startsWith('{whole}/')" for whole in _WHOLE)
    return f"{_normal(path)} in [{exact}] || {below} || ({path}.startsWith('/dev/') && {_normal(path)} != '{SHM_DIRECTORY}')"


def _are_distinct(mounts: Sequence[VolumeMount] | None) -> bool:
    paths = [normal(mount.mount_path) for mount in mounts or []]
    return len(set(paths)) == len(paths)


def mount_rules() -> tuple[Rule, ...]:
    """Rules of the model that has `volumes` and `volumeMounts`."""
    same = f"{_normal('m.mountPath')} == {_normal('n.mountPath')}"
    return (
        Rule(
            expression="!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
            message="every volumeMount must name one of volumes",
            field_path=".volumeMounts",
            holds=lambda t: {m.name for m in t.volume_mounts or []} <= {v.name for v in t.volumes or []},
        ),
        Rule(
            expression=f"!has(self.volumeMounts) || !self.volumeMounts.exists(m, {_cel_is_taken('m.mountPath')})",
            message=f"mountPath must not be at or below {', '.join(_WHOLE)} or /dev (but {SHM_DIRECTORY}), nor one of"
            f" {', '.join(_EXACT)}: these are the operator's or the image's own",
            field_path=".volumeMounts",
            holds=lambda t: not any(_is_taken(m.mount_path) for m in t.volume_mounts or []),
        ),
        Rule(
            expression=f"!has(self.volumeMounts) || self.volumeMounts.all(m, self.volumeMounts.exists_one(n, {same}))",
            message="each mountPath must be given once; a slash at its end makes no difference",
            field_path=".volumeMounts",
            holds=lambda t: _are_distinct(t.volume_mounts),
        ),
        Rule(
            expression="!has(self.shmSize) || !has(self.volumeMounts)"
            f" || !self.volumeMounts.exists(m, {_normal('m.mountPath')} == '{SHM_DIRECTORY}')",
            message=f"shmSize must not be given with a volume of your own at {SHM_DIRECTORY}: give that volume a sizeLimit",
            field_path=".shmSize",
            holds=lambda t: t.shm_size is None or not any(normal(m.mount_path) == SHM_DIRECTORY for m in t.volume_mounts or []),
        ),
    )

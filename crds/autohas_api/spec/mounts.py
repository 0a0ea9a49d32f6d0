"""Volumes of the trainer pod and where they appear: typed, bounded, and never over what the operator mounts or the image needs."""

from __future__ import annotations

import operator
from functools import reduce
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.expressions import Expression, field
from autohas_api.base.kube_rules import never
from autohas_api.base.kube_types import DnsName, FileMode, Quantity
from autohas_api.base.model import Model, Rule
from autohas_api.base.names import CHECKPOINT_DIRECTORY, CONFIG_DIRECTORY, SCRATCH_DIRECTORY, SHM_DIRECTORY
from autohas_api.base.rules import exactly_one, no_prefix, rule
from autohas_api.spec.volume_sources import UPWARD, CsiSource, EphemeralSource, ImageSource, KeyToPath, ProjectedSource

__all__ = [
    "ClaimSource",
    "ConfigMapSource",
    "EmptyDirSource",
    "SecretSource",
    "Volume",
    "VolumeMount",
    "mount_rules",
    "mounted_once",
    "normal",
]

_WHOLE: Final = (CONFIG_DIRECTORY, CHECKPOINT_DIRECTORY, SCRATCH_DIRECTORY, "/proc", "/sys", "/opt/autohas", "/opt/venv")
"""With everything below: the operator's own mounts, what the kernel shows, and the trainer in its image."""
_EXACT: Final = (
    *("/", "/etc", "/var", "/var/lib", "/opt"),
    *("/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/bin", "/sbin", "/lib", "/lib64"),
)
"""The folders around the above, and those without which no image runs; below them a search may mount."""


class ConfigMapSource(Model):
    """ConfigMap in the namespace of the search."""

    name: DnsName = Field(description="Name of the ConfigMap.")
    items: Annotated[list[KeyToPath], Field(max_length=64)] | None = Field(
        default=None, description="Keys to project. If not set, every key becomes a file of its name."
    )
    default_mode: FileMode | None = Field(default=None, description="Permission bits of the files. If not set, 420 (0644).")
    optional: bool | None = Field(default=None, description="Whether the ConfigMap or its keys may be missing.")


class SecretSource(Model):
    """Secret in the namespace of the search."""

    secret_name: DnsName = Field(description="Name of the Secret.")
    items: Annotated[list[KeyToPath], Field(max_length=64)] | None = Field(
        default=None, description="Keys to project. If not set, every key becomes a file of its name."
    )
    default_mode: FileMode | None = Field(default=None, description="Permission bits of the files. If not set, 420 (0644).")
    optional: bool | None = Field(default=None, description="Whether the Secret or its keys may be missing.")


class ClaimSource(Model):
    """PersistentVolumeClaim in the namespace of the search."""

    claim_name: DnsName = Field(description="Name of the PersistentVolumeClaim.")
    read_only: bool | None = Field(default=None, description="Whether the volume is mounted read-only.")


class EmptyDirSource(Model):
    """Empty directory that is deleted with the pod."""

    medium: Literal["", "Memory"] | None = Field(default=None, description="Storage medium: empty for the node's disk, Memory for a tmpfs.")
    size_limit: Quantity | None = Field(default=None, description="Size limit of the directory. If not set, there is no limit.")


class Volume(Model):
    """Volume of the trainer pod: never a path of the host. The chart's admission policy allows the same kinds."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)] = Field(
        description="Name of the volume, a DNS label."
    )
    persistent_volume_claim: ClaimSource | None = Field(default=None, description="PersistentVolumeClaim in the namespace of the search.")
    config_map: ConfigMapSource | None = Field(default=None, description="ConfigMap in the namespace of the search.")
    secret: SecretSource | None = Field(default=None, description="Secret in the namespace of the search.")
    empty_dir: EmptyDirSource | None = Field(default=None, description="Empty directory that is deleted with the pod.")
    csi: CsiSource | None = Field(default=None, description="Inline volume of a CSI driver.")
    ephemeral: EphemeralSource | None = Field(default=None, description="Claim that is created and deleted with the pod.")
    projected: ProjectedSource | None = Field(
        default=None, description="ConfigMaps, Secrets and fields of the pod in one directory; never a token of a service account."
    )
    image: ImageSource | None = Field(default=None, description="Files of a container image or OCI artifact, read-only.")

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("persistentVolumeClaim", "configMap", "secret", "emptyDir", "csi", "ephemeral", "projected", "image"),
        no_prefix("name", "autohas-", "names that start with autohas- are the operator's"),
    )


def _is_taken(path: Expression) -> Expression:
    """Compares whole parts: `/scratch-data` is not below `/scratch`."""
    whole = path.without_end("/")
    is_below = reduce(operator.or_, (path.starts_with(f"{folder}/") for folder in _WHOLE))
    return whole.is_in((*_EXACT, *_WHOLE, "/dev")) | is_below | (path.starts_with("/dev/") & whole.differs(SHM_DIRECTORY))


class VolumeMount(Model):
    """Mount of a volume in the trainer container or in an init container."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field(description="Name of the volume.")
    mount_path: Annotated[str, StringConstraints(pattern=r"^/[^:]*$", min_length=1, max_length=1024)] = Field(
        description="Absolute path at which the volume is mounted. Paths of the operator and of the image are refused."
    )
    sub_path: Annotated[str, StringConstraints(max_length=1024)] | None = Field(
        default=None, description="Relative path inside the volume. If not set, the root of the volume."
    )
    read_only: bool | None = Field(default=None, description="Whether the volume is mounted read-only.")

    rules: ClassVar[tuple[Rule, ...]] = (
        never("mountPath", r"//|/\.\.?(/|$)", "mountPath must be a plain absolute path: without //, /. and /.."),
        rule(
            ~_is_taken(field("mountPath")),
            f"mountPath must not be at or below {', '.join(_WHOLE)} or /dev (but {SHM_DIRECTORY}), nor one of"
            f" {', '.join(_EXACT)}: these are the operator's or the image's own",
            at=".mountPath",
        ),
        never("subPath", rf"^/|{UPWARD}", "subPath must be relative and must not contain .. as a part"),
    )


def normal(path: str) -> str:
    """A mount path that keeps the rules above, as it is compared: without a slash at its end."""
    return path[:-1] if path.endswith("/") and path != "/" else path


def mounted_once() -> Rule:
    """Rule of a model that has `volumeMounts`."""
    mounts, whole = field("volumeMounts"), field("mountPath", of="m").without_end("/")
    is_only = mounts.one("n", whole.equals(field("mountPath", of="n").without_end("/")))
    return rule(
        ~mounts.is_given | mounts.every("m", is_only),
        "each mountPath must be given once; a slash at its end makes no difference",
        at=".volumeMounts",
    )


def mount_rules() -> tuple[Rule, ...]:
    """Rules of the model that has `volumes` and `volumeMounts`."""
    volumes, mounts = field("volumes"), field("volumeMounts")
    whole = field("mountPath", of="m").without_end("/")
    is_named = volumes.is_given & volumes.some("v", field("name", of="v").equals(field("name", of="m")))
    return (
        rule(~mounts.is_given | mounts.every("m", is_named), "every volumeMount must name one of volumes", at=".volumeMounts"),
        mounted_once(),
        rule(
            ~field("shmSize").is_given | ~mounts.is_given | ~mounts.some("m", whole.equals(SHM_DIRECTORY)),
            f"shmSize must not be given with a volume of your own at {SHM_DIRECTORY}: give that volume a sizeLimit",
            at=".shmSize",
        ),
    )

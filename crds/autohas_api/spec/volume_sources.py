"""Volumes whose content comes from a driver, several objects or an image: Kubernetes' own types, those of their parts that make sense here.

A projected volume never has a token of a service account, since trainers have no right that one would give.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.expressions import field, literal
from autohas_api.base.kube_rules import image_reference, keys_are_labels, never
from autohas_api.base.kube_types import DataKey, DnsName, FileMode, Labels, Quantity
from autohas_api.base.model import Model, Rule
from autohas_api.base.rules import exactly_one, rule
from autohas_api.spec.environment import FileFieldRef

__all__ = [
    "CsiSource",
    "DownwardFiles",
    "EphemeralSource",
    "ImageSource",
    "ImageText",
    "KeyToPath",
    "ProjectedObject",
    "ProjectedSource",
]

_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
UPWARD = r"(^|/)\.\.(/|$)"
ImageText = Annotated[str, StringConstraints(max_length=512)]


class KeyToPath(Model):
    """Mapping of a key of a ConfigMap or Secret to a file."""

    key: DataKey = Field(description="Key to project.")
    path: Annotated[str, StringConstraints(pattern=r"^[^/]", min_length=1, max_length=1024)] = Field(
        description="Relative path of the file; must not contain the part '..'."
    )
    mode: FileMode | None = Field(default=None, description="Permission bits of the file. If not set, defaultMode.")

    rules: ClassVar[tuple[Rule, ...]] = (never("path", rf"^\.\.|{UPWARD}", "path must not begin with .. or contain it as a part"),)


class SecretName(Model):
    """Reference to a Secret in the namespace of the search."""

    name: DnsName = Field(description="Name of the Secret.")


class CsiSource(Model):
    """Inline volume of a CSI driver."""

    driver: Annotated[str, StringConstraints(pattern=rf"^{_LABEL}(\.{_LABEL})*$", min_length=1, max_length=63)] = Field(
        description="Name of the CSI driver, which the chart must list in trainer.csiDrivers."
    )
    fs_type: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        default=None, description="Type of the file system. If not set, the driver's default."
    )
    read_only: bool | None = Field(default=None, description="Whether the volume is mounted read-only.")
    volume_attributes: Annotated[dict[str, Annotated[str, StringConstraints(max_length=1024)]], Field(max_length=32)] | None = Field(
        default=None, description="Attributes that are passed to the driver."
    )
    node_publish_secret_ref: SecretName | None = Field(default=None, description="Secret that is passed to the driver.")


class StorageSize(Model):
    """Size of a volume."""

    storage: Quantity = Field(description="Minimum size.")


class StorageRequests(Model):
    """Requested storage."""

    requests: StorageSize = Field(description="Requested size.")


class ClaimTemplateSpec(Model):
    """Specification of a PersistentVolumeClaim."""

    access_modes: Annotated[
        list[Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]], Field(min_length=1, max_length=4)
    ] = Field(description="Access modes of the volume.")
    resources: StorageRequests = Field(description="Requested storage.")
    storage_class_name: DnsName | None = Field(
        default=None, description="Name of the StorageClass. If not set, the default class of the cluster."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(
            ~literal("ReadWriteOncePod").is_in(field("accessModes")) | field("accessModes").size.equals(1),
            "ReadWriteOncePod must be the only access mode",
            at=".accessModes",
        ),
    )


class ClaimTemplateMetadata(Model):
    """Metadata of a PersistentVolumeClaim."""

    labels: Labels | None = Field(default=None, description="Labels of the claim.")

    rules: ClassVar[tuple[Rule, ...]] = (keys_are_labels("labels"),)


class ClaimTemplate(Model):
    """PersistentVolumeClaim that is created with the pod."""

    metadata: ClaimTemplateMetadata | None = Field(default=None, description="Metadata of the claim.")
    spec: ClaimTemplateSpec = Field(description="Specification of the claim.")


class EphemeralSource(Model):
    """PersistentVolumeClaim that is created and deleted with the pod."""

    volume_claim_template: ClaimTemplate = Field(description="Claim to create.")


_PART = "[-_A-Za-z0-9][-._A-Za-z0-9]*"
PlainPath = Annotated[str, StringConstraints(pattern=f"^{_PART}(/{_PART})*$", min_length=1, max_length=1024)]
"""A pattern instead of a rule: a rule in three nested lists would cost an API server more than it allows."""


class ProjectedKey(Model):
    """Mapping of a key of a ConfigMap or Secret to a file."""

    key: DataKey = Field(description="Key to project.")
    path: PlainPath = Field(description="Relative path of the file, whose parts do not begin with a point.")
    mode: FileMode | None = Field(default=None, description="Permission bits of the file. If not set, defaultMode.")


class ProjectedObject(Model):
    """ConfigMap or Secret of a projected volume."""

    name: DnsName = Field(description="Name of the object.")
    items: Annotated[list[ProjectedKey], Field(max_length=32)] | None = Field(
        default=None, description="Keys to project. If not set, every key becomes a file of its name."
    )
    optional: bool | None = Field(default=None, description="Whether the object or its keys may be missing.")


class DownwardFile(Model):
    """Field of the pod as a file."""

    path: PlainPath = Field(description="Relative path of the file, whose parts do not begin with a point.")
    field_ref: FileFieldRef = Field(description="Field of the pod.")


class DownwardFiles(Model):
    """Fields of the pod as files."""

    items: Annotated[list[DownwardFile], Field(min_length=1, max_length=16)] = Field(description="Files.")


class ProjectedPart(Model):
    """One source of a projected volume; a token of a service account is refused."""

    config_map: ProjectedObject | None = Field(default=None, description="ConfigMap in the namespace of the search.")
    secret: ProjectedObject | None = Field(default=None, description="Secret in the namespace of the search.")
    downward_api: DownwardFiles | None = Field(default=None, alias="downwardAPI", description="Fields of the pod.")

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("configMap", "secret", "downwardAPI"),)


class ProjectedSource(Model):
    """Several objects in one directory, never with a token of a service account."""

    sources: Annotated[list[ProjectedPart], Field(min_length=1, max_length=8)] = Field(description="Objects to project.")
    default_mode: FileMode | None = Field(default=None, description="Permission bits of the files. If not set, 420 (0644).")


class ImageSource(Model):
    """Files of a container image or OCI artifact, read-only."""

    reference: Annotated[str, StringConstraints(min_length=1, max_length=512)] = Field(
        description="Reference of the image, which the chart must allow in trainer.allowedImages where it has a list."
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="Pull policy. If not set, Always for the tag latest, else IfNotPresent."
    )

    rules: ClassVar[tuple[Rule, ...]] = (image_reference("reference"),)

"""Environment variables of the trainer container: Kubernetes' own types, those of its parts that make sense here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.kube_types import DataKey, DnsName, Quantity
from autohas_api.base.model import Model, Rule
from autohas_api.base.rules import exactly_one, never_together, no_prefix

ENV_NAME_PATTERN = r"^([-_a-zA-Z][-._a-zA-Z0-9]*|\.[-_a-zA-Z0-9][-._a-zA-Z0-9]*)$"
"""Kubernetes refuses what begins with two dots, and a single one."""
_METADATA = r"metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])"
_FIELDS = rf"^({_METADATA}|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$"
_RESOURCES = r"^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i)$"


class FileFieldRef(Model):
    """Reference to a field of the pod that a file can have: Kubernetes allows fewer of them than for a variable."""

    api_version: Literal["v1"] | None = Field(default=None, description="API version of fieldPath.")
    field_path: Annotated[str, StringConstraints(pattern=rf"^{_METADATA}$", min_length=1, max_length=400)] = Field(
        description="Path of the field, for example metadata.name."
    )


class FieldRef(Model):
    """Reference to a field of the pod."""

    api_version: Literal["v1"] | None = Field(default=None, description="API version of fieldPath.")
    field_path: Annotated[str, StringConstraints(pattern=_FIELDS, min_length=1, max_length=400)] = Field(
        description="Path of the field, for example metadata.name or spec.nodeName."
    )


class ResourceFieldRef(Model):
    """Reference to a compute resource of the container."""

    container_name: Literal["trainer"] | None = Field(default=None, description="Name of the container.")
    resource: Annotated[str, StringConstraints(pattern=_RESOURCES, min_length=1, max_length=128)] = Field(
        description="Resource to select, for example limits.cpu."
    )
    divisor: Quantity | None = Field(default=None, description="Unit of the value. If not set, 1.")


class KeyRef(Model):
    """Reference to a key of a ConfigMap or Secret in the namespace of the search."""

    name: DnsName = Field(description="Name of the ConfigMap or Secret.")
    key: DataKey = Field(description="Key whose value is used.")
    optional: bool | None = Field(default=None, description="Whether the ConfigMap, Secret or key may be missing.")


class EnvSource(Model):
    """Source of an environment variable's value."""

    field_ref: FieldRef | None = Field(default=None, description="Field of the pod.")
    resource_field_ref: ResourceFieldRef | None = Field(default=None, description="Compute resource of the container.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="Key of a ConfigMap.")
    secret_key_ref: KeyRef | None = Field(default=None, description="Key of a Secret.")

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"),)


class EnvVar(Model):
    """Environment variable of the container."""

    name: Annotated[str, StringConstraints(pattern=ENV_NAME_PATTERN, min_length=1, max_length=256)] = Field(
        description="Name of the variable."
    )
    value: Annotated[str, StringConstraints(max_length=4096)] | None = Field(
        default=None, description="Value of the variable. If neither value nor valueFrom is set, the empty string."
    )
    value_from: EnvSource | None = Field(default=None, description="Source of the value.")

    rules: ClassVar[tuple[Rule, ...]] = (
        no_prefix("name", "AUTOHAS_", "names that start with AUTOHAS_ are the operator's"),
        never_together("value", "valueFrom"),
    )


class ObjectRef(Model):
    """Reference to a ConfigMap or Secret in the namespace of the search."""

    name: DnsName = Field(description="Name of the object.")
    optional: bool | None = Field(default=None, description="Whether the object may be missing.")


class EnvFrom(Model):
    """ConfigMap or Secret whose keys become environment variables."""

    prefix: Annotated[str, StringConstraints(pattern=f"^$|{ENV_NAME_PATTERN}", max_length=256)] | None = Field(
        default=None, description="Text that is put before each key."
    )
    config_map_ref: ObjectRef | None = Field(default=None, description="ConfigMap to read.")
    secret_ref: ObjectRef | None = Field(default=None, description="Secret to read.")

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("configMapRef", "secretRef"),
        no_prefix("prefix", "AUTOHAS_", "a prefix that starts with AUTOHAS_ would make names that are the operator's", is_optional=True),
    )

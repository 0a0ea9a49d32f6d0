"""Environment variables of the trainer container: Kubernetes' own types, those of its parts that make sense here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from autohas_api.base.kube_types import DataKey, DnsName, Quantity
from autohas_api.base.model import Model, Rule
from autohas_api.base.rules import exactly_one, never_together, no_prefix

ENV_NAME_PATTERN = r"^([-_a-zA-Z][-._a-zA-Z0-9]*|\.[-_a-zA-Z0-9][-._a-zA-Z0-9]*)$"
"""Kubernetes refuses what begins with two dots, and a single one."""
_FIELDS = (
    r"^(metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$"
)
_RESOURCES = r"^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i)$"


class FieldRef(Model):
    """A field of the pod."""

    api_version: Literal["v1"] | None = Field(default=None)
    field_path: Annotated[str, StringConstraints(pattern=_FIELDS, min_length=1, max_length=400)] = Field()


class ResourceFieldRef(Model):
    """A resource of the container."""

    container_name: Literal["trainer"] | None = Field(default=None)
    resource: Annotated[str, StringConstraints(pattern=_RESOURCES, min_length=1, max_length=128)] = Field()
    divisor: Quantity | None = Field(default=None)


class KeyRef(Model):
    """One key of a ConfigMap or Secret of the search's namespace."""

    name: DnsName = Field()
    key: DataKey = Field()
    optional: bool | None = Field(default=None)


class EnvSource(Model):
    """Where a value comes from."""

    field_ref: FieldRef | None = Field(default=None)
    resource_field_ref: ResourceFieldRef | None = Field(default=None)
    config_map_key_ref: KeyRef | None = Field(default=None)
    secret_key_ref: KeyRef | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (exactly_one("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"),)


class EnvVar(Model):
    """One environment variable."""

    name: Annotated[str, StringConstraints(pattern=ENV_NAME_PATTERN, min_length=1, max_length=256)] = Field()
    value: Annotated[str, StringConstraints(max_length=4096)] | None = Field(default=None)
    value_from: EnvSource | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        no_prefix("name", "AUTOHAS_", "names that start with AUTOHAS_ are the operator's"),
        never_together("value", "valueFrom"),
    )


class ObjectRef(Model):
    """A ConfigMap or Secret of the search's namespace."""

    name: DnsName = Field()
    optional: bool | None = Field(default=None)


class EnvFrom(Model):
    """All keys of a ConfigMap or Secret as variables."""

    prefix: Annotated[str, StringConstraints(pattern=f"^$|{ENV_NAME_PATTERN}", max_length=256)] | None = Field(default=None)
    config_map_ref: ObjectRef | None = Field(default=None)
    secret_ref: ObjectRef | None = Field(default=None)

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("configMapRef", "secretRef"),
        no_prefix("prefix", "AUTOHAS_", "a prefix that starts with AUTOHAS_ would make names that are the operator's", is_optional=True),
    )

"""Init containers of the trainer pod: they run before the trainer, one after another, and bring what it reads."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, StringConstraints

from autohas_api.base.expressions import field
from autohas_api.base.kube_rules import image_reference
from autohas_api.base.model import Model, Rule
from autohas_api.base.rules import no_prefix, rule
from autohas_api.spec.environment import EnvFrom, EnvVar
from autohas_api.spec.mounts import VolumeMount, mounted_once

__all__ = ["InitContainer", "init_container_rules"]

Text = Annotated[str, StringConstraints(max_length=4096)]
_BY_NAME: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class InitContainer(Model):
    """Container that ends before the trainer starts. It has the trainer's security context, and the trainer's resources as its limits."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)] = Field(
        description="Name of the container, a DNS label."
    )
    image: Annotated[str, StringConstraints(max_length=512)] = Field(
        default="", description="Container image; empty selects that of the trainer. trainer.allowedImages of the chart holds for it."
    )
    command: Annotated[list[Text], Field(max_length=64)] | None = Field(
        default=None, description="Entrypoint of the container. If not set, that of the image."
    )
    args: Annotated[list[Text], Field(max_length=64)] | None = Field(default=None, description="Arguments of the entrypoint.")
    env: Annotated[list[EnvVar], Field(max_length=32)] | None = Field(
        default=None, description="Environment variables of the container.", json_schema_extra=_BY_NAME
    )
    env_from: Annotated[list[EnvFrom], Field(max_length=8)] | None = Field(
        default=None, description="ConfigMaps and Secrets whose keys become environment variables."
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=8)] | None = Field(
        default=None,
        description="Volumes that are mounted into the container. /scratch, which the trainer shares, is always mounted.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["mountPath"]},
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(field("name").differs("trainer"), "the name trainer is that of the operator's own container", at=".name"),
        no_prefix("name", "autohas-", "names that start with autohas- are the operator's"),
        rule(
            field("image").differs("") | field("command").is_given,
            "command must be given without an image of its own: the trainer's image would run another trainer",
            at=".command",
        ),
        image_reference("image"),
        mounted_once(),
    )


def init_container_rules() -> tuple[Rule, ...]:
    """Rules of the model that has `volumes` and `initContainers`."""
    volumes, containers, mounts = field("volumes"), field("initContainers"), field("volumeMounts", of="c")
    is_named = volumes.is_given & volumes.some("v", field("name", of="v").equals(field("name", of="m")))
    return (
        rule(
            ~containers.is_given | containers.every("c", ~mounts.is_given | mounts.every("m", is_named)),
            "every volumeMount of an init container must name one of volumes",
            at=".initContainers",
        ),
    )

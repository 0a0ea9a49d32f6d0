"""The platform's defaults for fields of `spec.trainer` that a search leaves out. Pure.

A default replaces a missing field as a whole. Nothing is merged: the effective value of a field has one owner, the search or the
platform. A change of the defaults does not reach a Job that already exists.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from autohas_api.base.kube_types import DnsName, Labels, Quantity
from autohas_api.base.model import Model
from autohas_api.spec.placement import Toleration
from autohas_api.spec.search import Search
from autohas_api.spec.trainer import ResourceRequirements


class TrainerDefaults(Model):
    """Fields of `spec.trainer`, under their names there."""

    resources: ResourceRequirements | None = Field(default=None)
    scratch_size: Quantity | None = Field(default=None)
    node_selector: Labels | None = Field(default=None)
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(default=None)
    priority_class_name: DnsName | None = Field(default=None)
    runtime_class_name: DnsName | None = Field(default=None)


NO_DEFAULTS = TrainerDefaults()


def with_defaults(search: Search, defaults: TrainerDefaults) -> Search:
    """The search with the platform's defaults in the fields that it leaves out; its pod is made from this."""
    trainer = search.spec.trainer
    missing: dict[str, Any] = {name: getattr(defaults, name) for name in TrainerDefaults.model_fields if getattr(trainer, name) is None}
    return search.replace(spec=search.spec.replace(trainer=trainer.replace(**missing)))

"""What the platform gives trainer pods whose search leaves it out. Pure.

A field that the search has is taken as it is, one that it lacks is taken from here: whole fields, nothing is merged, so that either
the search or the platform can be asked why. A Job that is there keeps what it was made with.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autohas_api.base.kube_types import DnsName, Labels
from autohas_api.base.model import Model
from autohas_api.spec.placement import Toleration
from autohas_api.spec.search import Search
from autohas_api.spec.trainer import ResourceRequirements


class TrainerDefaults(Model):
    """Fields of `spec.trainer`, under their names there."""

    resources: ResourceRequirements | None = Field(default=None)
    node_selector: Labels | None = Field(default=None)
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(default=None)
    priority_class_name: DnsName | None = Field(default=None)
    runtime_class_name: DnsName | None = Field(default=None)


NO_DEFAULTS = TrainerDefaults()


def with_defaults(search: Search, defaults: TrainerDefaults) -> Search:
    """The search as its pod is made."""
    trainer = search.spec.trainer
    missing = {name: getattr(defaults, name) for name in TrainerDefaults.model_fields if getattr(trainer, name) is None}
    completed = search.spec.model_copy(update={"trainer": trainer.model_copy(update=missing)})
    return search.model_copy(update={"spec": completed})

"""Custom code by entrypoint, and `spec.task.training`, which consists of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from autohas_api.base.entrypoint_form import ENTRYPOINT_PATTERN
from autohas_api.base.model import Model

__all__ = ["ArgumentValue", "Arguments", "Entrypoint", "OwnTraining"]

ArgumentValue = Annotated[str, StringConstraints(max_length=1024)]
Arguments = Annotated[dict[str, ArgumentValue], Field(max_length=32)]
Entrypoint = Annotated[str, StringConstraints(pattern=ENTRYPOINT_PATTERN, max_length=253)]
"""`package.module:object`, from the trainer's image or its PYTHONPATH."""


class OwnTraining(Model):
    """Training by custom code."""

    entrypoint: Entrypoint = Field(
        description="Object as package.module:object. The trainer calls it for each training with the shape of one input, the number of "
        "outputs and arguments as keywords; it builds the module, computes the training loss and evaluates."
    )
    arguments: Arguments | None = Field(default=None, description="Keywords of entrypoint.")

"""Names and choices of decisions, and the condition under which a decision is active."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from autohas_api.base.model import Model

__all__ = ["MAX_CHOICES", "Choice", "DecisionName", "When"]

DecisionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$", min_length=1, max_length=63)]
Choice = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MAX_CHOICES: Final = 32


class When(Model):
    """Condition under which a decision is active: another decision has one of the values."""

    decision: DecisionName = Field(description="Name of the other decision.")
    values: tuple[Choice, ...] = Field(
        min_length=1,
        max_length=MAX_CHOICES,
        strict=False,  # a list of JSON becomes a tuple, so that a condition can be hashed
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Choices of the other decision under which this decision is active.",
    )

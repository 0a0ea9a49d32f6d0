"""`spec.task.splits`: how the training data are divided."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.rules import inside

__all__ = ["Splits"]


class Splits(Model):
    """Split of the training data. The test data is not part of it."""

    reward: Decimal = Field(
        default="0.1",
        description="Fraction of the training data that computes rewards of the controller, a decimal between 0 and 0.5, both excluded.",
    )
    selection: Decimal = Field(
        default="0.1", description="Fraction of the training data that compares candidates, a decimal between 0 and 0.5, both excluded."
    )
    stratify: bool = Field(default=True, description="Whether each split has the class proportions of the whole.")

    rules: ClassVar[tuple[Rule, ...]] = (inside("reward", 0, 0.5), inside("selection", 0, 0.5))

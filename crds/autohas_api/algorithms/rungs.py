"""The rungs of a training: the steps at which candidates are compared, and the best of them continue. Pure.

The stages that compare and continue candidates are in `autohas_trainer.engine.stages`.
"""

from __future__ import annotations

import math
from typing import Final

from pydantic import Field

from autohas_api.base.model import Model

__all__ = ["DEFAULT_RUNGS", "LAST_RUNG", "RUNG_DIVISORS", "Rungs", "rung_steps"]

RUNG_DIVISORS: Final = (9, 3, 1)
"""A candidate is compared at 1/9, 1/3 and 1 of a full training.

Ours: successive halving by 3. On a prototype the rank correlation with the final score was 0.73 at 1/9 and 0.97 at 1/3."""
LAST_RUNG: Final = len(RUNG_DIVISORS) - 1
"""Number of the rung at which a training is whole."""


class Rungs(Model):
    """Rungs of the trainings of a multi-trial algorithm: a trial reaches one after another, and only the best continue."""

    eta: int = Field(
        default=3,
        ge=2,
        le=10,
        description="Factor between the lengths of two rungs. Of this number of trials at a rung, one continues.",
    )
    count: int = Field(
        default=len(RUNG_DIVISORS),
        ge=2,
        le=8,
        description="Number of rungs, the end of the training included. With eta 3, 4 rungs are at 1/27, 1/9, 1/3 and the end.",
    )

    @property
    def last(self) -> int:
        """Number of the rung at which a training is whole."""
        return self.count - 1

    @property
    def num_parts(self) -> int:
        """Parts of a training of which the first rung is one."""
        return int(self.eta**self.last)

    def steps(self, steps: int, number: int) -> int:
        """Steps of a training of `steps` steps after which its rung `number`, from 0, is reached."""
        return math.ceil(steps / int(self.eta ** (self.last - number)))


DEFAULT_RUNGS: Final = Rungs()
"""1/9, 1/3 and all of a training."""


def rung_steps(steps: int, number: int) -> int:
    """The steps of a rung where `budget.rungs` does not say otherwise."""
    return DEFAULT_RUNGS.steps(steps, number)

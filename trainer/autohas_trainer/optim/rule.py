"""The update rule as a value, and the one answer to "which tensors decay".

Used by the supernet's sliced update and by stand-alone trainings, so that both mean the same by the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["UpdateRule", "decays"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRule:
    """SGD with momentum: v ← m·v + (g + d·w); w ← w - r·v.

    Attributes:
        learning_rate: Absolute rate r of this step (peak times schedule), finite and at least 0.
        momentum: m in [0, 1); 0 leaves the momentum buffers untouched.
        weight_decay: d, finite and at least 0; biases and normalisation parameters never decay.
    """

    learning_rate: float
    momentum: float
    weight_decay: float

    def __post_init__(self) -> None:
        """Refuse values under which the rule means nothing."""
        if not (math.isfinite(self.learning_rate) and self.learning_rate >= 0):
            message = f"learning_rate must be finite and at least 0, not {self.learning_rate}"
            raise ValueError(message)
        if not 0 <= self.momentum < 1:
            message = f"momentum must lie in [0, 1), not {self.momentum}"
            raise ValueError(message)
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            message = f"weight_decay must be finite and at least 0, not {self.weight_decay}"
            raise ValueError(message)


def decays(num_dimensions: int) -> bool:
    """Say whether a parameter of so many dimensions decays: matrices and kernels do, biases and normalisation do not."""
    return num_dimensions >= 2  # noqa: PLR2004 - a vector has one

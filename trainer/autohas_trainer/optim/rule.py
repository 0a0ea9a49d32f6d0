"""The update rule as a value, and the one answer to "which tensors decay".

Used by the supernet's sliced update and by stand-alone trainings, so that both mean the same by the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autohas_api.templates.template_spec import OptimizerName

__all__ = ["STATE_KEYS", "OptimizerName", "UpdateRule", "clamp_factor", "counts_updates", "decays"]

STATE_KEYS: Final[Mapping[OptimizerName, tuple[str, ...]]] = {
    "sgd": ("momentum_buffer",),
    "rmsprop": ("square_avg",),
    "adam": ("exp_avg", "exp_avg_sq"),
    "adamw": ("exp_avg", "exp_avg_sq"),
}
"""State that each optimizer keeps for each weight, by PyTorch's names; in a supernet adam and adamw share theirs."""
_MAX_FACTOR: Final = 1e30
"""Torch raises where a factor exceeds float32 (3.4e38), also after Adam's correction, which divides a rate by 1e-6 or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRule:
    """One step of w along h = g + d·w, as torch.optim's SGD, RMSprop (alpha 0.99), Adam and AdamW take it.

        sgd      v ← m·v + h;                             w ← w - r·v; with Nesterov w ← w - r·(h + m·v)
        rmsprop  s ← 0.99·s + 0.01·h²;                    w ← w - r·h / (√s + e)
        adam     v ← m·v + (1-m)·h;  s ← b·s + (1-b)·h²;  w ← w - r·v̂ / (√ŝ + e), both without the bias of their start
        adamw    as adam along h = g, after w ← (1 - r·d)·w

    Attributes:
        optimizer: Which of the four.
        learning_rate: Absolute rate r of this step (peak times schedule), finite and at least 0.
        momentum: m in [0, 1): SGD's momentum and Adam's beta1; RMSprop has none. 0 leaves SGD's buffers untouched.
        weight_decay: d, finite and at least 0.
        decays_vectors: Whether biases and normalisation parameters decay too.
        is_nesterov: Whether SGD looks ahead; without momentum there is nothing ahead.
        beta2: b in [0, 1), of Adam and AdamW.
        epsilon: e, greater than 0.
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    optimizer: OptimizerName = "sgd"
    decays_vectors: bool = False
    is_nesterov: bool = False
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse values under which the rule means nothing."""
        if not (math.isfinite(self.learning_rate) and self.learning_rate >= 0):
            message = f"learning_rate must be finite and at least 0, not {self.learning_rate}"
            raise ValueError(message)
        for name, share in (("momentum", self.momentum), ("beta2", self.beta2)):
            if not 0 <= share < 1:
                message = f"{name} must lie in [0, 1), not {share}"
                raise ValueError(message)
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            message = f"epsilon must be finite and greater than 0, not {self.epsilon}"
            raise ValueError(message)
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            message = f"weight_decay must be finite and at least 0, not {self.weight_decay}"
            raise ValueError(message)


def clamp_factor(value: float) -> float:
    """A rate or decay that torch can multiply float32 tensors by; what is above the bound diverges with the bound as well."""
    return min(value, _MAX_FACTOR)


def counts_updates(optimizer: OptimizerName) -> bool:
    """Whether an optimizer corrects the bias of its moments by the number of updates that a weight had."""
    return optimizer in ("adam", "adamw")


def decays(num_dimensions: int) -> bool:
    """Whether weight decay applies without `decays_vectors`: to matrices and kernels, not to biases and normalisation."""
    return num_dimensions >= 2  # noqa: PLR2004 - a vector has one

"""The learning-rate schedule as a pure function of the position in a training.

A lane is a truncated prefix of the final training: it passes the final training's `total`, never its own length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from autohas_api.spec.hyperparameters import ScheduleName

__all__ = ["Schedule", "ScheduleName", "schedule"]

_FIRST_SHARE: Final = 1 / 25
_LAST_SHARE: Final = 1 / 25 / 1e4
"""Where OneCycle begins and ends, in shares of the peak: the defaults of torch.optim.lr_scheduler.OneCycleLR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What follows the warm-up, and its shape.

    Attributes:
        kind: Which one.
        warmup_fraction: Share of the training spent in the warm-up, in [0, 1].
        floor: Share of the peak at which Cosine, Linear and WSD end, in [0, 1).
        decay_fraction: Share of the training in which WSD falls.
        step_fraction: Share of the training between two drops of Step.
        step_factor: Factor of each drop of Step.
    """

    kind: ScheduleName = "Cosine"
    warmup_fraction: float = 0.0
    floor: float = 0.0
    decay_fraction: float = 0.2
    step_fraction: float = 0.3
    step_factor: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a share that means nothing."""
        if not 0 <= self.warmup_fraction <= 1:
            message = f"warmup_fraction must lie in [0, 1], not {self.warmup_fraction}"
            raise ValueError(message)

    def at(self, step: int, total: int) -> float:
        """Return the multiplier s in (0, 1] of the peak rate at `step`.

        With w = round(warmup_fraction · total): s = (step + 1) / w while step < w. Afterwards, with p = (step - w) / (total - w):

            Constant  1
            Cosine    floor + (1 - floor) · ½(1 + cos πp)
            Linear    1 - (1 - floor) · p
            WSD       1, and in the last d = round(decay_fraction · total) steps, at least 1, as Linear within these
            Step      step_factor ^ (step // n) with n = round(step_fraction · total), at least 1: drops count from the first step

        OneCycle has a rise of its own, by a cosine from 1/25 to 1 in w steps; then it falls, by a cosine, to 1/250,000. These are torch's
        CosineAnnealingLR, LinearLR, StepLR and OneCycleLR; WSD (warm-up, stable, decay) is Hu et al., "MiniCPM", with a linear end as in
        Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations".

        Args:
            step: Steps already taken, 0 ≤ step < total.
            total: Length of the whole training, at least 1.
        """
        if not 0 <= step < total:
            message = f"step must lie in [0, {total}), not {step}"
            raise ValueError(message)
        warmup = round(self.warmup_fraction * total)
        if self.kind == "OneCycle":
            return _one_cycle(step, total, self.warmup_fraction * total)
        return (step + 1) / warmup if step < warmup else self._after_warmup(step, total, warmup)

    def _after_warmup(self, step: int, total: int, warmup: int) -> float:
        match self.kind:
            case "Constant":
                return 1.0
            case "Cosine":
                share = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
                return self.floor + (1 - self.floor) * share
            case "Linear":
                return 1 - (1 - self.floor) * (step - warmup) / (total - warmup)
            case "WSD":
                decay = max(1, round(self.decay_fraction * total))
                return 1 - (1 - self.floor) * max(0, step - (total - decay)) / decay
            case _:
                return self.step_factor ** (step // max(1, round(self.step_fraction * total)))


def _one_cycle(step: int, total: int, rise: float) -> float:
    """As torch's OneCycleLR with its two cosines: it rises until step `rise` - 1 and ends with the last step."""
    if step <= rise - 1:
        return _anneal(_FIRST_SHARE, 1.0, step / (rise - 1)) if rise > 1 else 1.0
    return _anneal(1.0, _LAST_SHARE, (step - (rise - 1)) / (total - rise)) if total > rise else 1.0


def _anneal(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def schedule(step: int, total: int, warmup_fraction: float, kind: ScheduleName = "Cosine") -> float:
    """Return the multiplier at `step` of a schedule whose shape is the default one; see `Schedule.at`."""
    return Schedule(kind=kind, warmup_fraction=warmup_fraction).at(step, total)

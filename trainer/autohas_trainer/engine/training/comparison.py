"""How two candidates are compared on the selection split. Pure.

Candidates at the same rung are ranked by `key`; the termination message between leader and incumbent asks for more than noise.
"""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.errors import ConfigurationError
from autohas_trainer.tasks.jackknife import NUM_GROUPS

__all__ = ["Comparison", "beats", "rank"]

TIE_WIDTH: Final = 0.5
"""Ours: standard errors of the paired difference by which a challenger must lead; ties within noise go to the incumbent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One candidate on the selection split after `step` steps of its training.

    Attributes:
        step: Steps of the training so far.
        key: What rungs rank by: the objective on normalised loss before the end, on the metric at the end. -inf: diverged.
        score: The objective on the metric.
        metric: The metric in its own unit; None: diverged.
        loss: Mean loss of the task (nats, or squared standardised error).
        contributions: What each example adds to the quality that `key` is made of (see `tasks.Measurement`; before the end 1 - its loss /
            loss of a constant), float32 in base64, for paired comparisons; empty before 1/3, where nothing that led before is dropped.
    """

    step: int
    key: float
    score: float
    metric: float | None
    loss: float
    contributions: str

    def to_json(self) -> dict[str, Any]:
        """JSON form; what is not finite is written as null."""
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Comparison:
        """Read `to_json`."""
        infinities = {"key": -math.inf, "score": -math.inf, "loss": math.inf}
        plain: dict[str, Any] = {name: infinities.get(name) if value is None else value for name, value in state.items()}
        return cls(**plain)


def lose_by_divergence(step: int) -> Comparison:
    """The comparison of a training whose loss is not finite: below every other."""
    return Comparison(step=step, key=-math.inf, score=-math.inf, metric=None, loss=math.inf, contributions="")


def encode(contributions_N: npt.NDArray[np.float64]) -> str:
    """Contributions as text: little-endian float32 in base64."""
    return base64.b64encode(contributions_N.astype("<f4").tobytes()).decode()


def paired_standard_error(one: Comparison, other: Comparison) -> float:
    """Standard error of the difference of two qualities on the same examples: that of a mean of paired differences.

    Raises:
        ConfigurationError: the metric of custom code has another form for one of the two.
    """
    if not one.contributions or not other.contributions:
        return 0.0
    ones_N, others_N = _decode(one.contributions), _decode(other.contributions)
    if len(ones_N) != len(others_N):
        forms = " and ".join(_describe_form(len(part)) for part in (ones_N, others_N))
        raise ConfigurationError(
            f"the metric of custom code is {forms} for two candidates on the same examples, which cannot be compared: let it have one form"
            " at every call"
        )
    difference_N = ones_N - others_N
    return float(difference_N.std()) / math.sqrt(len(difference_N))


def _describe_form(number: int) -> str:
    return f"what each of {number} examples adds" if number > NUM_GROUPS else "one number"


def _decode(contributions: str) -> npt.NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(contributions), dtype="<f4").astype(np.float64)


def beats(challenger: Comparison, incumbent: Comparison) -> bool:
    """Whether the challenger's key leads by more than TIE_WIDTH paired standard errors of the quality; both are at the same rung."""
    margin = TIE_WIDTH * paired_standard_error(challenger, incumbent)
    return challenger.key > incumbent.key + margin


def rank(comparisons: dict[str, Comparison]) -> list[str]:
    """Names from best to worst; equal keys keep the order of entry."""
    return sorted(comparisons, key=lambda name: -comparisons[name].key)

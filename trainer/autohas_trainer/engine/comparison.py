"""How two candidates are compared on the selection split. Pure.

Candidates at the same rung are ranked by `key`; the last word between leader and incumbent asks for more than noise.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["Comparison", "beats", "ranked"]

TIE_WIDTH: Final = 0.5
"""Ours: standard errors of the paired difference by which a challenger must lead; ties within noise go to the incumbent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One candidate on the selection split after `step` steps of its training.

    Attributes:
        step: Steps of the training so far.
        key: What rungs rank by: the objective on normalised loss before the end, on the metric at the end. -inf: diverged.
        score: The objective on the metric.
        metric: Accuracy, 0 to 1.
        loss: Mean cross-entropy in nats.
        hits: Correct answers as a hexadecimal bit string, example by example, for paired comparisons.
    """

    step: int
    key: float
    score: float
    metric: float
    loss: float
    hits: str

    def to_json(self) -> dict[str, Any]:
        """JSON form; infinities are written as null."""
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Comparison:
        """Read `to_json`."""
        infinities = {"key": -math.inf, "score": -math.inf, "loss": math.inf}
        plain: dict[str, Any] = {name: infinities[name] if value is None else value for name, value in state.items()}
        return cls(**plain)


def diverged(step: int) -> Comparison:
    """The comparison of a training whose loss is not finite: below every other."""
    return Comparison(step=step, key=-math.inf, score=-math.inf, metric=0.0, loss=math.inf, hits="")


def paired_standard_error(one: Comparison, other: Comparison, num_examples: int) -> float:
    """Standard error of the difference of two accuracies on the same `num_examples` examples."""
    if not one.hits or not other.hits:
        return 0.0
    disagreements = (int(one.hits, 16) ^ int(other.hits, 16)).bit_count() / num_examples
    difference = one.metric - other.metric
    return math.sqrt(max(disagreements - difference**2, 0.0) / num_examples)


def beats(challenger: Comparison, incumbent: Comparison, num_examples: int) -> bool:
    """Whether the challenger's score leads by more than TIE_WIDTH paired standard errors of the metric."""
    margin = TIE_WIDTH * paired_standard_error(challenger, incumbent, num_examples)
    return challenger.score > incumbent.score + margin


def ranked(comparisons: dict[str, Comparison]) -> list[str]:
    """Names from best to worst; equal keys keep the order of entry."""
    return sorted(comparisons, key=lambda name: -comparisons[name].key)

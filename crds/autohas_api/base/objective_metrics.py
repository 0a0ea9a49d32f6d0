"""The metrics of an objective: kind of task, direction, and text for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

__all__ = ["METRICS", "MetricInfo", "TaskKind", "gain", "is_share", "metric_text"]


class TaskKind(StrEnum):
    """What the targets are: classes or numbers."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricInfo:
    """One metric: the kind of task, the direction that is better, and whether it is a fraction of 1 (printed as per cent)."""

    kind: TaskKind
    direction: Literal["Maximize", "Minimize"]
    is_share: bool


METRICS: Final[dict[str, MetricInfo]] = {
    "accuracy": MetricInfo(kind=TaskKind.CLASSIFICATION, direction="Maximize", is_share=True),
    "f1": MetricInfo(kind=TaskKind.CLASSIFICATION, direction="Maximize", is_share=True),
    "auc": MetricInfo(kind=TaskKind.CLASSIFICATION, direction="Maximize", is_share=True),
    "top5": MetricInfo(kind=TaskKind.CLASSIFICATION, direction="Maximize", is_share=True),
    "log_loss": MetricInfo(kind=TaskKind.CLASSIFICATION, direction="Minimize", is_share=False),
    "perplexity": MetricInfo(kind=TaskKind.CLASSIFICATION, direction="Minimize", is_share=False),
    "bpb": MetricInfo(kind=TaskKind.CLASSIFICATION, direction="Minimize", is_share=False),
    "rmse": MetricInfo(kind=TaskKind.REGRESSION, direction="Minimize", is_share=False),
    "mae": MetricInfo(kind=TaskKind.REGRESSION, direction="Minimize", is_share=False),
    "r2": MetricInfo(kind=TaskKind.REGRESSION, direction="Maximize", is_share=False),
}


def metric_text(metric: str, value: float) -> str:
    """A value of a metric as text for people: fractions as per cent with two decimals, others, custom ones too, with four digits."""
    return f"{100 * value:.2f} %" if is_share(metric) else f"{value:.4g}"


def is_share(metric: str) -> bool:
    """Whether a metric is a fraction of 1; a custom one is not."""
    return metric in METRICS and METRICS[metric].is_share


def gain(direction: str, value: float, reference: float) -> float:
    """By how much `value` is better than `reference`, in the metric's unit; negative when it is worse."""
    return value - reference if direction == "Maximize" else reference - value

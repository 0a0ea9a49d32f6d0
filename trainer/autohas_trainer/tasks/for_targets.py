"""Which task fits targets and metric, and which metrics there are for each kind of targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from autohas_trainer.data.targets import TargetFacts, TargetKind
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.tasks._base import Task
from autohas_trainer.tasks.classification import TOP, Classification
from autohas_trainer.tasks.regression import Regression
from autohas_trainer.tasks.several_labels import SeveralLabels
from autohas_trainer.tasks.several_numbers import SeveralNumbers
from autohas_trainer.tasks.soft_labels import SoftLabels
from autohas_trainer.tasks.token_labels import TokenLabels

__all__ = ["any_metric_of", "build_task_for", "scale_of"]

_NUMBERS: Final = ("rmse", "mae", "r2")
_METRICS: Final[dict[TargetKind, tuple[str, ...]]] = {
    TargetKind.CLASS: ("accuracy", "top5", "f1", "auc", "log_loss", "perplexity"),
    TargetKind.TOKENS: ("accuracy", "top5", "log_loss", "perplexity", "bpb"),
    TargetKind.LABELS: ("accuracy", "f1", "auc", "log_loss"),
    TargetKind.SHARES: ("accuracy", "top5", "log_loss", "perplexity"),
    TargetKind.NUMBER: _NUMBERS,
    TargetKind.NUMBERS: _NUMBERS,
}


def build_task_for(  # noqa: PLR0913 - what a task consists of
    metric: str, facts: TargetFacts, *, balanced: bool, weights: Sequence[float] | None = None, name: str, device: torch.device
) -> Task:
    """Return the task; `name` is that of the data, `balanced` whether classes are weighed by their frequency, `weights` other weights.

    Raises:
        ConfigurationError: The metric, or weights of classes, cannot be computed for these targets.
    """
    field = "classWeights must be Uniform" if balanced else "weightByClass must not be given" if weights is not None else None
    problem = _find_problem(metric, facts, weighs_classes=field)
    if problem is not None:
        raise ConfigurationError(f"{name}: {problem}")
    counts = [] if facts.class_counts is None else facts.class_counts.tolist()
    match facts.kind:
        case TargetKind.CLASS:
            return Classification(metric, counts, balanced=balanced, weights=weights, device=device)
        case TargetKind.TOKENS:
            return TokenLabels(metric, counts, facts.shape, facts.bytes_per_token)
        case TargetKind.LABELS:
            return SeveralLabels(metric, facts.train_targets)
        case TargetKind.SHARES:
            return SoftLabels(metric, facts.train_targets)
        case TargetKind.NUMBERS:
            return SeveralNumbers(metric, facts.train_targets)
        case TargetKind.NUMBER:
            return Regression(metric, facts.train_targets)


def any_metric_of(facts: TargetFacts) -> str:
    """A built-in metric of these targets, for a task that another metric judges."""
    return _METRICS[facts.kind][0]


def scale_of(facts: TargetFacts) -> tuple[float, float] | None:
    """Mean and deviation by which numbers are standardised; None where the targets are no numbers."""
    if facts.kind not in (TargetKind.NUMBER, TargetKind.NUMBERS):
        return None
    numbers = facts.train_targets.astype(np.float64)
    return float(np.nanmean(numbers)), float(np.nanstd(numbers))


def _find_problem(metric: str, facts: TargetFacts, *, weighs_classes: str | None) -> str | None:
    """The sentence about a metric or weights that do not fit; None if all fit."""
    allowed = _METRICS[facts.kind]
    if metric not in allowed:
        return f"objective.metric {metric} cannot be computed, since the targets are {facts.kind}; choose one of {', '.join(allowed)}"
    if metric == "bpb" and facts.bytes_per_token is None:
        return "objective.metric bpb needs to know the text that a token stands for; set task.data.arguments.bytesPerToken, or use log_loss"
    if metric == "top5" and facts.kind is TargetKind.CLASS and facts.class_counts is not None and len(facts.class_counts) <= TOP:
        return f"objective.metric top5 is 1 for every network, since there are {len(facts.class_counts)} classes; choose accuracy"
    if weighs_classes is not None and facts.kind is not TargetKind.CLASS:
        return f"task.recipe.{weighs_classes}, since the targets are {facts.kind}"
    return None

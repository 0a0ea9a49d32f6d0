"""The task of a search: the kind of its targets, judged by a built-in metric or by one of custom code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch

from autohas_api.spec.search import Spec
from autohas_trainer.data import Splits
from autohas_trainer.entrypoints import load_object, require_names
from autohas_trainer.errors import ConfigurationError, DataError
from autohas_trainer.tasks import CUSTOM_METRIC_FIELD, CustomMetric, Task, any_metric_of, build_task_for, scale_of

__all__ = ["build_task"]

_MAX_SHOWN: Final = 20
_TRIED_EXAMPLES: Final = 64
"""A custom metric is tried on as many before the first step."""


def build_task(spec: Spec, splits: Splits, device: torch.device) -> Task:
    """The kind of targets with the metric of the spec, on the scale of the train split.

    Raises:
        ConfigurationError: the metric, or weights of classes, cannot be computed for these targets.
        DataError: the targets are all alike.
    """
    balanced, wanted, facts = spec.task.recipe.class_weights == "Balanced", spec.objective, splits.targets
    weights = _weigh_classes(spec.task.recipe.weight_by_class, splits)
    metric = any_metric_of(facts) if wanted.custom_metric is not None else wanted.metric_name
    task = build_task_for(metric, facts, balanced=balanced, weights=weights, name=splits.name, device=device)
    if spec.task.training is None and task.constant_loss <= 0:  # own training may learn without targets
        message = (
            f"{splits.name}: the targets of all training examples are alike, so that a constant answer has a loss of 0 and nothing is left"
            " to learn: give targets that differ, or task.training for what is learned from the inputs alone"
        )
        raise DataError(message)
    if wanted.custom_metric is None or wanted.custom_metric.entrypoint is None:
        return task
    return _judge_by(wanted.custom_metric.entrypoint, wanted.better, task, splits)


def _weigh_classes(weight_by_class: Mapping[str, str] | None, splits: Splits) -> list[float] | None:
    """The weight of each class, in the order of the classes; None: the search gives none.

    Raises:
        ConfigurationError: the data have no class of that name.
    """
    if weight_by_class is None:
        return None
    classes: list[str] = splits.preprocessing["target"].get("classes", [])
    unknown = next((name for name in weight_by_class if name not in classes), None)
    if classes and unknown is not None:
        listed = ", ".join(classes[:_MAX_SHOWN]) + (", ..." if len(classes) > _MAX_SHOWN else "")
        message = f"task.recipe.weightByClass.{unknown}: {splits.name} has no class {unknown!r}; its classes are {listed}"
        raise ConfigurationError(message)
    return [float(weight_by_class.get(name, "1")) for name in classes]


def _judge_by(entrypoint: str, direction: str, task: Task, splits: Splits) -> Task:
    """The task with a custom metric, which was tried on some examples.

    Raises:
        ConfigurationError: the metric does not exist, or breaks its contract.
    """
    function, who = load_object(entrypoint, CUSTOM_METRIC_FIELD), f"{CUSTOM_METRIC_FIELD} {entrypoint}"
    wrapper = "def metric(outputs, targets):\n    return ...  # hand them on as the other function wants them"
    require_names(function, ("outputs", "targets"), who, wrapper, explicit=True)
    judged = CustomMetric(task, function, entrypoint, direction, scale_of(splits.targets))
    judged.check(next(iter(splits.selection(_TRIED_EXAMPLES))).targets_B)
    return judged

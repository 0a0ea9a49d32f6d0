"""Kinds of tasks: what a training minimises, what a search is judged by, and how both are put on one scale."""

from autohas_trainer.tasks._base import Floats, Measurement, Statistics, Task
from autohas_trainer.tasks.classification import Classification
from autohas_trainer.tasks.custom_loss import CustomLoss, CustomLossFunction
from autohas_trainer.tasks.custom_metric import CUSTOM_METRIC_FIELD, CustomMetric
from autohas_trainer.tasks.for_targets import any_metric_of, build_task_for, scale_of
from autohas_trainer.tasks.regression import Regression
from autohas_trainer.tasks.several_labels import SeveralLabels
from autohas_trainer.tasks.several_numbers import SeveralNumbers
from autohas_trainer.tasks.soft_labels import SoftLabels
from autohas_trainer.tasks.token_labels import TokenLabels

__all__ = [
    "CUSTOM_METRIC_FIELD",
    "Classification",
    "CustomLoss",
    "CustomLossFunction",
    "CustomMetric",
    "Floats",
    "Measurement",
    "Regression",
    "SeveralLabels",
    "SeveralNumbers",
    "SoftLabels",
    "Statistics",
    "Task",
    "TokenLabels",
    "any_metric_of",
    "build_task_for",
    "scale_of",
]

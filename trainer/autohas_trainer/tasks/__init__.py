"""Kinds of tasks: what a training minimises, what a search is judged by, and how both are put on one scale."""

from autohas_trainer.tasks._base import Measurement, Task
from autohas_trainer.tasks.classification import Classification
from autohas_trainer.tasks.custom_loss import CustomLoss, CustomLossFunction
from autohas_trainer.tasks.regression import Regression

__all__ = ["Classification", "CustomLoss", "CustomLossFunction", "Measurement", "Regression", "Task"]

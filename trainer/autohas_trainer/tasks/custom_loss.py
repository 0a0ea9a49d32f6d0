"""A task whose trainings minimise a loss of the user's; everything that is compared or rewarded stays the task's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from autohas_trainer.tasks._base import Task
from autohas_trainer.tasks.wrapped import WrappedTask

__all__ = ["CustomLoss", "CustomLossFunction"]


class CustomLossFunction(Protocol):
    """(outputs (B, K) or (B, T, K), targets (B, ...), custom hyperparameters) to losses (B,); called by name."""

    def __call__(self, *, outputs: Tensor, targets: Tensor, hyperparameters: Mapping[str, str]) -> Tensor:
        """The training loss of each example."""


class CustomLoss(WrappedTask):
    """`task` with another training loss."""

    def __init__(self, task: Task, loss: CustomLossFunction, values: Mapping[str, str]) -> None:
        """Bind the loss to one configuration's hyperparameters."""
        super().__init__(task)
        self._loss = loss
        self._values = values

    def training_losses(self, outputs_BK: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:  # noqa: ARG002 - refused before
        """The custom loss."""
        return self._loss(outputs=outputs_BK, targets=targets_B, hyperparameters=self._values)

"""A task whose trainings minimise a loss of the user's; everything that is compared or rewarded stays the task's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from autohas_trainer.tasks._base import Measurement, Task

__all__ = ["CustomLoss", "CustomLossFunction"]


class CustomLossFunction(Protocol):
    """(outputs (B, K), targets (B,), custom hyperparameters) to losses (B,); called by name."""

    def __call__(self, *, outputs: Tensor, targets: Tensor, hyperparameters: Mapping[str, str]) -> Tensor:
        """The training loss of each example."""


class CustomLoss:
    """`task` with another training loss."""

    def __init__(self, task: Task, loss: CustomLossFunction, values: Mapping[str, str]) -> None:
        """Bind the loss to one configuration's hyperparameters."""
        self._task = task
        self._loss = loss
        self._values = values

    @property
    def num_outputs(self) -> int:
        """As the task's."""
        return self._task.num_outputs

    @property
    def constant_loss(self) -> float:
        """As the task's."""
        return self._task.constant_loss

    @property
    def constant_quality(self) -> float:
        """As the task's."""
        return self._task.constant_quality

    def losses(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """As the task's."""
        return self._task.losses(outputs_BK, targets_B)

    def training_losses(self, outputs_BK: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:  # noqa: ARG002 - refused before
        """The custom loss."""
        return self._loss(outputs=outputs_BK, targets=targets_B, hyperparameters=self._values)

    def qualities(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """As the task's."""
        return self._task.qualities(outputs_BK, targets_B)

    def measure(self, outputs_NK: Tensor, targets_N: Tensor) -> Measurement:
        """As the task's."""
        return self._task.measure(outputs_NK, targets_N)

"""A task whose trainings minimise a loss of the user's; everything that is compared or rewarded stays the task's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from autohas_trainer.tasks._base import Measurement, Statistics, Task

__all__ = ["CustomLoss", "CustomLossFunction"]


class CustomLossFunction(Protocol):
    """(outputs (B, K) or (B, T, K), targets (B, ...), custom hyperparameters) to losses (B,); called by name."""

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
    def output_shape(self) -> tuple[int, ...]:
        """As the task's."""
        return self._task.output_shape

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

    def statistics(self, outputs_BK: Tensor, targets_B: Tensor) -> Statistics:
        """As the task's."""
        return self._task.statistics(outputs_BK, targets_B)

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """As the task's."""
        return self._task.summarise(statistics)

    def measure(self, outputs_NK: Tensor, targets_N: Tensor) -> Measurement:
        """As the task's."""
        return self._task.measure(outputs_NK, targets_N)

"""A task that does what another one does: the base of those that replace a part of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from autohas_trainer.tasks._base import Measurement, Statistics, Task

__all__ = ["WrappedTask"]


class WrappedTask(Task):
    """`task`, part by part."""

    def __init__(self, task: Task) -> None:
        """Wrap a task."""
        self._task = task

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

    def training_losses(self, outputs_BK: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:
        """As the task's."""
        return self._task.training_losses(outputs_BK, targets_B, label_smoothing)

    def qualities(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """As the task's."""
        return self._task.qualities(outputs_BK, targets_B)

    def statistics(self, outputs_BK: Tensor, targets_B: Tensor) -> Statistics:
        """As the task's."""
        return self._task.statistics(outputs_BK, targets_B)

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """As the task's."""
        return self._task.summarise(statistics)

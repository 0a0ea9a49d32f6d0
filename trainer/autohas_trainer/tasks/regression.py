"""Regression: squared error of one number; judged by rmse or mae in the target's own unit, or by r2.

Networks learn the standardised target (mean 0, deviation 1 over the train split), so that a learning rate means the same on any unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.tasks._base import Floats, Measurement, Statistics, Task, join

__all__ = ["Regression"]


class Regression(Task):
    """The task of estimating one number."""

    def __init__(self, metric: str, train_targets_N: npt.NDArray[Any]) -> None:
        """Fix the scale by the train split's targets.

        Args:
            metric: rmse, mae or r2.
            train_targets_N: Training targets in their unit, not all equal.
        """
        targets_N = train_targets_N.astype(np.float64)
        self._metric = metric
        self._deviation = float(targets_N.std())
        self._constant_error = float(np.abs(targets_N - np.median(targets_N)).mean()) / self._deviation

    @property
    def num_outputs(self) -> int:
        """One number."""
        return 1

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(1,)."""
        return (1,)

    @property
    def constant_loss(self) -> float:
        """The variance of the standardised target."""
        return 1.0

    @property
    def constant_quality(self) -> float:
        """0 by definition."""
        return 0.0

    def losses(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """Squared error of the standardised target."""
        return (outputs_BK.squeeze(1).float() - targets_B).square()

    def training_losses(self, outputs_BK: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:
        """The same: the contract refuses label smoothing where there are no classes."""
        if label_smoothing != 0:
            raise ValueError("a regression has no labels to smooth")
        return self.losses(outputs_BK, targets_B)

    def qualities(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """1 - squared error / variance for rmse and r2 (their mean is R²), 1 - error / error of the median for mae."""
        error_B = outputs_BK.squeeze(1).float() - targets_B
        return 1 - (error_B.abs() / self._constant_error if self._metric == "mae" else error_B.square())

    def statistics(self, outputs_BK: Tensor, targets_B: Tensor) -> Statistics:
        """The standardised error and target of each example."""
        targets_B = targets_B.double()
        return (outputs_BK.squeeze(1).double() - targets_B).cpu().numpy(), targets_B.cpu().numpy()

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """The metric in the target's unit; r2 has none."""
        errors_N, targets_N = (torch.from_numpy(part) for part in join(statistics))
        is_absolute = self._metric == "mae"
        contributions_N: Floats = (1 - (errors_N.abs() / self._constant_error if is_absolute else errors_N.square())).numpy()
        if self._metric == "r2":
            value = _determination(errors_N.numpy(), targets_N.numpy())
        else:
            value = float(errors_N.abs().mean() if is_absolute else torch.sqrt(errors_N.square().mean())) * self._deviation
        return Measurement(value=value, quality=float(contributions_N.mean()), contributions_N=contributions_N)


def _determination(errors_N: Floats, targets_N: Floats) -> float:
    """R² by the variance of these targets; of equal targets, 1 without an error and 0 with one (as scikit-learn's)."""
    spread = float(np.square(targets_N - targets_N.mean()).sum())
    error = float(np.square(errors_N).sum())
    return 1 - error / spread if spread > 0 else float(error == 0)

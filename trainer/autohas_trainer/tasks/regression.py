"""Regression: squared error of one number; judged by rmse or mae in the target's own unit.

Networks learn the standardised target (mean 0, deviation 1 over the train split), so that a learning rate means the same on any unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.tasks._base import Floats, Measurement

__all__ = ["Regression"]


class Regression:
    """The task of estimating one number."""

    def __init__(self, metric: str, train_targets_N: npt.NDArray[Any]) -> None:
        """Fix the scale by the train split's targets.

        Args:
            metric: rmse or mae.
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
        """1 - squared error / variance for rmse (their mean is R²), 1 - error / error of the median for mae."""
        error_B = outputs_BK.squeeze(1).float() - targets_B
        return 1 - (error_B.square() if self._metric == "rmse" else error_B.abs() / self._constant_error)

    def measure(self, outputs_NK: Tensor, targets_N: Tensor) -> Measurement:
        """The metric in the target's unit."""
        error_N = (outputs_NK.squeeze(1).double() - targets_N.double()).cpu()
        squared = self._metric == "rmse"
        contributions_N: Floats = (1 - (error_N.square() if squared else error_N.abs() / self._constant_error)).numpy()
        value = torch.sqrt(error_N.square().mean()) if squared else error_N.abs().mean()
        return Measurement(value=float(value) * self._deviation, quality=float(contributions_N.mean()), contributions_N=contributions_N)

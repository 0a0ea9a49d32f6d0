"""Several numbers per example, in one unit: squared error, the mean over those that are given (NaN is none); judged by rmse, mae or r2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from autohas_trainer.tasks._base import Measurement, Statistics, Task, join

__all__ = ["SeveralNumbers"]


class SeveralNumbers(Task):
    """The task of estimating D numbers: outputs (B, ...) and targets (B, ...) of one shape. Networks learn the standardised numbers.

    An example counts by the mean over its numbers, so rmse is the root of the mean of these means; r2 weighs each number alike.
    """

    def __init__(self, metric: str, train_targets_N: npt.NDArray[Any]) -> None:
        """Fix the scale by the train split's targets (N, ...): one mean and one deviation for all of them."""
        targets_N = train_targets_N.astype(np.float64)
        self._metric = metric
        self._shape: tuple[int, ...] = targets_N.shape[1:]
        self._deviation = float(np.nanstd(targets_N))
        standardised_ND = ((targets_N - np.nanmean(targets_N)) / self._deviation).reshape(len(targets_N), -1)
        self._constant_loss = float(np.nanmean(np.square(standardised_ND), axis=1).mean())
        self._constant_error = float(np.nanmean(np.abs(standardised_ND - np.nanmedian(standardised_ND)), axis=1).mean())

    @property
    def num_outputs(self) -> int:
        """D, the size of the last dimension."""
        return self._shape[-1]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """As the targets of one example."""
        return self._shape

    @property
    def constant_loss(self) -> float:
        """The mean square of the standardised targets: 1 but for the weights of what is not given."""
        return self._constant_loss

    @property
    def constant_quality(self) -> float:
        """0 by definition."""
        return 0.0

    def losses(self, outputs_B: Tensor, targets_B: Tensor) -> Tensor:
        """Squared error of the standardised numbers, the mean over those that are given."""
        return _mean(_errors(outputs_B, targets_B).square(), targets_B)

    def training_losses(self, outputs_B: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:
        """The same: the contract refuses label smoothing where there are no classes."""
        if label_smoothing != 0:
            raise ValueError("a regression has no labels to smooth")
        return self.losses(outputs_B, targets_B)

    def qualities(self, outputs_B: Tensor, targets_B: Tensor) -> Tensor:
        """1 - squared error / that of a constant for rmse and r2, 1 - error / error of the median for mae."""
        if self._metric == "mae":
            return 1 - _mean(_errors(outputs_B, targets_B).abs(), targets_B) / self._constant_error
        return 1 - self.losses(outputs_B, targets_B) / self._constant_loss

    def statistics(self, outputs_B: Tensor, targets_B: Tensor) -> Statistics:
        """Of each example: mean square and mean size of the error; sums over its numbers of square error, target and its square; count."""
        targets_B = targets_B.double()
        errors_B = _errors(outputs_B.double(), targets_B)
        targets_BD = targets_B.nan_to_num(nan=0.0).flatten(1)
        sums = (errors_B.square().flatten(1), targets_BD, targets_BD.square(), (~targets_B.isnan()).double().flatten(1))
        means = (_mean(errors_B.square(), targets_B), _mean(errors_B.abs(), targets_B))
        return tuple(part.cpu().numpy() for part in (*means, *(part.sum(dim=1) for part in sums)))

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """The metric in the targets' unit; r2 has none."""
        squares_N, sizes_N, errors_N, targets_N, targets_squared_N, counts_N = join(statistics)
        is_absolute = self._metric == "mae"
        contributions_N = 1 - (sizes_N / self._constant_error if is_absolute else squares_N / self._constant_loss)
        if self._metric == "r2":
            spread = targets_squared_N.sum() - targets_N.sum() ** 2 / counts_N.sum()
            value = 1 - float(errors_N.sum() / spread) if spread > 0 else float(errors_N.sum() == 0)
        else:
            value = float(sizes_N.mean() if is_absolute else np.sqrt(squares_N.mean())) * self._deviation
        return Measurement(value=value, quality=float(contributions_N.mean()), contributions_N=contributions_N)


def _errors(outputs_B: Tensor, targets_B: Tensor) -> Tensor:
    """Output minus target, 0 where no target is given."""
    return (outputs_B - targets_B.nan_to_num(nan=0.0)) * ~targets_B.isnan()


def _mean(values_B: Tensor, targets_B: Tensor) -> Tensor:
    """The mean of each example over the numbers that are given; 0 where none is."""
    return values_B.flatten(1).sum(dim=1) / (~targets_B.isnan()).flatten(1).sum(dim=1).clamp(min=1)

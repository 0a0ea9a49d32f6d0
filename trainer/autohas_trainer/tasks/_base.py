"""What a task is: loss, metric and quality of one kind of targets.

Quality is what rewards and comparisons use: higher is better, 1 is perfect. Ours: accuracy as it is (so are
f1, auc and top5), R² for regression, 1 - loss / loss of a constant otherwise.

Shape letters: N examples of a split, B of a batch, K outputs of the network, T positions of a sequence. Where an example has several
targets (tokens, labels, numbers), its loss is the mean over those that are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

__all__ = ["Floats", "Measurement", "Statistics", "Task", "join"]

Floats = npt.NDArray[np.float64]
Statistics = tuple[npt.NDArray[Any], ...]
"""What a metric needs of each example of a batch: arrays (B, ...) in the host's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A metric over a whole split.

    Attributes:
        value: The metric in its own unit.
        quality: The same on the scale of rewards.
        contributions_N: What each example adds: their mean is the quality (f1, auc: to first order), so the standard error of a
            difference between two networks on the same examples is that of the mean of paired differences.
    """

    value: float
    quality: float
    contributions_N: Floats


class Task(Protocol):
    """One kind of targets with the metric that judges it. Those here inherit it, for `measure`."""

    @property
    def num_outputs(self) -> int:
        """K: what the network's last layer must give."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the outputs of one example: (K,), or (T, K)."""

    @property
    def constant_loss(self) -> float:
        """Mean loss of the best constant answer on the training examples; greater than 0."""

    @property
    def constant_quality(self) -> float:
        """Quality of the best constant answer: what a network that knows nothing reaches."""

    def losses(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """Return the loss of each example, float32 (B,); differentiable."""

    def training_losses(self, outputs_BK: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:
        """Return what a training minimises, float32 (B,): `losses`, but with labels smoothed where there are classes."""

    def qualities(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """Return the reward of each example, float32 (B,); nothing waits for the device.

        Metrics that are no mean over examples (f1, auc) are too noisy on one batch: their reward is the loss against a constant's.
        """

    def statistics(self, outputs_BK: Tensor, targets_B: Tensor) -> Statistics:
        """Return what `summarise` needs of one batch; a few numbers per example, for auc its K probabilities."""

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """Return the metric over a whole split by the statistics of its batches; outputs must have been finite."""

    def measure(self, outputs_NK: Tensor, targets_N: Tensor) -> Measurement:
        """Return the metric over outputs that are all there."""
        return self.summarise([self.statistics(outputs_NK, targets_N)])


def join(statistics: Sequence[Statistics]) -> Statistics:
    """Return the statistics of all batches as one: arrays (N, ...)."""
    return tuple(np.concatenate(parts) for parts in zip(*statistics, strict=True))

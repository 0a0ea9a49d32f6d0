"""Soft labels: each example has a share of every class, such as votes; judged by accuracy, top5, log_loss or perplexity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from autohas_trainer.tasks._base import Floats, Measurement, Statistics, Task, join
from autohas_trainer.tasks.classification import constant_hits, entropy, is_among_top, measure_hits, measure_losses

__all__ = ["SoftLabels"]


class SoftLabels(Task):
    """The task of giving the shares of K classes: outputs (B, K), targets (B, K) whose rows add up to 1.

    For accuracy and top5 the right answer is the class with the largest share.
    """

    def __init__(self, metric: str, train_targets_NK: Floats) -> None:
        """Fix the scale by the mean shares of the train split.

        Args:
            metric: accuracy, top5, log_loss (cross-entropy against the shares, nats) or perplexity.
            train_targets_NK: Training targets.
        """
        self._metric = metric
        self._num_outputs: int = train_targets_NK.shape[1]
        winners_K = np.bincount(train_targets_NK.argmax(axis=1), minlength=self._num_outputs)
        self._constant_hits = constant_hits(winners_K.astype(np.float64))
        self._prior_entropy = entropy(train_targets_NK.sum(axis=0, dtype=np.float64))

    @property
    def num_outputs(self) -> int:
        """K, the number of classes."""
        return self._num_outputs

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(K,)."""
        return (self._num_outputs,)

    @property
    def constant_loss(self) -> float:
        """Entropy of the mean shares: the loss of always answering them."""
        return self._prior_entropy

    @property
    def constant_quality(self) -> float:
        """The share of the commonest class for accuracy, of five for top5, else 0."""
        return self._constant_hits.get(self._metric, 0.0)

    def losses(self, outputs_BK: Tensor, targets_BK: Tensor) -> Tensor:
        """Cross-entropy against the shares, in nats."""
        return self.training_losses(outputs_BK, targets_BK, 0.0)

    def training_losses(self, outputs_BK: Tensor, targets_BK: Tensor, label_smoothing: float) -> Tensor:
        """The same against (1 - s)·shares + s / K."""
        return functional.cross_entropy(outputs_BK.float(), targets_BK, label_smoothing=label_smoothing, reduction="none")

    def qualities(self, outputs_BK: Tensor, targets_BK: Tensor) -> Tensor:
        """Whether the answer is the class with the largest share, for accuracy and top5; otherwise 1 - loss / loss of a constant."""
        if self._metric in self._constant_hits:
            return self._hits(outputs_BK, targets_BK).float()
        return 1 - self.losses(outputs_BK, targets_BK) / self._prior_entropy

    def statistics(self, outputs_BK: Tensor, targets_BK: Tensor) -> Statistics:
        """The hit or the loss of each example."""
        if self._metric in self._constant_hits:
            return (self._hits(outputs_BK, targets_BK).double().cpu().numpy(),)
        return (self.losses(outputs_BK, targets_BK).double().cpu().numpy(),)

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """The mean over examples, or its exponential for perplexity."""
        (first_N,) = join(statistics)
        if self._metric in self._constant_hits:
            return measure_hits(first_N)
        return measure_losses(first_N, self._prior_entropy, is_perplexity=self._metric == "perplexity")

    def _hits(self, outputs_BK: Tensor, targets_BK: Tensor) -> Tensor:
        winners_B = targets_BK.argmax(dim=1)
        return outputs_BK.argmax(dim=1) == winners_B if self._metric == "accuracy" else is_among_top(outputs_BK, winners_B)

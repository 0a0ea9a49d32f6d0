"""A class for each position of a sequence, or for each pixel: cross-entropy over K classes at T positions, some of which may have none.

Judged by accuracy, top5, log_loss, perplexity or bpb (bits per byte). An example counts by the mean over its positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional

from autohas_trainer.data.targets import IGNORED
from autohas_trainer.tasks._base import Measurement, Statistics, Task, join
from autohas_trainer.tasks.classification import constant_hits, entropy, is_among_top, measure_hits, measure_losses

__all__ = ["TokenLabels"]

_BIT = math.log(2)


class TokenLabels(Task):
    """The task of naming one of K classes at every position: outputs (B, T, K), targets (B, T) in [0, K), or `IGNORED`."""

    def __init__(self, metric: str, class_counts: Sequence[int], shape: tuple[int, ...], bytes_per_target: float | None) -> None:
        """Fix the scale by the class counts of the train split.

        Args:
            metric: accuracy, top5, log_loss (nats per target), perplexity or bpb.
            class_counts: Training targets per class.
            shape: Of the targets of one example: (T,), or more dimensions.
            bytes_per_target: Bytes of text that a token stands for on average; bpb needs it.
        """
        counts_K: npt.NDArray[np.float64] = np.asarray(class_counts, dtype=np.float64)
        self._metric = metric
        self._shape = shape
        self._unit = _BIT * (bytes_per_target or math.nan) if metric == "bpb" else 1.0
        self._num_outputs = len(counts_K)
        self._constant_hits = constant_hits(counts_K)
        self._prior_entropy = entropy(counts_K)

    @property
    def num_outputs(self) -> int:
        """K, the number of classes."""
        return self._num_outputs

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(T, K)."""
        return (*self._shape, self._num_outputs)

    @property
    def constant_loss(self) -> float:
        """Entropy of the class frequencies: the loss of always answering them."""
        return self._prior_entropy

    @property
    def constant_quality(self) -> float:
        """The share of the commonest class for accuracy, of five for top5, else 0."""
        return self._constant_hits.get(self._metric, 0.0)

    def losses(self, outputs_BTK: Tensor, targets_BT: Tensor) -> Tensor:
        """Cross-entropy in nats, the mean over the positions that have a target."""
        return self.training_losses(outputs_BTK, targets_BT, 0.0)

    def training_losses(self, outputs_BTK: Tensor, targets_BT: Tensor, label_smoothing: float) -> Tensor:
        """The same against (1 - s)·onehot + s / K."""
        losses = functional.cross_entropy(
            outputs_BTK.reshape(-1, self._num_outputs),
            targets_BT.reshape(-1),
            label_smoothing=label_smoothing,
            ignore_index=IGNORED,
            reduction="none",
        )
        return _mean_over_parts(losses.reshape(targets_BT.shape), targets_BT)

    def qualities(self, outputs_BTK: Tensor, targets_BT: Tensor) -> Tensor:
        """The share of hits, for accuracy and top5; otherwise 1 - loss / loss of a constant."""
        if self._metric in self._constant_hits:
            return self._hits(outputs_BTK, targets_BT)
        return 1 - self.losses(outputs_BTK, targets_BT).float() / self._prior_entropy

    def statistics(self, outputs_BTK: Tensor, targets_BT: Tensor) -> Statistics:
        """The share of hits or the mean loss of each example."""
        if self._metric in self._constant_hits:
            return (self._hits(outputs_BTK, targets_BT).double().cpu().numpy(),)
        return (self.losses(outputs_BTK.float(), targets_BT).double().cpu().numpy(),)

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """The mean over examples, or its exponential for perplexity."""
        (first_N,) = join(statistics)
        if self._metric in self._constant_hits:
            return measure_hits(first_N)
        return measure_losses(first_N, self._prior_entropy, is_perplexity=self._metric == "perplexity", unit=self._unit)

    def _hits(self, outputs_BTK: Tensor, targets_BT: Tensor) -> Tensor:
        is_hit = outputs_BTK.argmax(dim=-1) == targets_BT if self._metric == "accuracy" else is_among_top(outputs_BTK, targets_BT)
        return _mean_over_parts(is_hit.float(), targets_BT)


def _mean_over_parts(values_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """The mean of each example over its positions that have a target; 0 where none has."""
    is_given_BT = (targets_BT != IGNORED).flatten(1)
    return (values_BT.flatten(1) * is_given_BT).sum(dim=1) / is_given_BT.sum(dim=1).clamp(min=1)

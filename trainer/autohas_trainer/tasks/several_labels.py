"""Several labels per example, each of which is right or not: binary cross-entropy of K outputs; judged by accuracy, f1, auc or log_loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from autohas_trainer.tasks._base import Floats, Measurement, Statistics, Task, join
from autohas_trainer.tasks.classification import measure_hits, measure_losses
from autohas_trainer.tasks.macro import auc_of_labels, f1_of_labels

__all__ = ["SeveralLabels"]


class SeveralLabels(Task):
    """The task of saying for each of K labels whether it applies: outputs (B, K), targets (B, K) of 0 and 1."""

    def __init__(self, metric: str, train_targets_NK: npt.NDArray[np.bool_]) -> None:
        """Fix the scale by the frequency of each label in the train split.

        Args:
            metric: accuracy (share of the N·K answers that are right), f1, auc (both the mean over labels) or log_loss (nats per label).
            train_targets_NK: Training targets.
        """
        shares_K = train_targets_NK.mean(axis=0, dtype=np.float64)
        self._metric = metric
        self._num_outputs: int = train_targets_NK.shape[1]
        self._constant_hits = float(np.maximum(shares_K, 1 - shares_K).mean())
        self._prior_entropy = float(_binary_entropy(shares_K).mean())

    @property
    def num_outputs(self) -> int:
        """K, the number of labels."""
        return self._num_outputs

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(K,)."""
        return (self._num_outputs,)

    @property
    def constant_loss(self) -> float:
        """The mean over labels of the entropy of their frequency."""
        return self._prior_entropy

    @property
    def constant_quality(self) -> float:
        """What always answering the commoner side reaches for accuracy, else 0."""
        return self._constant_hits if self._metric == "accuracy" else 0.0

    def losses(self, outputs_BK: Tensor, targets_BK: Tensor) -> Tensor:
        """Binary cross-entropy in nats, the mean over the labels."""
        return self.training_losses(outputs_BK, targets_BK, 0.0)

    def training_losses(self, outputs_BK: Tensor, targets_BK: Tensor, label_smoothing: float) -> Tensor:
        """The same against (1 - s)·target + s / 2."""
        smoothed_BK = targets_BK * (1 - label_smoothing) + label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(outputs_BK.float(), smoothed_BK, reduction="none").mean(dim=1)

    def qualities(self, outputs_BK: Tensor, targets_BK: Tensor) -> Tensor:
        """The share of right answers, for accuracy; otherwise 1 - loss / loss of a constant."""
        if self._metric == "accuracy":
            return ((outputs_BK > 0) == (targets_BK > 0)).float().mean(dim=1)
        return 1 - self.losses(outputs_BK, targets_BK) / self._prior_entropy

    def statistics(self, outputs_BK: Tensor, targets_BK: Tensor) -> Statistics:
        """Shares of hits, losses, answers with labels, or probabilities with labels: what the metric needs."""
        is_label_BK = (targets_BK > 0).cpu().numpy()
        match self._metric:
            case "accuracy":
                return (((outputs_BK > 0).cpu().numpy() == is_label_BK).mean(axis=1, dtype=np.float64),)
            case "f1":
                return (outputs_BK > 0).cpu().numpy(), is_label_BK
            case "auc":
                return outputs_BK.double().sigmoid().cpu().numpy(), is_label_BK
            case _:
                return (self.losses(outputs_BK, targets_BK).double().cpu().numpy(),)

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """The metric: the mean over examples, or for f1 and auc over labels."""
        first_N, *rest = join(statistics)
        match self._metric:
            case "accuracy":
                return measure_hits(first_N)
            case "f1":
                return f1_of_labels(first_N, rest[0])
            case "auc":
                return auc_of_labels(first_N, rest[0])
            case _:
                return measure_losses(first_N, self._prior_entropy, is_perplexity=False)


def _binary_entropy(shares_K: Floats) -> Floats:
    """Entropy in nats of each frequency."""
    shares = torch.from_numpy(shares_K)
    entropies: Floats = -(torch.xlogy(shares, shares) + torch.xlogy(1 - shares, 1 - shares)).numpy()
    return entropies

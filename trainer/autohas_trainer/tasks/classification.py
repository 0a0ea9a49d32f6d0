"""Classification: cross-entropy over classes; judged by accuracy, f1, auc or log_loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autohas_trainer.tasks._base import Floats, Measurement
from autohas_trainer.tasks.macro import auc_contributions, f1_contributions

__all__ = ["Classification"]


class Classification:
    """The task of naming one of K classes."""

    def __init__(self, metric: str, class_counts: Sequence[int], *, balanced: bool, device: torch.device) -> None:
        """Fix the scale by the class counts of the train split.

        Args:
            metric: accuracy, f1 (macro), auc (macro, one class against the rest) or log_loss (nats).
            class_counts: Training examples per class.
            balanced: Weigh each class by N / (K · its count), so that all classes matter alike to the loss (not to the metric).
            device: Where losses are computed.
        """
        counts_K = np.asarray(class_counts, dtype=np.float64)
        self._metric = metric
        self._weights_K = _balanced_weights(counts_K) if balanced else np.ones(len(counts_K))
        self._class_weights = torch.tensor(self._weights_K, dtype=torch.float32, device=device) if balanced else None
        self._commonest_share = float(counts_K.max() / counts_K.sum())
        self._prior_entropy = _entropy(counts_K)
        self._constant_loss = _entropy(counts_K * self._weights_K) * float((counts_K * self._weights_K).sum() / counts_K.sum())

    @property
    def num_outputs(self) -> int:
        """K, the number of classes."""
        return len(self._weights_K)

    @property
    def constant_loss(self) -> float:
        """Loss of always answering the (weighted) class frequencies: ln K when classes are balanced."""
        return self._constant_loss

    @property
    def constant_quality(self) -> float:
        """The share of the commonest class for accuracy, 0 for what is measured against a constant."""
        return self._commonest_share if self._metric == "accuracy" else 0.0

    def losses(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """Cross-entropy in nats, times the weight of the class."""
        return self.training_losses(outputs_BK, targets_B, 0.0)

    def training_losses(self, outputs_BK: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy against (1 - s)·onehot + s / K, times the weights of the classes."""
        return functional.cross_entropy(
            outputs_BK, targets_B, weight=self._class_weights, label_smoothing=label_smoothing, reduction="none"
        )

    def qualities(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """Whether the answer is correct, for accuracy; otherwise 1 - loss / loss of a constant."""
        if self._metric == "accuracy":
            return (outputs_BK.argmax(dim=1) == targets_B).float()
        return 1 - self.losses(outputs_BK, targets_B).float() / self._constant_loss

    def measure(self, outputs_NK: Tensor, targets_N: Tensor) -> Measurement:
        """The metric, by scikit-learn but for accuracy, which needs none."""
        logits_NK = outputs_NK.double().cpu()
        labels_N = targets_N.cpu().numpy()
        match self._metric:
            case "accuracy":
                hits_N: Floats = (logits_NK.argmax(dim=1).numpy() == labels_N).astype(np.float64)
                value = float(hits_N.mean())
                return Measurement(value=value, quality=value, contributions_N=hits_N)
            case "f1":
                return f1_contributions(logits_NK.argmax(dim=1).numpy(), labels_N, self.num_outputs)
            case "auc":
                return auc_contributions(logits_NK.softmax(dim=1).numpy(), labels_N)
            case _:
                loss_N: Floats = functional.cross_entropy(logits_NK, targets_N.cpu(), reduction="none").numpy()
                contributions_N = 1 - loss_N / self._prior_entropy
                return Measurement(value=float(loss_N.mean()), quality=float(contributions_N.mean()), contributions_N=contributions_N)


def _balanced_weights(counts_K: Floats) -> Floats:
    """N / (K · count), 0 for a class without examples (scikit-learn's "balanced")."""
    present_K = counts_K > 0
    weights_K = np.zeros_like(counts_K)
    weights_K[present_K] = counts_K.sum() / (present_K.sum() * counts_K[present_K])
    return weights_K


def _entropy(amounts_K: Floats) -> float:
    """Entropy in nats of a distribution given by amounts."""
    shares = amounts_K[amounts_K > 0] / amounts_K.sum()
    return float(-(shares * np.log(shares)).sum())

"""Classification: cross-entropy over classes; judged by accuracy, top5, f1, auc, log_loss or perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autohas_trainer.tasks._base import Floats, Measurement, Statistics, Task, join
from autohas_trainer.tasks.macro import auc_contributions, f1_contributions

__all__ = ["TOP", "Classification", "constant_hits", "entropy", "is_among_top", "measure_hits", "measure_losses"]

TOP: Final = 5
_LARGEST_LOSS: Final = 700.0
"""Nats. Its exponential is the largest power of e^100 that a float holds."""


class Classification(Task):
    """The task of naming one of K classes."""

    def __init__(
        self,
        metric: str,
        class_counts: Sequence[int],
        *,
        balanced: bool,
        weights: Sequence[float] | None = None,
        device: torch.device,
    ) -> None:
        """Fix the scale by the class counts of the train split.

        Args:
            metric: accuracy, top5, f1 (macro), auc (macro, one class against the rest), log_loss (nats) or perplexity (its exponential).
            class_counts: Training examples per class.
            balanced: Weigh each class by N / (K · its count), so that all classes matter alike to the loss (not to the metric).
            weights: Of each class in the loss, greater than 0; only their ratios matter. None: as `balanced` says.
            device: Where losses are computed.
        """
        counts_K = np.asarray(class_counts, dtype=np.float64)
        self._metric = metric
        self._weights_K = _balanced_weights(counts_K) if balanced else np.ones(len(counts_K))
        if weights is not None:
            self._weights_K = np.asarray(weights) * (
                counts_K.sum() / (counts_K @ np.asarray(weights))
            )  # 1 for a training example on average
        is_weighed = balanced or weights is not None
        self._class_weights = torch.tensor(self._weights_K, dtype=torch.float32, device=device) if is_weighed else None
        self._has_weighted_mean = weights is not None
        self._constant_hits = constant_hits(counts_K)
        self._prior_entropy = entropy(counts_K)
        self._constant_loss = entropy(counts_K * self._weights_K) * float((counts_K * self._weights_K).sum() / counts_K.sum())

    @property
    def num_outputs(self) -> int:
        """K, the number of classes."""
        return len(self._weights_K)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(K,)."""
        return (self.num_outputs,)

    @property
    def constant_loss(self) -> float:
        """Loss of always answering the (weighted) class frequencies: ln K when classes are balanced."""
        return self._constant_loss

    @property
    def constant_quality(self) -> float:
        """The share of the commonest class for accuracy, of five for top5, 0 for what is measured against a constant."""
        return self._constant_hits.get(self._metric, 0.0)

    def losses(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """Cross-entropy in nats, times the weight of the class."""
        return self._weigh(outputs_BK, targets_B, 0.0)

    def training_losses(self, outputs_BK: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy against (1 - s)·onehot + s / K, times the weights of the classes.

        With weights that the search gives, the mean of the losses is the weighted mean Σ w·l / Σ w over the batch, that of torch's
        `CrossEntropyLoss(weight, label_smoothing)`.
        """
        losses_B = self._weigh(outputs_BK, targets_B, label_smoothing)
        if not self._has_weighted_mean or self._class_weights is None:
            return losses_B
        return losses_B / self._class_weights.index_select(0, targets_B).mean()

    def _weigh(self, outputs_BK: Tensor, targets_B: Tensor, label_smoothing: float) -> Tensor:
        return functional.cross_entropy(
            outputs_BK, targets_B, weight=self._class_weights, label_smoothing=label_smoothing, reduction="none"
        )

    def qualities(self, outputs_BK: Tensor, targets_B: Tensor) -> Tensor:
        """Whether the answer is correct, for accuracy and top5; otherwise 1 - loss / loss of a constant."""
        if self._metric == "accuracy":
            return (outputs_BK.argmax(dim=1) == targets_B).float()
        if self._metric == "top5":
            return is_among_top(outputs_BK, targets_B).float()
        return 1 - self.losses(outputs_BK, targets_B).float() / self._constant_loss

    def statistics(self, outputs_BK: Tensor, targets_B: Tensor) -> Statistics:
        """Hits, losses, answers with labels, or probabilities with labels: what the metric needs."""
        logits_BK, labels_B = outputs_BK.double().cpu(), targets_B.cpu()
        match self._metric:
            case "accuracy":
                return ((logits_BK.argmax(dim=1) == labels_B).numpy().astype(np.float64),)
            case "top5":
                return (is_among_top(logits_BK, labels_B).numpy().astype(np.float64),)
            case "f1":
                return logits_BK.argmax(dim=1).numpy(), labels_B.numpy()
            case "auc":
                return logits_BK.softmax(dim=1).numpy(), labels_B.numpy()
            case _:
                return (functional.cross_entropy(logits_BK, labels_B, reduction="none").numpy(),)

    def summarise(self, statistics: Sequence[Statistics]) -> Measurement:
        """The metric, by scikit-learn where it is no mean over examples."""
        first_N, *rest = join(statistics)
        match self._metric:
            case "accuracy" | "top5":
                return measure_hits(first_N)
            case "f1":
                return f1_contributions(first_N, rest[0], self.num_outputs)
            case "auc":
                return auc_contributions(first_N, rest[0])
            case _:
                return measure_losses(first_N, self._prior_entropy, is_perplexity=self._metric == "perplexity")


def is_among_top(outputs_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Whether each label (...) is among the five largest of its outputs (..., K)."""
    return (outputs_BK.topk(min(TOP, outputs_BK.shape[-1]), dim=-1).indices == labels_B.unsqueeze(-1)).any(dim=-1)


def constant_hits(amounts_K: Floats) -> dict[str, float]:
    """The accuracy and the top5 of a constant answer, by how much there is of each class."""
    largest_K = np.sort(amounts_K)
    return {"accuracy": float(largest_K[-1] / amounts_K.sum()), "top5": float(largest_K[-TOP:].sum() / amounts_K.sum())}


def measure_hits(hits_N: Floats) -> Measurement:
    """The share of hits, which is the quality too."""
    share = float(hits_N.mean())
    return Measurement(value=share, quality=share, contributions_N=hits_N)


def measure_losses(losses_N: Floats, constant_loss: float, *, is_perplexity: bool, unit: float = 1.0) -> Measurement:
    """The mean loss in a unit (nats: 1), or its exponential; the quality is 1 - loss / loss of a constant."""
    contributions_N = 1 - losses_N / constant_loss
    mean = float(losses_N.mean())
    value = math.exp(min(mean, _LARGEST_LOSS)) if is_perplexity else mean / unit
    return Measurement(value=value, quality=float(contributions_N.mean()), contributions_N=contributions_N)


def _balanced_weights(counts_K: Floats) -> Floats:
    """N / (K · count), 0 for a class without examples (scikit-learn's "balanced")."""
    present_K = counts_K > 0
    weights_K = np.zeros_like(counts_K)
    weights_K[present_K] = counts_K.sum() / (present_K.sum() * counts_K[present_K])
    return weights_K


def entropy(amounts_K: Floats) -> float:
    """Entropy in nats of a distribution given by amounts."""
    shares = amounts_K[amounts_K > 0] / amounts_K.sum()
    return float(-(shares * np.log(shares)).sum())

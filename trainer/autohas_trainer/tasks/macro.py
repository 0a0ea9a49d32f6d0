"""Metrics that are no mean over examples, macro f1 and macro auc, with what each example contributes to first order.

For a statistic T of the empirical distribution, T + its influence at example i has mean T, and the variance of its mean is that of T
by the delta method (for auc this is DeLong's variance). So a difference of two networks has the standard error of paired differences.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autohas_trainer.tasks._base import Floats, Measurement

__all__ = ["auc_contributions", "auc_of_labels", "f1_contributions", "f1_of_labels"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def f1_contributions(answers_N: Ints, labels_N: Ints, num_classes: int) -> Measurement:
    """Macro f1 over the classes that occur, among labels or answers.

    Per class f = 2t / (p + l) with the shares t of hits, p of answers and l of labels; influence (2·hit - f·(answer + label)) / (p + l).
    """
    from sklearn.metrics import f1_score  # noqa: PLC0415 - seconds long, and other metrics do without

    influence_N = np.zeros(len(labels_N))
    occurring = [label for label in range(num_classes) if (labels_N == label).any() or (answers_N == label).any()]
    for label in occurring:
        answered_N, labelled_N = (answers_N == label).astype(np.float64), (labels_N == label).astype(np.float64)
        amount = answered_N.mean() + labelled_N.mean()
        f1 = 2 * (answered_N * labelled_N).mean() / amount
        influence_N += (2 * answered_N * labelled_N - f1 * (answered_N + labelled_N)) / amount
    value = float(f1_score(labels_N, answers_N, average="macro", zero_division=0.0))
    return Measurement(value=value, quality=value, contributions_N=value + influence_N / len(occurring))


def auc_contributions(probabilities_NK: Floats, labels_N: Ints) -> Measurement:
    """Area under the ROC curve: of class 1 when there are two classes, else the mean over classes of each against the rest.

    Classes that do not occur, or that alone occur, have no curve and do not count.
    """
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - seconds long, and other metrics do without

    num_classes = probabilities_NK.shape[1]
    positives = [1] if num_classes == 2 else range(num_classes)  # noqa: PLR2004 - both classes have the same curve
    areas, influence_N = [], np.zeros(len(labels_N))
    for label in positives:
        positive_N = labels_N == label
        if positive_N.any() and not positive_N.all():
            area = float(roc_auc_score(positive_N, probabilities_NK[:, label]))
            areas.append(area)
            influence_N += _auc_influence(probabilities_NK[:, label], positive_N, area)
    if not areas:  # no pair to put in order: as good as a coin
        return Measurement(value=0.5, quality=0.5, contributions_N=np.full(len(labels_N), 0.5))
    value = float(np.mean(areas))
    return Measurement(value=value, quality=value, contributions_N=value + influence_N / len(areas))


def f1_of_labels(is_answer_NK: Bools, is_label_NK: Bools) -> Measurement:
    """Mean f1 over the K labels that occur, among labels or answers; the influence of an example is as in `f1_contributions`."""
    hits_K, answers_K, labels_K = (part.mean(axis=0, dtype=np.float64) for part in (is_answer_NK & is_label_NK, is_answer_NK, is_label_NK))
    occurs_K = answers_K + labels_K > 0
    amounts_K = np.where(occurs_K, answers_K + labels_K, 1.0)
    f1_K = 2 * hits_K / amounts_K
    influence_NK = (2.0 * (is_answer_NK & is_label_NK) - f1_K * (is_answer_NK.astype(np.float64) + is_label_NK)) / amounts_K
    number = max(1, int(occurs_K.sum()))
    value = float(f1_K[occurs_K].sum()) / number
    return Measurement(value=value, quality=value, contributions_N=value + influence_NK[:, occurs_K].sum(axis=1) / number)


def auc_of_labels(probabilities_NK: Floats, is_label_NK: Bools) -> Measurement:
    """Mean area under the ROC curve over the K labels; those that every example has, or none, have no curve and do not count."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - seconds long, and other metrics do without

    number = len(is_label_NK)
    areas, influence_N = [], np.zeros(number)
    for label in range(is_label_NK.shape[1]):
        positive_N = is_label_NK[:, label]
        if positive_N.any() and not positive_N.all():
            areas.append(float(roc_auc_score(positive_N, probabilities_NK[:, label])))
            influence_N += _auc_influence(probabilities_NK[:, label], positive_N, areas[-1])
    if not areas:
        return Measurement(value=0.5, quality=0.5, contributions_N=np.full(number, 0.5))
    value = float(np.mean(areas))
    return Measurement(value=value, quality=value, contributions_N=value + influence_N / len(areas))


def _auc_influence(scores_N: Floats, positive_N: npt.NDArray[np.bool_], area: float) -> Floats:
    """Per positive: share of negatives below it minus the area; per negative: share of positives above it minus the area; ties half."""
    from scipy.stats import rankdata  # noqa: PLC0415 - comes with scikit-learn

    ranks_N = rankdata(scores_N)
    num_positive, num_negative = int(positive_N.sum()), int((~positive_N).sum())
    influence_N = np.empty(len(scores_N))
    below = (ranks_N[positive_N] - rankdata(scores_N[positive_N])) / num_negative
    above = 1 - (ranks_N[~positive_N] - rankdata(scores_N[~positive_N])) / num_positive
    influence_N[positive_N] = (below - area) * len(scores_N) / num_positive
    influence_N[~positive_N] = (above - area) * len(scores_N) / num_negative
    return influence_N

"""Test data for sources that bring none: a share of the training rows, of each class alike, the same for every seed."""

from __future__ import annotations

import numpy as np

from autohas_trainer.data.problem import Problem
from autohas_trainer.seeding import stream

__all__ = ["with_own_test"]


def with_own_test(problem: Problem, fraction: float, source: str) -> Problem:
    """Return the problem with `fraction` of its rows as test; `source` keys the draw."""
    classes = problem.targets_N if problem.num_classes is not None else np.zeros(len(problem.targets_N), dtype=np.int64)
    is_test = np.zeros(len(classes), dtype=bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        is_test[stream(source, "test", int(label)).permutation(rows)[: round(len(rows) * fraction)]] = True
    return problem.split(is_test)

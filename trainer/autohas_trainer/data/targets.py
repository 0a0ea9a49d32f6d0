"""Kinds of targets: what an example is to be answered with, read off the arrays, and what a task must know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["IGNORED", "NextTokens", "TargetFacts", "TargetKind", "count_labels"]

IGNORED: Final = -100
"""Label of a position that has no target, as in torch's cross_entropy."""


class TargetKind(StrEnum):
    """One per task; the value is how errors call it."""

    CLASS = "one class per example"
    TOKENS = "a class per position (integers of two or more dimensions)"
    LABELS = "several labels per example (booleans)"
    SHARES = "shares of classes (floats whose rows add up to 1)"
    NUMBER = "one number per example"
    NUMBERS = "several numbers per example"

    @classmethod
    def of(cls, targets: npt.NDArray[Any], *, has_classes: bool) -> TargetKind:
        """Return the kind of targets (N, ...)."""
        if not has_classes:
            return cls.NUMBER if targets.ndim == 1 else cls.NUMBERS
        if targets.ndim == 1:
            return cls.CLASS
        if targets.dtype == np.bool_:
            return cls.LABELS
        return cls.TOKENS if np.issubdtype(targets.dtype, np.integer) else cls.SHARES


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTokens:
    """Targets that a source of tokens gives itself, next to its inputs.

    Attributes:
        length: T, the tokens of one example.
        count: How often each token is a target in some rows (R,): (K,).
        bytes_per_token: Of the text that a token stands for, on average; None: unknown.
    """

    length: int
    count: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
    bytes_per_token: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """What a task knows of its targets.

    Attributes:
        kind: What they are.
        shape: Of the targets of one example; () for one.
        class_counts: Training targets per class (K,), where there is a class per example or position.
        train_targets: Training targets (N, ...), in their unit, where a task needs them.
        bytes_per_token: See `NextTokens`.
    """

    kind: TargetKind
    shape: tuple[int, ...]
    class_counts: npt.NDArray[np.int64] | None
    train_targets: npt.NDArray[Any]
    bytes_per_token: float | None = None


def count_labels(targets: npt.NDArray[Any], num_classes: int) -> npt.NDArray[np.int64]:
    """Return how often each class occurs among targets, `IGNORED` left out."""
    labels = targets.reshape(-1)
    return np.bincount(labels[labels != IGNORED], minlength=num_classes)

"""Targets that custom data give, of any shape, checked row by row.

Classes: integers (N,). A class per position: integers (N, T), -100 where there is none. Several labels: booleans (N, K). Soft labels:
floats (N, K), rows that add up to 1. With a metric of numbers: numbers (N,), or (N, ...) in one unit, NaN where there is none.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.raw import Floats, Ints
from autohas_trainer.data.targets import IGNORED, TargetKind
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["check_alike", "count_classes", "read_custom_targets"]

Array = npt.NDArray[Any]
_MAX_CLASSES: Final = 100_000
_ROUNDING: Final = 1e-3


def read_custom_targets(targets: Array, name: str, who: str, kind: TaskKind) -> Ints | Floats:
    """Return the targets of one split as int64, bool or float64; `name` is the split, `who` speaks in errors.

    Raises:
        ConfigurationError: Their type does not fit the metric.
        DataError: A row has no target at all, a number is not finite, or shares do not add up to 1.
    """
    if kind is TaskKind.CLASSIFICATION:
        return _read_labels(targets, name, who)
    if not np.issubdtype(targets.dtype, np.number) or np.iscomplexobj(targets):
        message = f"{who}: {name} targets are of type {targets.dtype}; with metric rmse, mae or r2 they must be numbers"
        raise ConfigurationError(message)
    numbers = targets.astype(np.float64)
    if targets.ndim == 1:
        _refuse_rows(~np.isfinite(numbers), f"the {name} target of row {{row}} is not finite; fix or drop it", who)
        return numbers
    _refuse_rows(_of_rows(np.isinf(numbers)).any(axis=1), f"a {name} target of row {{row}} is infinite; fix or drop it", who)
    _refuse_rows(_of_rows(np.isnan(numbers)).all(axis=1), f"row {{row}} of {name} has no target: all are NaN; drop it", who)
    return numbers


def _read_labels(targets: Array, name: str, who: str) -> Ints | Floats:
    is_several = targets.ndim > 1
    if np.issubdtype(targets.dtype, np.integer):
        labels: Ints = targets.astype(np.int64)
        if is_several:
            no_target = (_of_rows(labels) == IGNORED).all(axis=1)
            _refuse_rows(no_target, f"row {{row}} of {name} has no target: all are {IGNORED}; drop it", who)
        return labels
    if targets.ndim == 2 and targets.dtype == np.bool_:  # noqa: PLR2004 - (N, K)
        return targets
    if targets.ndim == 2 and np.issubdtype(targets.dtype, np.floating):  # noqa: PLR2004 - (N, K)
        shares: Floats = targets.astype(np.float64)
        is_wrong = ~(np.isfinite(shares).all(axis=1) & (shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) <= _ROUNDING))
        _refuse_rows(is_wrong, f"the {name} targets of row {{row}} are no shares: they must be at least 0 and add up to 1", who)
        return shares
    message = (
        f"{who}: {name} targets are of type {targets.dtype} and shape {targets.shape}; classes must be integers from 0 (N, ...), several"
        " labels booleans (N, K), soft labels floats (N, K); numbers need metric rmse, mae or r2"
    )
    raise ConfigurationError(message)


def count_classes(targets: Ints | Floats, test_targets: Ints | Floats, who: str) -> int:
    """Return K, the number of classes of the training targets.

    Raises:
        DataError: A class is out of range.
    """
    if not np.issubdtype(targets.dtype, np.integer):
        return int(targets.shape[1])
    num_classes = int(targets.max()) + 1
    if num_classes > _MAX_CLASSES:
        row = int(targets.argmax()) // max(1, targets[0].size)
        message = f"{who}: the train target of row {row} is class {num_classes - 1}; at most {_MAX_CLASSES} are taken"
        raise DataError(message)
    for name, labels in (("train", targets), ("test", test_targets)):
        is_wrong = (labels < 0) | (labels >= num_classes)
        if labels.ndim > 1:
            is_wrong &= labels != IGNORED
        if is_wrong.any():
            row = int(np.argmax(_of_rows(is_wrong).any(axis=1)))
            label = labels[row][is_wrong[row]].flat[0] if labels.ndim > 1 else labels[row]
            message = f"{who}: the {name} target of row {row} is class {label}; train has 0 to {num_classes - 1}"
            raise DataError(message)
    return num_classes


def check_alike(targets: Ints | Floats, test_targets: Ints | Floats, who: str, *, has_classes: bool) -> None:
    """Refuse test targets of another kind or shape than the training targets.

    Raises:
        ConfigurationError: Names both.
    """
    kinds = [TargetKind.of(part, has_classes=has_classes) for part in (targets, test_targets)]
    if kinds[0] is not kinds[1] or targets.shape[1:] != test_targets.shape[1:]:
        message = (
            f"{who}: train targets are {targets.shape[1:]} of {targets.dtype}, test targets {test_targets.shape[1:]} of"
            f" {test_targets.dtype}; they must be alike"
        )
        raise ConfigurationError(message)


def _of_rows(values: Any) -> Array:  # noqa: ANN401 - numpy types comparisons of arrays as bool or array
    rows: Array = values.reshape(len(values), -1)
    return rows


def _refuse_rows(is_wrong_N: Any, sentence: str, who: str) -> None:  # noqa: ANN401 - as above
    if is_wrong_N.any():
        raise DataError(f"{who}: {sentence.format(row=int(np.argmax(is_wrong_N)))}")

"""The target column of a table: classes by name, or numbers."""

from __future__ import annotations

import math

import numpy as np

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.raw import Floats, Ints
from autohas_trainer.data.spellings import equal_numbers, equal_words, number
from autohas_trainer.data.tables.cells import Numbers, distinct_words, encode_words, find_missing
from autohas_trainer.data.tables.columns import LARGEST
from autohas_trainer.data.tables.doubts import describe_notation
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.errors import DataError

__all__ = ["read_targets"]

_MAX_CLASSES = 1000
_MANY_NUMBERS = 20
_FEW_ROWS = 10
"""Rows per class on average: more than `_MANY_NUMBERS` numbers with fewer rows each are measurements, not classes."""


def read_targets(
    one: Table, target: str, kind: TaskKind, training: tuple[str, ...] | None = None
) -> tuple[Ints | Floats, tuple[str, ...] | None]:
    """Return targets, and the classes in order unless they are numbers; `training` are the classes of the training file.

    Raises:
        DataError: A target is no number, a class never occurs in training, or one class is written in two ways; names the lines.
    """
    if kind is TaskKind.REGRESSION:
        return _numbers(one, target), None
    _refuse_two_spellings(one, target, training or ())
    classes = training if training is not None else _classes(one, target)
    position = {label: index for index, label in enumerate(classes)}
    cells = encode_words(one.columns[target])
    row = find_missing(cells, lambda cell: cell not in position)
    if row is not None:
        message = f"{one.place(row)}: class {cells[row]!r} of column {target} never occurs in training; fix it or add examples"
        raise DataError(message)
    return np.array([position[cell] for cell in cells.words], dtype=np.int64)[cells.codes_N], classes


def _refuse_two_spellings(one: Table, target: str, training: tuple[str, ...]) -> None:
    """Refuse labels that are one class to a person and would be two here; the training file's spellings come first.

    Raises:
        DataError: Names both spellings and where they are.
    """
    cells = one.columns[target]
    labels = dict.fromkeys((*training, *distinct_words(cells)))
    for pair, what in ((equal_numbers(labels), "the number"), (equal_words(labels), "the word")):
        if pair is not None:
            first = "the training file" if pair[0] not in cells else one.place(cells.index(pair[0]))
            place = one.place(cells.index(pair[1] if pair[1] in cells else pair[0]))
            message = (
                f"{place}: class {pair[1]!r} of column {target} is {what} that {first} writes as {pair[0]!r},"
                " and they would be two classes; write them alike"
            )
            raise DataError(message)


def _numbers(one: Table, target: str) -> Floats:
    cells = one.columns[target]
    if isinstance(cells, Numbers):
        values_N = cells.as_floats()
    else:
        values = map(number, cells)
        values_N = np.fromiter((math.inf if value is None else value for value in values), dtype=np.float64, count=len(cells))
    is_right_N = np.abs(values_N) < LARGEST
    if not is_right_N.all():
        row = int(is_right_N.argmin())
        message = (
            f"{one.place(row)}: target {cells[row]!r} in column {target} is no finite number{describe_notation(cells[row])}; fix it,"
            " or choose a metric of classes such as accuracy in objective.metric"
        )
        raise DataError(message)
    return values_N


def _classes(one: Table, target: str) -> tuple[str, ...]:
    """Return the classes in order: by number where all are numbers, else by name."""
    labels = set(distinct_words(one.columns[target]))
    numbers = {label: number(label) for label in labels}
    are_numbers = None not in numbers.values()
    if len(labels) == 1:
        message = f"{one.path}: column {target} holds one class only ({labels.pop()!r}); at least two are needed"
        raise DataError(message)
    if are_numbers and len(labels) > _MANY_NUMBERS and len(labels) * _FEW_ROWS > len(one):
        message = (
            f"{one.path}: column {target} has {len(labels)} different numbers in {len(one)} rows: set objective.metric to rmse or mae"
            f" to learn a number (classes need {_FEW_ROWS} rows each on average)"
        )
        raise DataError(message)
    if len(labels) > _MAX_CLASSES:
        message = (
            f"{one.path}: column {target} has {len(labels)} different values in {len(one)} rows, at most {_MAX_CLASSES} classes are taken;"
            " to learn a number set objective.metric to rmse or mae"
        )
        raise DataError(message)
    return tuple(sorted(labels, key=lambda label: (numbers[label] if are_numbers else 0.0, label)))

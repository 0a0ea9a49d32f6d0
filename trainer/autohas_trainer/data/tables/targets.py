"""The target column of a table: classes by name, or numbers."""

from __future__ import annotations

import numpy as np

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.raw import Floats, Ints
from autohas_trainer.data.spellings import equal_numbers, equal_words, number
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
    cells = one.columns[target]
    for row, cell in enumerate(cells):
        if cell not in position:
            message = f"{one.place(row)}: class {cell!r} of column {target} never occurs in training; fix it or add examples"
            raise DataError(message)
    return np.array([position[cell] for cell in cells], dtype=np.int64), classes


def _refuse_two_spellings(one: Table, target: str, training: tuple[str, ...]) -> None:
    """Refuse labels that are one class to a person and would be two here; the training file's spellings come first.

    Raises:
        DataError: Names both spellings and where they are.
    """
    cells = one.columns[target]
    labels = dict.fromkeys((*training, *cells))
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
    values = []
    for row, cell in enumerate(one.columns[target]):
        value = number(cell)
        if value is None or not abs(value) < LARGEST:
            message = (
                f"{one.place(row)}: target {cell!r} in column {target} is no finite number{describe_notation(cell)}; fix it,"
                " or choose a metric of classes such as accuracy in objective.metric"
            )
            raise DataError(message)
        values.append(value)
    return np.array(values, dtype=np.float64)


def _classes(one: Table, target: str) -> tuple[str, ...]:
    """Return the classes in order: by number where all are numbers, else by name."""
    labels = set(one.columns[target])
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

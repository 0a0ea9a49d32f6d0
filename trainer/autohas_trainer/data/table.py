"""Data `csv`: a table with a header; one column is the target, the others are inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import numpy as np

from autohas_api.scoring import TaskKind
from autohas_trainer.data.columns import LARGEST, MISSING, number, read_columns
from autohas_trainer.data.own_test import with_own_test
from autohas_trainer.data.raw import Floats, Ints, RawData
from autohas_trainer.data.table_file import Table, read_table
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["table"]

_ARGUMENTS: Final = ("target", "categorical", "ignore", "missing", "delimiter", "testFile", "testFraction")
_TRAIN_FILE, _TEST_FILE = "train.csv", "test.csv"
_MAX_CLASSES: Final = 1000


def table(path: Path, arguments: Mapping[str, str], kind: TaskKind) -> RawData:
    """Return the rows of `path` as inputs (N, D) and targets.

    Args:
        path: A CSV file, or a folder with train.csv and perhaps test.csv.
        arguments: `target`: name of the target's column. `categorical`, `ignore`: names separated by commas; a column of words is
            categorical anyway. `missing`: `error` (default) or `impute` (the mean of the train split and a mark; a category of its own).
            `delimiter`: one character (default a comma) or `tab`. `testFile`: beside `path`; else `testFraction` of the rows (default
            0.2), the same for every seed.
        kind: Whether the target is a class (any text) or a number.

    Raises:
        ConfigurationError: An argument is unknown or cannot be.
        DataError: A file is missing or damaged; names file and line.
    """
    options = _Options.read(arguments)
    train_file, test_file = _files(path, options.test_file)
    train = read_table(train_file, options.delimiter)
    names = _input_names(train, options)
    test = _test_table(train, read_table(test_file, options.delimiter)) if test_file is not None else None
    for one in (train, test):
        if one is not None:
            _check_missing(one, names if options.missing == "error" else [], options.target)
    columns = read_columns(train, names, options.categorical)
    targets_N, classes = _targets(train, options.target, kind, None)
    raw = RawData(
        name=f"csv ({train_file})",
        inputs=np.concatenate([column.encode(train) for column in columns], axis=1),
        targets_N=targets_N,
        sources_N=np.arange(len(train)),
        test_inputs=np.empty((0, 0)),
        test_targets_N=targets_N[:0],
        num_classes=None if classes is None else len(classes),
        scaled_C=tuple(flag for column in columns for flag in column.scaled),
        columns=tuple(column.name for column in columns for _ in column.scaled),
        place=train.place,
    )
    if test is None:
        return with_own_test(raw, options.test_fraction, "csv")
    test_targets_N, _ = _targets(test, options.target, kind, classes)
    return raw.with_test(np.concatenate([column.encode(test) for column in columns], axis=1), test_targets_N, test.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The arguments, read."""

    target: str
    categorical: frozenset[str]
    ignored: frozenset[str]
    missing: str
    delimiter: str
    test_file: str | None
    test_fraction: float

    @classmethod
    def read(cls, arguments: Mapping[str, str]) -> _Options:
        """Read arguments that acceptance has passed; entry points and tests may hand over others."""
        unknown = sorted(arguments.keys() - set(_ARGUMENTS))
        if unknown:
            message = f"task.data.arguments.{unknown[0]} is unknown to csv; it takes {', '.join(_ARGUMENTS)}"
            raise ConfigurationError(message)
        if not arguments.get("target"):
            message = "task.data.arguments.target is missing: it names the column that is to be learned"
            raise ConfigurationError(message)
        delimiter = arguments.get("delimiter", ",")
        return cls(
            target=arguments["target"],
            categorical=_names(arguments.get("categorical", "")),
            ignored=_names(arguments.get("ignore", "")),
            missing=arguments.get("missing", "error"),
            delimiter="\t" if delimiter == "tab" else delimiter,
            test_file=arguments.get("testFile"),
            test_fraction=float(arguments.get("testFraction", "0.2")),
        )


def _names(listed: str) -> frozenset[str]:
    return frozenset(name.strip() for name in listed.split(",") if name.strip())


def _files(path: Path, test_file: str | None) -> tuple[Path, Path | None]:
    """Return the training file and the test file, if there is one."""
    folder, train = (path, path / _TRAIN_FILE) if path.is_dir() else (path.parent, path)
    if not train.is_file():
        what = f"{path} has no {_TRAIN_FILE}" if path.is_dir() else f"{path} is missing"
        message = f"{what}; put the file there or correct task.data.path"
        raise DataError(message)
    if test_file is not None:
        return train, folder / PurePath(test_file)
    beside = folder / _TEST_FILE
    return train, beside if path.is_dir() and beside.is_file() else None


def _input_names(train: Table, options: _Options) -> list[str]:
    """Return the input columns in the file's order.

    Raises:
        DataError: A column that the arguments name is not there, or no input is left.
    """
    listed = ", ".join(train.header[:20])
    named = [("target", options.target), *(("categorical", n) for n in options.categorical), *(("ignore", n) for n in options.ignored)]
    for argument, name in sorted(named):
        if name not in train.header:
            message = f"{train.path} has no column {name!r} (task.data.arguments.{argument}); its columns are {listed}"
            raise DataError(message)
    names = [name for name in train.header if name != options.target and name not in options.ignored]
    if not names:
        message = f"{train.path} has no column left as input beside the target {options.target}; its columns are {listed}"
        raise DataError(message)
    return names


def _test_table(train: Table, test: Table) -> Table:
    absent = [name for name in train.header if name not in test.header]
    if absent:
        message = f"{test.path} has no column {absent[0]!r}, which {train.path} has; both need the same columns"
        raise DataError(message)
    return test


def _check_missing(one: Table, names: Sequence[str], target: str) -> None:
    """Refuse a missing target, and missing inputs of `names`."""
    for name in (target, *names):
        for row, cell in enumerate(one.columns[name]):
            if cell in MISSING:
                cure = "remove the row" if name == target else "fill it in, or set task.data.arguments.missing to impute"
                message = f"{one.place(row)}: column {name} has no value ({cell!r}); {cure}"
                raise DataError(message)


def _targets(one: Table, target: str, kind: TaskKind, known: tuple[str, ...] | None) -> tuple[Ints | Floats, tuple[str, ...] | None]:
    """Return targets, and the classes in order unless they are numbers; `known` are the classes of training."""
    cells = one.columns[target]
    if kind is TaskKind.REGRESSION:
        return _target_numbers(one, target), None
    classes = known if known is not None else _classes(one, target)
    position = {label: index for index, label in enumerate(classes)}
    for row, cell in enumerate(cells):
        if cell not in position:
            message = f"{one.place(row)}: class {cell!r} of column {target} never occurs in training; fix it or add examples"
            raise DataError(message)
    return np.array([position[cell] for cell in cells], dtype=np.int64), classes


def _target_numbers(one: Table, target: str) -> Floats:
    values = []
    for row, cell in enumerate(one.columns[target]):
        value = number(cell)
        if value is None or not abs(value) < LARGEST:
            message = (
                f"{one.place(row)}: target {cell!r} in column {target} is no finite number; fix it,"
                " or choose a metric of classes such as accuracy in objective.metric"
            )
            raise DataError(message)
        values.append(value)
    return np.array(values, dtype=np.float64)


def _classes(one: Table, target: str) -> tuple[str, ...]:
    """Return the classes in order: by number where all are numbers, else by name."""
    labels = set(one.columns[target])
    if len(labels) == 1:
        message = f"{one.path}: column {target} holds one class only ({labels.pop()!r}); at least two are needed"
        raise DataError(message)
    if len(labels) > _MAX_CLASSES:
        message = (
            f"{one.path}: column {target} has {len(labels)} different values in {len(one)} rows, at most {_MAX_CLASSES} classes are taken;"
            " to learn a number set objective.metric to rmse or mae"
        )
        raise DataError(message)
    numbers = {label: number(label) for label in labels}
    return tuple(sorted(labels, key=lambda label: (numbers[label] if None not in numbers.values() else 0.0, label)))

"""Data `csv`: a table with a header; one column is the target, the others are inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.arguments import refuse_unknown_arguments
from autohas_trainer.data.files.paths import refuse_training_as_test, relative_to
from autohas_trainer.data.held_out import with_held_out_test
from autohas_trainer.data.raw import Floats, RawData
from autohas_trainer.data.tables.cells import find_missing
from autohas_trainer.data.tables.columns import (
    MISSING,
    MISSING_NUMBERS,
    Categorical,
    Column,
    Declared,
    Numeric,
    encode_columns,
    is_missing_number,
    read_columns,
)
from autohas_trainer.data.tables.row_roles import read_groups, read_order
from autohas_trainer.data.tables.table_file import Table, hint_at_missing_header, read_table
from autohas_trainer.data.tables.targets import read_targets
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["TableOptions", "check_missing", "check_target", "table", "table_of"]

_ARGUMENTS: Final = (
    "target",
    "categorical",
    "numeric",
    "ignore",
    "missing",
    "delimiter",
    "header",
    "group",
    "order",
    "testFile",
    "testFraction",
)
_MAX_SHOWN: Final = 5
_TRAIN_FILES, _TEST_FILES = ("train.csv", "train.csv.gz"), ("test.csv", "test.csv.gz")


def table(path: Path, arguments: Mapping[str, str], kind: TaskKind) -> RawData:
    """Return the rows of `path` as inputs (N, D) and targets.

    Args:
        path: A CSV file, or a folder with train.csv and perhaps test.csv; plain or gzipped.
        arguments: `target`: name of the target's column. `categorical`, `numeric`, `ignore`: names separated by commas; a column of words
            is categorical and a column of numbers is numeric anyway, and one that is doubtful is refused until it is named. `missing`:
            `error` (default) or `impute` (the mean of the train split and a mark; a category of its own). `delimiter`: one character
            (default a comma) or `tab`. `header`: `true` (default), or `false`: columns are called 1, 2, ... `group`: a column whose equal
            cells never lie in two splits; `order`: a column of numbers or dates by which later rows choose and test; neither is an input.
            `testFile`: next to `path`; else `testFraction` of the rows (default 0.2), the same for every seed.
        kind: Whether the target is a class (any text) or a number.

    Raises:
        ConfigurationError: An argument is unknown or cannot be.
        DataError: A file is missing or damaged, or a column is doubtful; names file and line.
    """
    options = TableOptions.read(arguments, _ARGUMENTS, "csv")
    train_file, test_file = _files(path, options.test_file)
    train = read_table(train_file, options.delimiter, has_header=options.has_header)
    test = None if test_file is None else read_table(test_file, options.delimiter, has_header=options.has_header)
    return table_of("csv", train, test, options, kind)


def table_of(source: str, train: Table, test: Table | None, options: TableOptions, kind: TaskKind) -> RawData:
    """Return the rows of a training table, and of a test table if there is one, as inputs (N, D) and targets; `source` is its name.

    Raises:
        DataError: A column that the options name is absent, or a column is doubtful; names file and line.
    """
    names = _input_names(train, options)
    test = None if test is None else _test_table(train, test, (*names, options.target))
    columns = read_columns(train, names, Declared(categorical=options.categorical, numeric=options.numeric))
    for one in (train, test):
        if one is not None:
            check_target(one, options.target)
            check_missing(one, columns if options.missing == "error" else [], "fill it in, or set task.data.arguments.missing to impute")
    targets_N, classes = read_targets(train, options.target, kind)
    raw = RawData(
        name=f"{source} ({train.path})",
        inputs=encode_columns(train, columns),
        targets_N=targets_N,
        sources_N=np.arange(len(train)) if options.group is None else read_groups(train, options.group),
        order_N=None if options.order is None else read_order(train, options.order),
        test_inputs=np.empty((0, 0)),
        test_targets_N=targets_N[:0],
        num_classes=None if classes is None else len(classes),
        scaled_C=tuple(flag for column in columns for flag in column.scaled),
        columns=tuple(column.name for column in columns for _ in column.scaled),
        place=train.place,
        classes=classes or (),
        summary=_summary(train, options, columns, classes),
        notes=tuple(_notes_of_index(train, options, names)),
        preprocessing={"kind": "table", **options.record(), "columns": [column.record() for column in columns]},
    )
    if test is None:
        return with_held_out_test(raw, options.test_fraction, source)
    test_inputs = encode_columns(test, columns)
    test_targets_N, _ = read_targets(test, options.target, kind, classes)
    raw = replace(raw, notes=(*raw.notes, *_notes(train, test, columns, test_inputs)))
    return raw.with_test(test_inputs, test_targets_N, test.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """The arguments, read."""

    target: str
    categorical: frozenset[str]
    numeric: frozenset[str]
    ignored: frozenset[str]
    missing: str
    delimiter: str
    has_header: bool
    group: str | None
    order: str | None
    test_file: str | None
    test_fraction: float

    @classmethod
    def read(cls, arguments: Mapping[str, str], known: Sequence[str], source: str) -> TableOptions:
        """Read arguments that acceptance has passed; entry points and tests may hand over others."""
        refuse_unknown_arguments(arguments, known, source)
        if not arguments.get("target"):
            message = "task.data.arguments.target is missing: it names the column that is to be learned"
            raise ConfigurationError(message)
        delimiter = arguments.get("delimiter", ",")
        categorical, numeric = _names(arguments.get("categorical", "")), _names(arguments.get("numeric", ""))
        if both := sorted(categorical & numeric):
            message = f"task.data.arguments.categorical and numeric both name {both[0]}; it can be only one of them"
            raise ConfigurationError(message)
        return cls(
            target=arguments["target"],
            categorical=categorical,
            numeric=numeric,
            ignored=_names(arguments.get("ignore", "")),
            missing=arguments.get("missing", "error"),
            delimiter="\t" if delimiter == "tab" else delimiter,
            has_header=arguments.get("header", "true") == "true",
            group=arguments.get("group"),
            order=arguments.get("order"),
            test_file=arguments.get("testFile"),
            test_fraction=float(arguments.get("testFraction", "0.2")),
        )

    def record(self) -> dict[str, Any]:
        """Return how the file is read, for preprocessing.json."""
        missing = {"missing": sorted(MISSING), "missingNumbers": sorted(MISSING_NUMBERS)}
        return {
            "target": self.target,
            "delimiter": self.delimiter,
            "hasHeader": self.has_header,
            "refusesMissing": self.missing == "error",
            **missing,
        }


def _names(listed: str) -> frozenset[str]:
    return frozenset(name.strip() for name in listed.split(",") if name.strip())


def _files(path: Path, test_file: str | None) -> tuple[Path, Path | None]:
    """Return the training file and the test file, if there is one.

    Raises:
        DataError: The training file is missing, or is the test file too.
    """
    folder, candidates = (path, [path / name for name in _TRAIN_FILES]) if path.is_dir() else (path.parent, [path])
    train = next((file for file in candidates if file.is_file()), None)
    if train is None:
        what = f"{path} has no {_TRAIN_FILES[0]}" if path.is_dir() else f"{path} is missing{relative_to(path)}"
        message = f"{what}; put the file there or correct task.data.path"
        raise DataError(message)
    if test_file is not None:
        test: Path | None = folder / PurePath(test_file)
    else:
        tests = [folder / name for name in _TEST_FILES] if path.is_dir() else []
        test = next((file for file in tests if file.is_file()), None)
    if test is not None:
        refuse_training_as_test([test], [train], None if test_file is None else "testFile")
    return train, test


def _input_names(train: Table, options: TableOptions) -> list[str]:
    """Return the input columns in the file's order.

    Raises:
        DataError: A column that the arguments name is not there, or no input is left.
    """
    listed = ", ".join(train.header[:20])
    lists = {"categorical": options.categorical, "numeric": options.numeric, "ignore": options.ignored}
    roles = {"target": options.target, "group": options.group, "order": options.order}
    named = [
        *((argument, name) for argument, name in roles.items() if name is not None),
        *((argument, name) for argument, listing in lists.items() for name in listing),
    ]
    for argument, name in sorted(named):
        if name not in train.header:
            message = f"{train.path} has no column {name!r} (task.data.arguments.{argument}); its columns are {listed}"
            raise DataError(message + hint_at_missing_header(train.header if not train.is_headerless else ()))
    unread = options.ignored | (train.index_columns - options.categorical - options.numeric)
    names = [name for name in train.header if name not in roles.values() and name not in unread]
    if not names:
        message = f"{train.path} has no column left as input apart from the target {options.target}; its columns are {listed}"
        raise DataError(message)
    return names


def _test_table(train: Table, test: Table, needed: Collection[str]) -> Table:
    absent = [name for name in train.header if name not in test.header and (name in needed or name not in train.index_columns)]
    if absent:
        message = f"{test.path} has no column {absent[0]!r}, which {train.path} has; both need the same columns"
        raise DataError(message)
    return test


def check_target(one: Table, target: str) -> None:
    """Refuse a missing target.

    Raises:
        DataError: Names the row.
    """
    cells = one.columns[target]
    row = find_missing(cells, MISSING.__contains__)
    if row is not None:
        message = f"{one.place(row)}: column {target} has no value ({cells[row]!r}); remove the row"
        raise DataError(message)


def check_missing(one: Table, columns: Sequence[Column], hint: str) -> None:
    """Refuse missing inputs of `columns`; `hint` says what to do.

    Raises:
        DataError: Names row and column.
    """
    for column in columns:
        cells = one.columns[column.name]
        row = find_missing(cells, is_missing_number if isinstance(column, Numeric) else MISSING.__contains__)
        if row is not None:
            message = f"{one.place(row)}: column {column.name} has no value ({cells[row]!r}); {hint}"
            raise DataError(message)


def _summary(train: Table, options: TableOptions, columns: Sequence[Column], classes: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return what each column became, in the file's order."""
    inputs_by_name = {column.name: column for column in columns}
    described = []
    for name in train.header:
        if name in inputs_by_name:
            described.append(inputs_by_name[name].describe(train))
        elif name == options.target:
            shown = ", ".join((classes or ())[:_MAX_SHOWN]) + (", ..." if len(classes or ()) > _MAX_SHOWN else "")
            described.append(f"{name}: target, " + ("a number" if classes is None else f"{len(classes)} classes ({shown})"))
        elif name in {options.group, options.order}:
            described.append(f"{name}: {'group' if name == options.group else 'order'} of the rows, no input")
        else:
            described.append(f"{name}: ignored")
    return tuple(described)


def _notes_of_index(train: Table, options: TableOptions, inputs: Sequence[str]) -> Iterator[str]:
    """Yield a sentence about the index of a pandas table, which is no input."""
    unread = sorted(train.index_columns - {*inputs, options.target, options.group, options.order} - options.ignored)
    if unread:
        one = len(unread) == 1
        yield (
            f"{train.path}: {', '.join(unread[:_MAX_SHOWN])} {'is' if one else 'are'} the index of the pandas table that was saved, and no"
            f" input; name {'it' if one else 'them'} in task.data.arguments.numeric or categorical to use {'it' if one else 'them'}"
        )


def _notes(train: Table, test: Table, columns: Sequence[Column], test_inputs: Floats) -> tuple[str, ...]:
    """Return what of the test file is not used as it stands."""
    notes = []
    if extra := [name for name in test.header if name not in train.header and name not in test.index_columns]:
        notes.append(f"{test.path}: columns that {train.path.name} lacks are not read ({', '.join(extra[:_MAX_SHOWN])})")
    start = 0
    for column in columns:
        end = start + len(column.scaled)
        strange = int((test_inputs[:, start:end] == 0).all(axis=1).sum()) if isinstance(column, Categorical) else 0
        if strange:
            notes.append(
                f"{test.path}: {strange} of {len(test)} rows have a word in column {column.name} that training never saw: 0 in all"
            )
        start = end
    return tuple(notes)

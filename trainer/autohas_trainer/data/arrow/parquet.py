"""Data `parquet`: a table in one file, in shards, or in a folder that Hugging Face's `save_to_disk` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Final

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.arrow.arrow_file import ARROW_SUFFIXES, read_arrow_table
from autohas_trainer.data.files.paths import refuse_training_as_test, relative_to
from autohas_trainer.data.raw import RawData
from autohas_trainer.data.tables.table import TableOptions, table_of
from autohas_trainer.errors import DataError

__all__ = ["find_files", "parquet"]

_ARGUMENTS: Final = ("target", "categorical", "numeric", "ignore", "missing", "group", "order", "testFile", "testFraction")
_STATE: Final = "state.json"
"""Of a folder that datasets' `save_to_disk` wrote; names its files in their order."""


def parquet(path: Path, arguments: Mapping[str, str], kind: TaskKind) -> RawData:
    """Return the rows of `path` as inputs (N, D) and targets.

    Args:
        path: A file .parquet or .arrow, or a folder that has, for train and perhaps test, one file (train.parquet), shards
            (train-*.parquet, also in data/), a folder of shards, or one that the `save_to_disk` of datasets wrote; a folder of shards, or a
            saved dataset without splits, is training data.
        arguments: As those of `csv`, without `delimiter` and `header`.
        kind: Whether the target is a class or a number.

    Raises:
        ConfigurationError: An argument is unknown, or pyarrow is not installed.
        DataError: A file is missing or damaged, or a column is nested or doubtful; names file and row.
    """
    options = TableOptions.read(arguments, _ARGUMENTS, "parquet")
    train_files, test_files = find_files(path, options.test_file)
    train = read_arrow_table(train_files, ignored=options.ignored)
    test = read_arrow_table(test_files, ignored=options.ignored) if test_files else None
    return table_of("parquet", train, test, options, kind)


def find_files(path: Path, test_file: str | None) -> tuple[list[Path], list[Path]]:
    """Return the files of the training and of the test data.

    Raises:
        DataError: There is none, a saved dataset is not whole, or a file is both.
    """
    train = [path] if path.is_file() else _training_files(path, test_file)
    if test_file is not None:
        test = [(path.parent if path.is_file() else path) / PurePath(test_file)]
    else:
        test = [] if path.is_file() else _shards(path, "test")
    refuse_training_as_test(test, train, None if test_file is None else "testFile")
    return train, test


def _training_files(path: Path, test_file: str | None) -> list[Path]:
    """Return the training files of a folder; `test_file` is none of them where no name says which ones are."""
    if not path.is_dir():
        message = f"{path} is missing{relative_to(path)}; put the file there or correct task.data.path"
        raise DataError(message)
    train = _shards(path, "train") or _saved(path) or _tables(file for file in path.iterdir() if file.name != test_file)
    if not train:
        message = f"{path} has no train.parquet, no train-*.parquet, and no file that ends in .parquet or .arrow; correct task.data.path"
        raise DataError(message)
    return train


def _shards(folder: Path, split: str) -> list[Path]:
    """Return the files of one split, in the order of their names; those of the first layout that is there."""
    layouts: tuple[Iterable[Path], ...] = (
        _saved(folder / split),
        [folder / f"{split}{suffix}" for suffix in ARROW_SUFFIXES],
        (folder / split).glob("*"),
        folder.glob(f"{split}-*"),
        (folder / "data").glob(f"{split}-*"),
    )
    return next((files for layout in layouts if (files := _tables(layout))), [])


def _saved(folder: Path) -> list[Path]:
    """Return the files that the state of a saved dataset names: others next to them are caches of `map`.

    Raises:
        DataError: The state is damaged, names a file that is missing, or a choice of rows, which only datasets can apply.
    """
    state = folder / _STATE
    if not state.is_file():
        return []
    try:
        record = json.loads(state.read_text(encoding="utf-8"))
        files = [folder / PurePath(entry["filename"]).name for entry in record["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{state} cannot be read ({type(error).__name__}: {error}); save the dataset again with save_to_disk"
        raise DataError(message) from error
    if record.get("_indices_data_files"):
        message = f"{state} names a choice of rows that is kept apart from the data; call flatten_indices() before save_to_disk"
        raise DataError(message)
    absent = next((file for file in files if not file.is_file()), None)
    if absent is not None:
        message = f"{absent} is missing, and {state} names it; copy the folder again"
        raise DataError(message)
    return files


def _tables(paths: Iterable[Path]) -> list[Path]:
    """Return the files among `paths` that hold tables, sorted.

    Raises:
        DataError: One is there in both formats: its rows would be read twice, and copies would lie in training and selection alike.
    """
    files = sorted(path for path in paths if path.suffix in ARROW_SUFFIXES and path.is_file())
    for first, second in pairwise(files):
        if first.stem == second.stem:
            message = (
                f"{first.parent} has both {first.name} and {second.name}, whose rows would be read twice if they are one table; remove one"
            )
            raise DataError(message)
    return files

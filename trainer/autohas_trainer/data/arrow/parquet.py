"""Data `parquet`: a table in one file, in shards, or in a folder that Hugging Face's `save_to_disk` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Final

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.arrow.arrow_file import read_arrow_table
from autohas_trainer.data.files.paths import relative_to
from autohas_trainer.data.raw import RawData
from autohas_trainer.data.tables.table import TableOptions, table_of
from autohas_trainer.errors import DataError

__all__ = ["parquet"]

_ARGUMENTS: Final = ("target", "categorical", "numeric", "ignore", "missing", "group", "order", "testFile", "testFraction")
_SUFFIXES: Final = (".parquet", ".arrow")


def parquet(path: Path, arguments: Mapping[str, str], kind: TaskKind) -> RawData:
    """Return the rows of `path` as inputs (N, D) and targets.

    Args:
        path: A file .parquet or .arrow, or a folder that has, for train and perhaps test, one file (train.parquet), shards
            (train-*.parquet, also in data/) or a folder of shards (train/*.arrow, as datasets writes them); a folder of shards only is
            training data.
        arguments: As those of `csv`, without `delimiter` and `header`.
        kind: Whether the target is a class or a number.

    Raises:
        ConfigurationError: An argument is unknown, or pyarrow is not installed.
        DataError: A file is missing or damaged, or a column is nested or doubtful; names file and row.
    """
    options = TableOptions.read(arguments, _ARGUMENTS, "parquet")
    train_files, test_files = _files(path, options.test_file)
    train = read_arrow_table(train_files, options.ignored)
    test = read_arrow_table(test_files, options.ignored) if test_files else None
    return table_of("parquet", train, test, options, kind)


def _files(path: Path, test_file: str | None) -> tuple[list[Path], list[Path]]:
    """Return the files of the training and of the test data."""
    if path.is_file():
        return [path], [path.parent / PurePath(test_file)] if test_file is not None else []
    if not path.is_dir():
        message = f"{path} is missing{relative_to(path)}; put the file there or correct task.data.path"
        raise DataError(message)
    train = _shards(path, "train") or _tables(file for file in path.iterdir() if file.name != test_file)
    if not train:
        message = f"{path} has no train.parquet, no train-*.parquet, and no file that ends in .parquet or .arrow; correct task.data.path"
        raise DataError(message)
    return train, [path / PurePath(test_file)] if test_file is not None else _shards(path, "test")


def _shards(folder: Path, split: str) -> list[Path]:
    """Return the files of one split, in the order of their names; those of the first layout that is there."""
    layouts: tuple[Iterable[Path], ...] = (
        [folder / f"{split}{suffix}" for suffix in _SUFFIXES],
        (folder / split).glob("*"),
        folder.glob(f"{split}-*"),
        (folder / "data").glob(f"{split}-*"),
    )
    return next((files for layout in layouts if (files := _tables(layout))), [])


def _tables(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix in _SUFFIXES and path.is_file())

"""Data `image-parquet`: a column of encoded images and a column of their classes, in the files of `parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.arguments import refuse_unknown_arguments
from autohas_trainer.data.arrow.arrow_file import read_arrow_table
from autohas_trainer.data.arrow.image_column import ImageColumn, find_image_column, open_image_column, read_class_names
from autohas_trainer.data.arrow.parquet import find_files
from autohas_trainer.data.held_out import with_held_out_test
from autohas_trainer.data.images.image_data import IMAGE_ARGUMENTS, LabelledImages, image_data, read_image_options
from autohas_trainer.data.images.reading import AS_FITS, ImageReading
from autohas_trainer.data.raw import Ints, RawData
from autohas_trainer.data.tables.cells import Numbers
from autohas_trainer.data.tables.row_roles import read_groups, read_order
from autohas_trainer.data.tables.table import check_target
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.data.tables.targets import read_targets
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["image_parquet"]

_ROLES: Final = ("target", "group", "order")
_ARGUMENTS: Final = ("image", "target", *IMAGE_ARGUMENTS, "group", "order", "testFile", "testFraction")
_MAX_SHOWN: Final = 5


def image_parquet(path: Path, arguments: Mapping[str, str], reading: ImageReading = AS_FITS) -> RawData:
    """Return the images of `path` (N, C, H, W) as bytes, or to be read per batch, and their classes.

    Args:
        path: A file or folder as `parquet` reads it.
        arguments: `image`: the column of images, bytes or Hugging Face's struct of bytes and path; if it is the only such column, it need
            not be named. `target`: the column of classes; numbers are named as the metadata of datasets name them, if they do. Those of
            `read_image_options`; `group`, `order`, `testFile` and `testFraction` as those of `csv`.
        reading: Where the images lie between steps, and what is done to those that make gradients.

    Raises:
        ConfigurationError: An argument is unknown, or pyarrow is not installed.
        DataError: A file or a column is missing or damaged, or an image cannot be read; names file and row.
    """
    refuse_unknown_arguments(arguments, _ARGUMENTS, "image-parquet")
    roles = {role: arguments[role] for role in _ROLES if role in arguments}
    if "target" not in roles:
        message = "task.data.arguments.target is missing: it names the column of the classes"
        raise ConfigurationError(message)
    train_files, test_files = find_files(path, arguments.get("testFile"))
    column = find_image_column(train_files[0], arguments.get("image"))
    table = _read_roles(train_files, roles)
    labels_N, classes = _read_labels(table, roles["target"], read_class_names(train_files, roles["target"]))
    train = _labelled(open_image_column(train_files, column), labels_N)
    test = _read_test(test_files, column, roles["target"], classes) if test_files else _take_none(train)
    name = f"image-parquet ({path})"
    raw = image_data(name, (train, test), classes, read_image_options(arguments), reading)
    raw = replace(
        raw,
        sources_N=raw.sources_N if "group" not in roles else read_groups(table, roles["group"]),
        order_N=None if "order" not in roles else read_order(table, roles["order"]),
        summary=(*raw.summary, *_describe_columns(table, roles, column)),
        preprocessing={**raw.preprocessing, "column": column},
    )
    return raw if test_files else with_held_out_test(raw, float(arguments.get("testFraction", "0.2")), "image-parquet")


def _read_roles(files: Sequence[Path], roles: Mapping[str, str]) -> Table:
    """Return the columns that are no images.

    Raises:
        DataError: One is absent, or a file is damaged.
    """
    table = read_arrow_table(files, only=set(roles.values()))
    for role, name in roles.items():
        if name not in table.header:
            listed = ", ".join(table.header[:20])
            message = f"{table.path} has no column {name!r} (task.data.arguments.{role}); its columns are {listed}"
            raise DataError(message)
    check_target(table, roles["target"])
    return table


def _read_labels(table: Table, target: str, names: tuple[str, ...] | None) -> tuple[Ints, tuple[str, ...]]:
    """Return the class (N,) of each row, and the names of all classes.

    Raises:
        DataError: A class cannot be; names the row.
    """
    cells = table.columns[target]
    if names is None or not isinstance(cells, Numbers) or not cells.are_integers:
        labels_N, classes = read_targets(table, target, TaskKind.CLASSIFICATION)
        assert classes is not None  # noqa: S101 - a classification
        return labels_N.astype(np.int64), classes
    is_wrong_N = (cells.values_N < 0) | (cells.values_N >= len(names))
    if is_wrong_N.any():
        row = int(is_wrong_N.argmax())
        why = ", which says that the row has no class" if cells[row] == "-1" else ""
        message = (
            f"{table.place(row)}: class {cells[row]} of column {target}{why}; the file names the classes 0 to {len(names) - 1}: fix the row"
            " or remove it"
        )
        raise DataError(message)
    return cells.values_N.astype(np.int64), names


def _labelled(column: ImageColumn, labels_N: Ints) -> LabelledImages:
    """Return the images of a column with their classes."""
    return LabelledImages(images=column, labels_N=labels_N, place=column.place)


def _read_test(files: Sequence[Path], column: str, target: str, classes: tuple[str, ...]) -> LabelledImages:
    """Return the test images with their classes, which are those of the training images.

    Raises:
        DataError: A column is absent, or a class never occurs in training.
    """
    find_image_column(files[0], column)
    table = _read_roles(files, {"target": target})
    names = read_class_names(files, target)
    if names is not None and names != classes:
        message = f"{files[0]}: column {target} names other classes than the training files, or in another order; write both alike"
        raise DataError(message)
    labels_N = _read_labels(table, target, names)[0] if names else read_targets(table, target, TaskKind.CLASSIFICATION, classes)[0]
    return _labelled(open_image_column(files, column), labels_N.astype(np.int64))


def _take_none(train: LabelledImages) -> LabelledImages:
    """Return no images: the test is held out of the training images."""
    return replace(train, images=train.images.choose(np.arange(0)), labels_N=train.labels_N[:0])


def _describe_columns(table: Table, roles: Mapping[str, str], column: str) -> list[str]:
    """Return a line about the columns that are read, and those that are not."""
    words = {"target": "class of the images", "group": "group of the rows", "order": "order of the rows"}
    unread = [name for name in table.header if name != column and name not in roles.values()]
    listed = ", ".join(unread[:_MAX_SHOWN]) + (", ..." if len(unread) > _MAX_SHOWN else "")
    lines = [f"{column}: image", *(f"{name}: {words[role]}" for role, name in roles.items())]
    return [*lines, *([f"not read: {listed}"] if unread else [])]

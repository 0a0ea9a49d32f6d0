"""Tables in Parquet and Arrow files, memory-mapped, as tables of text: what a column is and what is doubtful about it follows as in a CSV.

A number keeps every digit, since its shortest text names it. A missing value, and NaN, is an empty cell. Called by `parquet`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from autohas_api.base.install_hint import install_hint
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["read_arrow_table"]

_STREAM: Final = ".arrow"


def read_arrow_table(files: Sequence[Path], ignored: frozenset[str]) -> Table:
    """Return the rows of all files, one below the other, without the ignored columns.

    Raises:
        ConfigurationError: pyarrow is not installed; names the extra.
        DataError: A file is missing or damaged, the files have different columns, there are no rows, or a column is nested; names it.
    """
    arrow = _import()
    parts = [_read(file, arrow) for file in files]
    names = parts[0].column_names
    for file, part in zip(files, parts, strict=True):
        if part.column_names != names:
            other = sorted(set(part.column_names) ^ set(names)) or ["their order"]
            message = f"{file}: the columns differ from those of {files[0].name} ({other[0]}); all shards need the same ones"
            raise DataError(message)
        if len(set(part.column_names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            message = f"{file}: two columns are called {twice!r}; rename one"
            raise DataError(message)
    ends = list(accumulate(part.num_rows for part in parts))
    if not ends[-1]:
        message = f"{files[0]} has no rows (columns: {', '.join(names[:8])})"
        raise DataError(message)
    columns = {
        name: tuple(cell for file, part in zip(files, parts, strict=True) for cell in _cells(file, name, part.column(name), arrow))
        for name in names
        if name not in ignored
    }
    # an ignored column stays in the header, so that its name is known
    empty = ("",) * ends[-1]
    return Table(
        path=files[0],
        header=tuple(names),
        columns={name: columns.get(name, empty) for name in names},
        lines=tuple(range(1, ends[-1] + 1)),
        place_of=_place_of(files, ends),
    )


def _import() -> Any:  # noqa: ANN401 - a module of an extra
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        message = f"task.data.name parquet needs the package {error.name}, which is not installed: {install_hint('arrow')}"
        raise ConfigurationError(message) from error


def _place_of(files: Sequence[Path], ends: Sequence[int]) -> Callable[[int], str]:
    """Where a row lies: its file, and its number there from 1 on."""

    def place(row: int) -> str:
        shard = next(index for index, end in enumerate(ends) if row < end)
        return f"{files[shard]}, row {row + 1 - (ends[shard - 1] if shard else 0)}"

    return place


def _read(file: Path, arrow: Any) -> Any:  # noqa: ANN401 - pyarrow's table
    try:
        if file.suffix != _STREAM:
            return arrow.parquet.read_table(file, memory_map=True)
        source = arrow.memory_map(str(file))
        try:  # datasets write streams, Feather is a file
            return arrow.ipc.open_stream(source).read_all()
        except arrow.ArrowInvalid:
            return arrow.ipc.open_file(source).read_all()
    except (OSError, arrow.ArrowException) as error:
        text = " ".join(str(error).split())[:200]
        message = f"{file} cannot be read as a {'Arrow' if file.suffix == _STREAM else 'Parquet'} file ({text}); copy it again"
        raise DataError(message) from error


def _cells(file: Path, name: str, column: Any, arrow: Any) -> Iterator[str]:  # noqa: ANN401 - pyarrow's column
    """Yield the cells of a column as text.

    Raises:
        DataError: It is nested, or holds bytes.
    """
    types = arrow.types
    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        what = "nested" if types.is_nested(kind) else "of bytes"
        message = (
            f"{file}: column {name} is {what} ({kind}), and a table has one number or word per cell; flatten it, name it in"
            " task.data.arguments.ignore, or read the file with custom code (task.data.entrypoint)"
        )
        raise DataError(message)
    text = _float_text if types.is_floating(kind) else _bool_text if types.is_boolean(kind) else str
    for value in column.to_pylist():
        yield "" if value is None else text(value).strip()


def _float_text(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _bool_text(value: bool) -> str:  # noqa: FBT001 - a cell
    return "true" if value else "false"

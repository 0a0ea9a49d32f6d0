"""Tables in Parquet and Arrow files, memory-mapped: what a column is and what is doubtful about it follows as in a CSV.

Numbers stay arrays of their own type, words are held once each, so that a file needs about the memory of its columns. A missing value, and
NaN, is an empty cell. Called by `parquet` and by the reader of what a model predicts.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from autohas_api.base.install_hint import install_hint
from autohas_trainer.data.tables.cells import Numbers, Words, concatenate
from autohas_trainer.data.tables.table_file import Table
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["ARROW_SUFFIXES", "STREAM_SUFFIX", "import_arrow", "is_bytes", "open_stream", "read_arrow_table"]

STREAM_SUFFIX: Final = ".arrow"
ARROW_SUFFIXES: Final = (".parquet", STREAM_SUFFIX)
_PANDAS_INDEX: Final = re.compile(r"__index_level_\d+__")
_MAX_DIGITS: Final = 18
"""Of a decimal integer: a 64-bit integer holds all of them."""


def read_arrow_table(files: Sequence[Path], *, ignored: Collection[str] = (), only: Collection[str] | None = None) -> Table:
    """Return the rows of all files, one below the other, without the ignored columns, and of the others `only` some (None: all).

    Raises:
        ConfigurationError: pyarrow is not installed; names the extra.
        DataError: A file is missing or damaged, the files have different columns, there are no rows, or a column is nested; names it.
    """
    arrow = import_arrow()
    parts = [_read(file, lambda name: name not in ignored and (only is None or name in only), arrow) for file in files]
    names = parts[0].names
    for file, part in zip(files, parts, strict=True):
        if part.names != names:
            other = sorted(set(part.names) ^ set(names)) or ["their order"]
            message = f"{file}: the columns differ from those of {files[0].name} ({other[0]}); all shards need the same ones"
            raise DataError(message)
    ends = list(accumulate(part.rows.num_rows for part in parts))
    if not ends[-1]:
        message = f"{files[0]} has no rows (columns: {', '.join(names[:8])})"
        raise DataError(message)
    columns = {
        name: _join(files, name, [_cells(file, name, part.rows.column(name), arrow) for file, part in zip(files, parts, strict=True)])
        for name in parts[0].rows.column_names
    }
    return Table(
        path=files[0],
        header=tuple(names),
        columns=columns,
        lines=range(1, ends[-1] + 1),
        place_of=_place_of(files, ends),
        index_columns=frozenset().union(*(part.index_columns for part in parts)),
    )


def _join(files: Sequence[Path], name: str, parts: Sequence[Numbers | Words]) -> Numbers | Words:
    """Return the cells of one column of all files.

    Raises:
        DataError: No type holds the numbers of all files exactly.
    """
    try:
        return concatenate(parts)
    except ValueError as error:
        message = (
            f"{files[0]} and {len(files) - 1} more: column {name} has {error}, which no single type holds exactly; write the column with"
            " one type in all files, or name it in task.data.arguments.ignore"
        )
        raise DataError(message) from error


def import_arrow() -> Any:  # noqa: ANN401 - a module of an extra
    """Return pyarrow.

    Raises:
        ConfigurationError: It is not installed; names the extra.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        message = f"Parquet data needs the package {error.name}, which is not installed: {install_hint('arrow')}"
        raise ConfigurationError(message) from error


def _place_of(files: Sequence[Path], ends: Sequence[int]) -> Callable[[int], str]:
    """Where a row lies: its file, and its number there from 1 on."""

    def place(row: int) -> str:
        shard = next(index for index, end in enumerate(ends) if row < end)
        return f"{files[shard]}, row {row + 1 - (ends[shard - 1] if shard else 0)}"

    return place


class _Part(NamedTuple):
    """One file: the names of all of its columns, the columns that are read, as pyarrow's table, and which are the index of pandas."""

    names: list[str]
    rows: Any
    index_columns: frozenset[str]


def _read(file: Path, wants: Callable[[str], bool], arrow: Any) -> _Part:  # noqa: ANN401 - pyarrow
    """Map a file into memory.

    Raises:
        DataError: It is missing or damaged, or two columns have one name.
    """
    if not file.is_file():
        message = f"{file} is missing; put the file there or correct its path"
        raise DataError(message)
    try:
        part = _read_stream(file, wants, arrow) if file.suffix == STREAM_SUFFIX else _read_parquet(file, wants, arrow)
        part.rows.validate(
            full=True
        )  # neither reader does: text that is no UTF-8, and offsets beyond the data, which would end the process
    except (OSError, arrow.ArrowException) as error:
        text = " ".join(str(error).split())[:200]
        message = f"{file} cannot be read as {'an Arrow' if file.suffix == STREAM_SUFFIX else 'a Parquet'} file ({text}); copy it again"
        raise DataError(message) from error
    if len(set(part.names)) < len(part.names):
        twice = next(name for name in part.names if part.names.count(name) > 1)
        message = f"{file}: two columns are called {twice!r}; rename one"
        raise DataError(message)
    return part


def _read_parquet(file: Path, wants: Callable[[str], bool], arrow: Any) -> _Part:  # noqa: ANN401 - pyarrow
    schema = arrow.parquet.read_schema(file, memory_map=True)
    texts = [field.name for field in schema if arrow.types.is_string(field.type) or arrow.types.is_large_string(field.type)]
    with arrow.parquet.ParquetFile(file, memory_map=True, read_dictionary=texts) as opened:
        return _Part(schema.names, opened.read(columns=[name for name in schema.names if wants(name)]), _index_columns(schema))


def _read_stream(file: Path, wants: Callable[[str], bool], arrow: Any) -> _Part:  # noqa: ANN401 - pyarrow
    rows = open_stream(file, arrow)
    names = rows.column_names
    return _Part(names, rows.select([position for position, name in enumerate(names) if wants(name)]), _index_columns(rows.schema))


def open_stream(file: Path, arrow: Any) -> Any:  # noqa: ANN401 - pyarrow
    """Map the table of an Arrow file into memory; pyarrow's errors are the caller's."""
    source = arrow.memory_map(str(file))
    try:  # datasets write streams, Feather is a file
        return arrow.ipc.open_stream(source).read_all()
    except arrow.ArrowInvalid:
        return arrow.ipc.open_file(source).read_all()


def _index_columns(schema: Any) -> frozenset[str]:  # noqa: ANN401 - pyarrow's schema
    """Return the columns that hold the index of the pandas table that was saved; datasets keeps their names without the metadata."""
    try:
        listed = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    except (ValueError, AttributeError):
        listed = []  # damaged metadata say nothing; the columns themselves are sound
    return frozenset(name for name in schema.names if name in listed or _PANDAS_INDEX.fullmatch(name))


def _cells(file: Path, name: str, column: Any, arrow: Any) -> Numbers | Words:  # noqa: ANN401 - pyarrow's column
    """Return the cells of a column.

    Raises:
        DataError: It is nested, holds bytes, or dates that have no text.
    """
    types = arrow.types
    if isinstance(column.type, arrow.BaseExtensionType):  # a name for a type of storage
        column = arrow.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    what = "nested" if types.is_nested(kind) else "of intervals" if types.is_interval(kind) else "of bytes" if is_bytes(kind, types) else ""
    if what:
        is_image = is_bytes(kind, types) or (types.is_struct(kind) and "bytes" in kind.names)
        hint = "set task.data.name to image-parquet if it holds encoded images" if is_image else "flatten it"
        message = (
            f"{file}: column {name} is {what} ({kind}), and a table has one number or word per cell; {hint}, name it in"
            " task.data.arguments.ignore, or read the file with custom code (task.data.entrypoint)"
        )
        raise DataError(message)
    if types.is_decimal(kind):
        column, kind = _convert_decimals(column, kind, arrow)
    if types.is_floating(kind) or types.is_integer(kind):
        return _numbers(column if column.type == kind else column.cast(kind), arrow)
    try:
        return _words(column, kind, arrow)
    except (ValueError, OverflowError) as error:  # a date after the year 9999, an unknown time zone, nanoseconds without pandas
        message = (
            f"{file}: column {name} ({kind}) cannot be read as text ({error}); convert it to numbers or words, or name it in"
            " task.data.arguments.ignore"
        )
        raise DataError(message) from error


def is_bytes(kind: Any, types: Any) -> bool:  # noqa: ANN401 - pyarrow's type and its module
    """Whether cells of a type are bytes."""
    is_bytes = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(holds(kind) for holds in is_bytes)


def _convert_decimals(column: Any, kind: Any, arrow: Any) -> tuple[Any, Any]:  # noqa: ANN401 - as above
    """Return decimals as integers where they are and fit, with a fraction as the nearest floats, else as they are."""
    if kind.scale > 0:
        text = column.cast(kind).cast(arrow.string())  # the cast from text rounds correctly, that from a decimal does not
        return text.cast(arrow.float64()), arrow.float64()
    if kind.scale == 0 and kind.precision <= _MAX_DIGITS:
        return column.cast(kind).cast(arrow.int64()), arrow.int64()
    return column, kind


def _numbers(column: Any, arrow: Any) -> Numbers:  # noqa: ANN401 - as above
    is_missing_N = column.is_null(nan_is_null=True).to_numpy()
    if column.null_count:
        column = column.fill_null(arrow.scalar(0, column.type))
    values_N = column.to_numpy()
    return Numbers(values_N, is_missing_N if is_missing_N.any() else None)


def _words(column: Any, kind: Any, arrow: Any) -> Words:  # noqa: ANN401 - as above
    """Return each different value as a word: dates and times as ISO 8601 writes them."""
    if len(column) == 0 or arrow.types.is_null(kind):
        return Words(("",), np.zeros(len(column), dtype=np.int32))
    column = (column if arrow.types.is_dictionary(column.type) else column.dictionary_encode()).unify_dictionaries()
    values = column.chunk(0).dictionary.to_pylist()
    codes_N = np.concatenate([chunk.indices.cast(arrow.int32()).fill_null(len(values)).to_numpy() for chunk in column.chunks])
    text = _bool_text if arrow.types.is_boolean(kind) else str
    return Words.of(["" if value is None else text(value).strip() for value in (*values, None)], codes_N)


def _bool_text(value: bool) -> str:  # noqa: FBT001 - a cell
    return "true" if value else "false"

"""A column of encoded images in Parquet and Arrow files: bytes, or Hugging Face's struct of bytes and path.

An image is read where its batch is, by the process that decodes it. Arrow files are memory-mapped. Of a Parquet file a row group is the
least that can be read: each process keeps the newest ones up to a fixed size, so memory does not grow with the file.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.arrow.arrow_file import STREAM_SUFFIX, import_arrow, is_bytes, open_stream
from autohas_trainer.data.images.stored import EncodedImage
from autohas_trainer.errors import DataError

__all__ = ["ImageColumn", "find_image_column", "is_image_type", "open_image_column", "read_class_names"]

_KEPT: Final = 64 << 20
"""Bytes of row groups that a process keeps; one group is kept whatever its size."""
_MAX_NAMES: Final = 5
_LARGEST_GROUP: Final = 256 << 20
_BYTES, _PATH = "bytes", "path"
"""Fields of Hugging Face's struct."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageColumn:
    """The images of some files, one below the other; see `images.stored.StoredImages`.

    Attributes:
        name: Of the column.
        files: Paths.
        group_files_G: Which file each row group is in.
        ends_G: Number of rows up to the end of each row group; record batches in an Arrow file.
        rows_N: Which rows are meant, in this order.
    """

    name: str
    files: tuple[str, ...]
    group_files_G: npt.NDArray[np.int64]
    ends_G: npt.NDArray[np.int64]
    rows_N: npt.NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.rows_N)

    def __getitem__(self, row: int) -> ImageCell:
        """Return one image, which is not read yet."""
        number = int(self.rows_N[row])
        group = int(np.searchsorted(self.ends_G, number, side="right"))
        file = int(self.group_files_G[group])
        first = int(np.searchsorted(self.group_files_G, file))
        start = int(self.ends_G[group - 1]) if group else 0
        file_start = int(self.ends_G[first - 1]) if first else 0
        return ImageCell(self.files[file], self.name, group - first, number - start, number - file_start)

    def choose(self, rows: npt.NDArray[np.integer[Any]]) -> ImageColumn:
        """Return some of the images."""
        return replace(self, rows_N=self.rows_N[rows])

    def place(self, row: int) -> str:
        """Return where an image lies."""
        return self[row].place

    def digest(self) -> str:
        """Return the SHA-256 of name and size of each file and of the rows: reading all images would take as long as an epoch."""
        files = [f"{Path(file).name}\0{Path(file).stat().st_size}" for file in self.files]
        digest = hashlib.sha256("\0".join((self.name, *files)).encode(errors="surrogateescape"))
        digest.update(self.rows_N.tobytes())
        return f"sha256:{digest.hexdigest()}"

    def check_access(self) -> None:
        """Refuse row groups so large that a batch would read much more than its images.

        Raises:
            DataError: Names the first one.
        """
        for file in self.files:
            for group, size in enumerate(_group_sizes(file, self.name)):
                if size > _LARGEST_GROUP:
                    message = (
                        f"{file}: row group {group} holds {size / 2**20:,.0f} MiB of images, and a batch reads the whole group of each of"
                        f" its images; at most {_LARGEST_GROUP >> 20} MiB are allowed: write the file with row groups of about 10 images"
                        " (row_group_size=10), or as Arrow files with save_to_disk of datasets"
                    )
                    raise DataError(message)


class ImageCell(NamedTuple):
    """One cell: row `row` of a row group, and row `number` of its file, both counted from 0."""

    file: str
    column: str
    group: int
    row: int
    number: int

    @property
    def place(self) -> str:
        """Where it lies: rows count from 1, as in a table."""
        group = "" if self.file.endswith(STREAM_SUFFIX) else f" (row group {self.group})"
        return f"{self.file}, row {self.number + 1}{group}"

    def load(self) -> Path | EncodedImage:
        """Return the bytes, or the file that the path names, from the folder of the table on.

        Raises:
            DataError: The cell has neither, or the path leads nowhere.
        """
        cell = _groups.read(self.file, self.column, self.group)[self.row].as_py()
        content, path = (cell.get(_BYTES), cell.get(_PATH)) if isinstance(cell, dict) else (cell, None)
        if content is not None:
            return EncodedImage(bytes(content), self.place)
        if path is None:
            message = f"{self.place}: column {self.column} has no image; remove the row"
            raise DataError(message)
        target = Path(self.file).parent / str(path)
        if not target.is_file():
            message = (
                f"{self.place}: column {self.column} has no bytes but the path {path!r}, and {target} is no file; put it there, or save the"
                " dataset with the images embedded, as save_to_disk and push_to_hub of datasets do"
            )
            raise DataError(message)
        return target


class _Groups:
    """The row groups that this process has read last."""

    def __init__(self) -> None:
        """Hold none."""
        self._kept: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        self._size = 0

    def read(self, file: str, column: str, group: int) -> Any:  # noqa: ANN401 - pyarrow's array
        """Return the cells of a row group, or of a record batch."""
        if file.endswith(STREAM_SUFFIX):
            return _map(file, column).chunk(group)
        key = (file, column, group)
        cells = self._kept.pop(key, None)
        if cells is None:
            cells = _read_group(file, column, group)
            self._size += cells.nbytes
        self._kept[key] = cells
        while self._size > _KEPT and len(self._kept) > 1:
            self._size -= self._kept.popitem(last=False)[1].nbytes
        return cells


_groups: Final = _Groups()


@lru_cache(maxsize=16)
def _open_parquet(file: str) -> Any:  # noqa: ANN401 - pyarrow's
    return import_arrow().parquet.ParquetFile(file, memory_map=True)


def _read_group(file: str, column: str, group: int) -> Any:  # noqa: ANN401 - pyarrow's array
    """Read a row group.

    Raises:
        DataError: The file has vanished, or is damaged; names it and the group.
    """
    try:
        return _open_parquet(file).read_row_group(group, columns=[column], use_threads=False).column(0).combine_chunks()
    except (OSError, import_arrow().ArrowException) as error:
        text = " ".join(str(error).split())[:200]
        message = f"{file}: row group {group} of column {column} cannot be read ({text}); copy the file again"
        raise DataError(message) from error


@lru_cache(maxsize=16)
def _map(file: str, column: str) -> Any:  # noqa: ANN401 - pyarrow's column
    """Map the column of an Arrow file.

    Raises:
        DataError: The file has vanished, or is damaged.
    """
    arrow = import_arrow()
    try:
        cells = open_stream(Path(file), arrow).column(column)
        cells.validate(full=True)  # offsets beyond the data would end the process
    except (OSError, arrow.ArrowException) as error:
        message = f"{file} cannot be read as an Arrow file ({' '.join(str(error).split())[:200]}); copy it again"
        raise DataError(message) from error
    return cells


def _group_sizes(file: str, column: str) -> list[int]:
    """Return the bytes of the column in each row group; none for an Arrow file, which is mapped."""
    if file.endswith(STREAM_SUFFIX):
        return []
    metadata = _open_parquet(file).metadata
    positions = [i for i in range(metadata.num_columns) if metadata.schema.column(i).path.split(".")[0] == column]
    return [sum(metadata.row_group(group).column(i).total_uncompressed_size for i in positions) for group in range(metadata.num_row_groups)]


def _group_rows(file: str, column: str) -> list[int]:
    """Return the number of rows of each row group or record batch."""
    if file.endswith(STREAM_SUFFIX):
        return [len(chunk) for chunk in _map(file, column).chunks]
    metadata = _open_parquet(file).metadata
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def open_image_column(files: Sequence[Path], name: str) -> ImageColumn:
    """Return the images of a column of sound files.

    Raises:
        DataError: A file cannot be read, or a cell has no image; names the row.
    """
    rows = [_group_rows(str(file), name) for file in files]
    counts_G = np.array([count for groups in rows for count in groups], dtype=np.int64)
    column = ImageColumn(
        name=name,
        files=tuple(map(str, files)),
        group_files_G=np.repeat(np.arange(len(files)), [len(groups) for groups in rows]),
        ends_G=np.cumsum(counts_G),
        rows_N=np.arange(counts_G.sum()),
    )
    for row in _rows_without_bytes(column):
        column[row].load()
    return column


def _rows_without_bytes(column: ImageColumn) -> Iterator[int]:
    """Yield the rows without bytes, as far as files say that they have some; a writer without statistics says nothing."""
    start = 0
    for end in column.ends_G.tolist():
        cell = column[start] if end > start else None
        if cell is not None and _may_lack_bytes(cell):
            cells = _groups.read(cell.file, cell.column, cell.group)
            content = cells.field(_BYTES) if import_arrow().types.is_struct(cells.type) else cells
            is_empty_N = content.is_null().to_numpy(zero_copy_only=False) | cells.is_null().to_numpy(zero_copy_only=False)
            yield from (start + np.flatnonzero(is_empty_N)).tolist()
        start = end


def _may_lack_bytes(cell: ImageCell) -> bool:
    """Whether the row group of a cell has rows without bytes by its statistics; that of an Arrow file, which has none, may."""
    if cell.file.endswith(STREAM_SUFFIX):
        return True
    group = _open_parquet(cell.file).metadata.row_group(cell.group)
    statistics = [
        group.column(position).statistics
        for position in range(group.num_columns)
        if group.column(position).path_in_schema in {cell.column, f"{cell.column}.{_BYTES}"}
    ]
    return any(one is not None and one.has_null_count and one.null_count > 0 for one in statistics)


def find_image_column(file: Path, name: str | None) -> str:
    """Return the column of images: the one that the search names, else the only one there is.

    Raises:
        ConfigurationError: pyarrow is not installed.
        DataError: There is none, or several; names them.
    """
    schema = _read_schema(file)
    listed = ", ".join(schema.names[:20])
    if name is not None and name not in schema.names:
        message = f"{file} has no column {name!r} (task.data.arguments.image); its columns are {listed}"
        raise DataError(message)
    candidates = [column.name for column in schema if is_image_type(column.type)]
    if name is not None and name not in candidates:
        message = (
            f"{file}: column {name} (task.data.arguments.image) is of type {schema.field(name).type}; encoded images are bytes, or a struct"
            " of bytes and path as Hugging Face's datasets writes them"
        )
        raise DataError(message)
    if name is None and len(candidates) != 1:
        what = f"{len(candidates)} columns of bytes ({', '.join(candidates[:20])})" if candidates else "no column of encoded images"
        hint = "name that of the images in task.data.arguments.image" if candidates else "set task.data.name to parquet for a table"
        message = f"{file} has {what}; its columns are {listed}: {hint}"
        raise DataError(message)
    return name or candidates[0]


def is_image_type(kind: Any) -> bool:  # noqa: ANN401 - pyarrow's type
    """Whether cells of a type may be encoded images."""
    types = import_arrow().types
    if types.is_struct(kind):
        fields = {kind.field(position).name: kind.field(position).type for position in range(kind.num_fields)}
        return _BYTES in fields and set(fields) <= {_BYTES, _PATH} and is_bytes(fields[_BYTES], types)
    return is_bytes(kind, types)


def read_class_names(files: Sequence[Path], column: str) -> tuple[str, ...] | None:
    """Return the names that Hugging Face's datasets keeps for a column of class numbers; None: there are none.

    Raises:
        DataError: Two files name the classes differently, so that one number would be two classes; or two classes have one name; or a file
            is damaged.
    """
    names = [_read_names(file, column) for file in files]
    for file, other in zip(files, names, strict=True):
        if other != names[0]:
            message = (
                f"{file}: column {column} names the classes {_list_names(other)}, and {files[0].name} names them {_list_names(names[0])};"
                " write all files with the same names in the same order"
            )
            raise DataError(message)
    if names[0] is not None:
        _refuse_equal_names(names[0], f"{files[0]}: column {column}")
    return names[0]


def _refuse_equal_names(names: tuple[str, ...], where: str) -> None:
    first = {name: number for number, name in reversed(list(enumerate(names)))}
    for number, name in enumerate(names):
        if first[name] != number:
            message = (
                f"{where} names both class {first[name]} and class {number} {name!r}, and predictions are names; write the file with"
                " another name for one, or with one class for both"
            )
            raise DataError(message)


def _list_names(names: tuple[str, ...] | None) -> str:
    """The first names of the classes, for a sentence."""
    return "not at all" if names is None else ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")


def _read_names(file: Path, column: str) -> tuple[str, ...] | None:
    metadata = _read_schema(file).metadata or {}
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][column]
        names = feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, ValueError, TypeError):
        return None
    return None if not names else tuple(map(str, names))


def _read_schema(file: Path) -> Any:  # noqa: ANN401 - pyarrow's schema
    arrow = import_arrow()
    if not file.is_file():
        message = f"{file} is missing; put the file there or correct its path"
        raise DataError(message)
    try:
        return open_stream(file, arrow).schema if file.suffix == STREAM_SUFFIX else arrow.parquet.read_schema(file)
    except (OSError, arrow.ArrowException) as error:
        text = " ".join(str(error).split())[:200]
        message = f"{file} cannot be read as {'an Arrow' if file.suffix == STREAM_SUFFIX else 'a Parquet'} file ({text}); copy it again"
        raise DataError(message) from error

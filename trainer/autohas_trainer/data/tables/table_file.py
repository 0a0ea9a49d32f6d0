"""One CSV file, read with suspicion: every defect ends in a `DataError` that names the file and the line.

The parser is Python's own: pyarrow's counts rows where a person needs lines, and takes open quotes, NUL bytes and other encodings.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autohas_trainer.data.files.text_file import read_text
from autohas_trainer.data.spellings import number
from autohas_trainer.data.tables.cells import Cells
from autohas_trainer.errors import DataError

__all__ = ["Table", "hint_at_missing_header", "read_table"]

_DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar", " ": "space"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A rectangular table, whose cells are words.

    Attributes:
        path: Where it was read.
        header: Names of the columns, all different.
        columns: Cells by column, each as long as `lines`; a column that is not read may be absent.
        lines: Line of the file on which each row ends, the header being line 1.
        is_headerless: Whether columns are named by their position, counted from 1.
        place_of: Where a row lies, for a table without lines; None: on its line.
        index_columns: Columns that number or name the rows, as the file itself says; they are inputs only where the search names them.
    """

    path: Path
    header: tuple[str, ...]
    columns: Mapping[str, Cells]
    lines: Sequence[int]
    is_headerless: bool = False
    place_of: Callable[[int], str] | None = None
    index_columns: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    def place(self, row: int) -> str:
        """Return where row number `row` lies, for an error."""
        return f"{self.path}, line {self.lines[row]}" if self.place_of is None else self.place_of(row)


def read_table(path: Path, delimiter: str, *, has_header: bool = True) -> Table:
    """Return the table in `path`: UTF-8, plain or gzipped, at least one row; blank lines are skipped, cells stripped of blanks.

    Raises:
        DataError: The file is missing, not text, empty or ragged, has another delimiter, or a column has no name or another's.
    """
    text = read_text(path)
    rows: list[list[str]] = []
    lines: list[int] = []
    last = 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            last = reader.line_num
            if cells and not (len(cells) == 1 and not cells[0].strip()):
                rows.append([cell.strip() for cell in cells])
                lines.append(reader.line_num)
    except csv.Error as error:
        _check_delimiter(path, text.lstrip().splitlines()[0], delimiter)
        start = "" if reader.line_num == last + 1 else f" in the row that begins on line {last + 1}, where a quote may be left open"
        message = f"{path}, line {reader.line_num}: {error}{start}; fix the quotes or the line"
        raise DataError(message) from error
    if not rows:
        message = f"{path} is empty; it must hold {'a header and rows' if has_header else 'rows'}"
        raise DataError(message)
    if rows[0][0].lower().startswith("sep="):
        message = f"{path}, line 1: {text.splitlines()[0]!r} is Excel's note of the delimiter; remove the line"
        raise DataError(message)
    if len(rows[0]) == 1:
        _check_title(path, rows, lines, delimiter)
        _check_delimiter(path, rows[0][0], delimiter)
    header = _header(path, rows, delimiter) if has_header else tuple(str(position + 1) for position in range(len(rows[0])))
    _check_rectangle(path, rows, lines, len(header), "header" if has_header else "first line")
    first = 1 if has_header else 0
    columns = dict(zip(header, zip(*rows[first:], strict=True), strict=True))
    return Table(path=path, header=header, columns=columns, lines=tuple(lines[first:]), is_headerless=not has_header)


def hint_at_missing_header(header: Sequence[str]) -> str:
    """Return what to do, as the end of an error, when the names of the columns look like a row of data."""
    data = next((name for name in header if number(name) is not None), None)
    return "" if data is None else f'; if the file has no header ({data!r} is no name), set task.data.arguments.header to "false"'


def _check_title(path: Path, rows: list[list[str]], lines: list[int], delimiter: str) -> None:
    """Refuse a first line of one cell above rows of several that are all alike: a title or a comment, and no header.

    Raises:
        DataError: Names the line.
    """
    widths = {len(cells) for cells in rows[1:]}
    if len(widths) == 1 and min(widths) > 1:
        message = (
            f"{path}, line {lines[0]}: {rows[0][0][:60]!r} is one cell, all other lines have {min(widths)} (the delimiter is"
            f" {delimiter!r}): it looks like a title or a comment; remove the line"
        )
        raise DataError(message)


def _check_delimiter(path: Path, line: str, delimiter: str) -> None:
    """Refuse a first line that the delimiter does not divide and another would.

    Raises:
        DataError: Names the delimiter that is there.
    """
    counts = {other: line.count(other) for other in _DELIMITERS if other != delimiter}
    other = max(counts, key=lambda candidate: (candidate != " " and counts[candidate], counts[candidate]))
    if delimiter in line or counts[other] == 0:
        return
    value = "tab" if other == "\t" else other
    hint = "remove task.data.arguments.delimiter" if other == "," else f'set task.data.arguments.delimiter to "{value}"'
    message = (
        f"{path}, line 1 has no {_DELIMITERS.get(delimiter, repr(delimiter))} but {counts[other]}"
        f" {_DELIMITERS[other]}{'' if counts[other] == 1 else 's'} ({line[:60]!r}): {hint}"
    )
    raise DataError(message)


def _header(path: Path, rows: list[list[str]], delimiter: str) -> tuple[str, ...]:
    header = rows[0]
    hint = hint_at_missing_header(header)
    for position, name in enumerate(header):
        if not name:
            message = f"{path}, line 1: column {position + 1} has no name; the first line must name every column{hint}"
            raise DataError(message)
        if name in header[:position]:
            message = f"{path}, line 1: two columns are called {name!r}; rename one{hint}"
            raise DataError(message)
    if len(rows) == 1:
        message = f"{path} has a header but no rows (columns: {_list_names(header)}; the delimiter is {delimiter!r}){hint}"
        raise DataError(message)
    return tuple(header)


def _check_rectangle(path: Path, rows: list[list[str]], lines: list[int], width: int, first: str) -> None:
    for cells, line in zip(rows, lines, strict=True):
        if len(cells) != width:
            message = f"{path}, line {line} has {len(cells)} cells, the {first} has {width} ({_list_names(rows[0])}); fix the line"
            raise DataError(message)


def _list_names(names: list[str]) -> str:
    """Return the first few names."""
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"  # noqa: PLR2004 - enough to recognise the file

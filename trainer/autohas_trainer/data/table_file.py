"""One CSV file, read with suspicion: every defect ends in a `DataError` that names the file and the line."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from autohas_trainer.errors import DataError

__all__ = ["Table", "read_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A rectangular table of text.

    Attributes:
        path: Where it was read.
        header: Names of the columns, all different.
        columns: Cells by column, each as long as `lines`.
        lines: Line of the file on which each row ends, the header being line 1.
    """

    path: Path
    header: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    def place(self, row: int) -> str:
        """Return where row number `row` lies, for an error."""
        return f"{self.path}, line {self.lines[row]}"


def read_table(path: Path, delimiter: str) -> Table:
    """Return the table in `path`: UTF-8, a header, at least one row; blank lines are skipped, cells stripped of blanks.

    Raises:
        DataError: The file is missing, not text, empty or ragged, or a column has no name or another's.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                if cells and not (len(cells) == 1 and not cells[0].strip()):
                    rows.append([cell.strip() for cell in cells])
                    lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        raise DataError(message) from error
    except csv.Error as error:
        message = f"{path}, line {reader.line_num}: {error}; fix the quotes or the line"
        raise DataError(message) from error
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror or error}); check task.data.path, the volume and its permissions"
        raise DataError(message) from error
    header = _header(path, rows, delimiter)
    _check_rectangle(path, rows, lines, len(header))
    columns = dict(zip(header, zip(*rows[1:], strict=True), strict=True))
    return Table(path=path, header=header, columns=columns, lines=tuple(lines[1:]))


def _header(path: Path, rows: list[list[str]], delimiter: str) -> tuple[str, ...]:
    if not rows:
        message = f"{path} is empty; it must hold a header and rows"
        raise DataError(message)
    header = rows[0]
    for position, name in enumerate(header):
        if not name:
            message = f"{path}, line 1: column {position + 1} has no name; the first line must name every column"
            raise DataError(message)
        if name in header[:position]:
            message = f"{path}, line 1: two columns are called {name!r}; rename one"
            raise DataError(message)
    if len(rows) == 1:
        message = f"{path} has a header but no rows (columns: {_listed(header)}; the delimiter is {delimiter!r})"
        raise DataError(message)
    return tuple(header)


def _check_rectangle(path: Path, rows: list[list[str]], lines: list[int], width: int) -> None:
    for cells, line in zip(rows, lines, strict=True):
        if len(cells) != width:
            message = f"{path}, line {line} has {len(cells)} cells, the header has {width} ({_listed(rows[0])}); fix the line"
            raise DataError(message)


def _listed(names: list[str]) -> str:
    """Return the first few names."""
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"  # noqa: PLR2004 - enough to recognise the file

"""A text file as people send it: UTF-8, plain or gzipped. Any other kind is named, with the command or the menu that converts it."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Final

from autohas_trainer.data.files.gzip_file import explain_gzip_errors
from autohas_trainer.errors import DataError

__all__ = ["read_text"]

_GZIP: Final = b"\x1f\x8b"
_MAX_GIB: Final = 4
"""Of unpacked text: a small file can unpack to a thousand times its size."""
_WORKBOOK_SUFFIXES: Final = (".xlsx", ".xlsm", ".ods")
_SAVE_SHEET: Final = "save the sheet as CSV (UTF-8)"
_TO_CSV: Final = "convert it, for example with pandas: read_{}(...).to_csv(..., index=False)"
_SIGNATURES: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"PAR1", "a Parquet file", _TO_CSV.format("parquet")),
    (b"ARROW1", "an Arrow (Feather) file", _TO_CSV.format("feather")),
    (b"\x89HDF\r\n", "an HDF5 file", _TO_CSV.format("hdf")),
    (b"\x93NUMPY", "a numpy file", "write it with numpy.savetxt(..., delimiter=',', header=..., comments='')"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)", _SAVE_SHEET),
    (b"\xfd7zXZ\0", "packed with xz", "unpack it (xz -d), or pack it with gzip, which is read"),
    (b"BZh", "packed with bzip2", "unpack it (bunzip2), or pack it with gzip, which is read"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it (unzstd), or pack it with gzip, which is read"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"%PDF", "a PDF file", "export the table as CSV"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "fetch the file with git lfs pull"),
)
"""First bytes, what they mean, what to do."""
_BYTE_ORDER_MARKS: Final = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def read_text(path: Path) -> str:
    """Return the content of `path`, without a byte-order mark; line ends stay as they are.

    Raises:
        DataError: It cannot be read or unpacked, is of another kind, in another encoding, or holds NUL bytes; names the kind.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror or error}); check task.data.path, the volume and its permissions"
        raise DataError(message) from error
    if content.startswith(_GZIP):
        content = _unpack(path, content)
    _refuse_other_kinds(path, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(_encoding_sentence(path, content, error.start)) from error
    if (position := text.find("\0")) >= 0:
        line = text.count("\n", 0, position) + 1
        message = f"{path}, line {line}: the file holds NUL bytes, which no text does; write it again, or remove them (tr -d '\\000')"
        raise DataError(message)
    return text


def _unpack(path: Path, content: bytes) -> bytes:
    with explain_gzip_errors(path), gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read((_MAX_GIB << 30) + 1)
    if len(unpacked) > _MAX_GIB << 30:
        message = f"{path} unpacks to more than {_MAX_GIB} GiB, the most that is read; leave out rows or columns"
        raise DataError(message)
    return unpacked


def _refuse_other_kinds(path: Path, content: bytes) -> None:
    """Refuse what is no table of text, by its first bytes.

    Raises:
        DataError: Names the kind and what to do.
    """
    kind = next(((what, hint) for first, what, hint in _SIGNATURES if content.startswith(first)), None)
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if content.startswith(b"PK\x03\x04"):
        is_workbook = path.suffix.lower() in _WORKBOOK_SUFFIXES or b"xl/" in content[:4096]
        kind = ("an Excel workbook", _SAVE_SHEET) if is_workbook else ("a zip archive", "unpack it (unzip), or pack the file with gzip")
    elif content[257:262] == b"ustar":
        kind = ("a tar archive", "unpack it (tar -x)")
    elif start.startswith((b"<!doctype html", b"<html")):
        kind = ("a web page (HTML)", "download the file itself")
    elif start.startswith((b"{", b"[{", b"[[")):
        kind = ("JSON", _TO_CSV.format("json"))
    if kind is not None:
        message = f"{path} is {kind[0]}, not a CSV file; {kind[1]}"
        raise DataError(message)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if encoding is None and content[:2000].count(0) > len(content[:2000]) // 4:
        encoding = "UTF-16"
    if encoding is not None:
        message = f"{path} is not UTF-8 text but {encoding}; convert it, for example: iconv -f {encoding} -t UTF-8 {path.name} > utf8.csv"
        raise DataError(message)


def _encoding_sentence(path: Path, content: bytes, position: int) -> str:
    """Return the error about the byte at `position`, with the letter that it is in the commonest other encoding."""
    line = content.count(b"\n", 0, position) + 1
    byte = content[position : position + 1]
    letter = byte.decode("cp1252", errors="replace")
    return (
        f"{path} is not UTF-8 text: line {line} has the byte 0x{byte.hex()}, which is {letter!r} in Windows-1252 (Latin-1);"
        f" if that is right, convert it: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8.csv"
    )

"""Files that are no plain CSV: read where that loses nothing, else named with what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data import load
from autohas_trainer.data.files import text_file
from autohas_trainer.data.tables.table import table
from autohas_trainer.errors import DataError
from data_fixtures import test_numbers, train_numbers

CLASSES, NUMBERS = TaskKind.CLASSIFICATION, TaskKind.REGRESSION
ROWS = [("12.5", "Köln", "x"), ("13.5", "Ulm", "y"), ("14.5", "Köln", "x"), ("12.5", "Ulm", "y")] * 5


def text(delimiter: str = ",", *, header: bool = True) -> str:
    """A small sound table."""
    rows = [delimiter.join(row) for row in ROWS]
    return "\n".join([delimiter.join(("age", "city", "label")), *rows] if header else rows) + "\n"


def archive(name: str) -> bytes:
    """A zip with one member."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(name, text())
    return content.getvalue()


def tarred() -> bytes:
    """A tar with one member."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        file.addfile(tarfile.TarInfo("t.csv"), io.BytesIO(b""))
    return content.getvalue()


OTHERS: dict[str, tuple[bytes, str]] = {
    "workbook": (archive("xl/workbook.xml"), r"is an Excel workbook, not a CSV file; save the sheet as CSV \(UTF-8\)"),
    "old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1", r"is an Excel workbook \(\.xls\), not a CSV file; save the sheet as CSV"),
    "zip": (archive("t.csv"), r"is a zip archive, not a CSV file; unpack it \(unzip\)"),
    "tar": (tarred(), r"is a tar archive, not a CSV file"),
    "gzipped tar": (gzip.compress(tarred()), r"is a tar archive, not a CSV file"),
    "xz": (lzma.compress(text().encode()), r"is packed with xz, not a CSV file; unpack it \(xz -d\)"),
    "bzip2": (bz2.compress(text().encode()), r"is packed with bzip2"),
    "zstd": (b"\x28\xb5\x2f\xfd\0\0", r"is packed with zstd"),
    "Parquet": (b"PAR1\x15\x04", r"is a Parquet file, not a CSV file; convert it, for example with pandas: read_parquet"),
    "Feather": (b"ARROW1\0\0", r"is an Arrow \(Feather\) file"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", r"is an HDF5 file"),
    "numpy": (b"\x93NUMPY\x01", r"is a numpy file"),
    "SQLite": (b"SQLite format 3\0", r"is an SQLite database"),
    "JSON": (b'[{"age": 1}]', r"is JSON, not a CSV file"),
    "JSON lines": (b'{"age": 1}\n{"age": 2}\n', r"is JSON, not a CSV file"),
    "login page": (b"<!DOCTYPE html><html>", r"is a web page \(HTML\), not a CSV file; download the file itself"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", r"is a pointer of Git LFS.*git lfs pull"),
    "UTF-16": (
        text().encode("utf-16"),
        r"is not UTF-8 text but UTF-16; convert it, for example: iconv -f UTF-16 -t UTF-8 t\.csv > utf8\.csv",
    ),
    "UTF-16 without a mark": (text().encode("utf-16-le"), r"is not UTF-8 text but UTF-16"),
    "UTF-32": (text().encode("utf-32"), r"is not UTF-8 text but UTF-32"),
    "Latin-1": (text().encode("latin-1"), r"line 2 has the byte 0xf6, which is 'ö' in Windows-1252.*iconv -f WINDOWS-1252 -t UTF-8 t\.csv"),
    "NUL bytes": (b"age,city,label\n1,a\0,x\n", r"t\.csv, line 2: the file holds NUL bytes"),
    "cut gzip": (gzip.compress(text().encode())[:-9], r"is a gzip file cut short; copy it again"),
    "damaged gzip": (gzip.compress(text().encode())[:-8] + b"12345678", r"is not a sound gzip file"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_kind_is_named_with_what_to_do(kind: str, tmp_path: Path) -> None:
    """One sentence in the place of a byte number, or of 300 characters of noise."""
    content, words = OTHERS[kind]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        table(tmp_path / "t.csv", {"target": "label"}, CLASSES)


@pytest.mark.parametrize("name", ["train.csv", "train.csv.gz"])
def test_a_gzipped_table_is_read_as_a_plain_one(name: str, tmp_path: Path) -> None:
    """By its content, in a folder under either name; a byte-order mark is no part of the first column."""
    (tmp_path / "plain.csv").write_text(text())
    (tmp_path / name).write_bytes(gzip.compress(b"\xef\xbb\xbf" + text().encode()))
    plain, packed = table(tmp_path / "plain.csv", {"target": "label"}, CLASSES), table(tmp_path, {"target": "label"}, CLASSES)

    assert np.array_equal(train_numbers(plain), train_numbers(packed))
    assert packed.columns == ("age", "city", "city")


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What unpacks to more than is read is refused before it is parsed."""
    monkeypatch.setattr(text_file, "_MAX_GIB", 0)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text().encode()))
    with pytest.raises(DataError, match=r"t\.csv\.gz unpacks to more than 0 GiB"):
        table(tmp_path / "t.csv.gz", {"target": "label"}, CLASSES)


@pytest.mark.parametrize(
    ("delimiter", "given", "words"),
    [
        (";", ",", r'line 1 has no comma but 2 semicolons \(\'age;city;label\'\): set task\.data\.arguments\.delimiter to ";"'),
        ("\t", ",", r'line 1 has no comma but 2 tabs .*: set task\.data\.arguments\.delimiter to "tab"'),
        ("|", ",", r'line 1 has no comma but 2 vertical bars .*delimiter to "\|"'),
        (" ", ",", r'line 1 has no comma but 2 spaces .*delimiter to " "'),
        (",", ";", r"line 1 has no semicolon but 2 commas .*: remove task\.data\.arguments\.delimiter"),
    ],
)
def test_another_delimiter_is_named(delimiter: str, given: str, words: str, tmp_path: Path) -> None:
    """The one that the file has, and where to say so; said so, the file is read."""
    (tmp_path / "t.csv").write_text(text(delimiter))
    with pytest.raises(DataError, match=words):
        table(tmp_path / "t.csv", {"target": "label", "delimiter": given}, CLASSES)

    named = "tab" if delimiter == "\t" else delimiter
    assert table(tmp_path / "t.csv", {"target": "label", "delimiter": named}, CLASSES).columns == ("age", "city", "city")


def test_another_delimiter_is_named_where_cells_are_quoted(tmp_path: Path) -> None:
    """The parser stops at the quotes before the header can be looked at."""
    (tmp_path / "t.csv").write_text('"age";"city";"label"\n"1";"a";"x"\n')
    with pytest.raises(DataError, match=r"line 1 has no comma but 2 semicolons"):
        table(tmp_path / "t.csv", {"target": "label"}, CLASSES)


@pytest.mark.parametrize("title", ["# exported on Monday", "Report", '"a title; with a semicolon"'])
def test_a_title_above_the_header_is_named(title: str, tmp_path: Path) -> None:
    """Its blanks and semicolons are no delimiters: every other line has the one that was given."""
    (tmp_path / "t.csv").write_text(f"{title}\n{text()}")
    with pytest.raises(DataError, match=r"t\.csv, line 1: .* is one cell, all other lines have 3 .* a title or a comment; remove the line"):
        table(tmp_path / "t.csv", {"target": "label"}, CLASSES)


def test_excel_s_note_of_the_delimiter_is_named(tmp_path: Path) -> None:
    """It is neither a header nor a row."""
    (tmp_path / "t.csv").write_text("sep=;\n" + text(";"))
    with pytest.raises(DataError, match=r"line 1: 'sep=;' is Excel's note of the delimiter; remove the line"):
        table(tmp_path / "t.csv", {"target": "label", "delimiter": ";"}, CLASSES)


def test_a_file_without_a_header_has_columns_by_position(tmp_path: Path) -> None:
    """Counted from 1; every line is a row and keeps its number; a test file is read alike."""
    (tmp_path / "train.csv").write_text(text(header=False))
    (tmp_path / "test.csv").write_text("12.5,Ulm,y\n")
    task = table(tmp_path, {"target": "3", "header": "false"}, CLASSES)

    assert (task.columns, len(task.targets_N), test_numbers(task).tolist()) == (("1", "2", "2"), 20, [[12.5, 0, 1]])
    assert task.place(0).endswith("train.csv, line 1")


def test_a_header_that_is_data_is_doubted(tmp_path: Path) -> None:
    """Where the target, or a name, is missing among numbers, the sentence says how to read a file without a header."""
    hint = r'if the file has no header \(\'12\.5\' is no name\), set task\.data\.arguments\.header to "false"'
    (tmp_path / "t.csv").write_text(text(header=False))
    with pytest.raises(DataError, match=r"has no column 'label'.*" + hint):
        table(tmp_path / "t.csv", {"target": "label"}, CLASSES)
    (tmp_path / "t.csv").write_text("12.5,12.5,x\n1,2,y\n")
    with pytest.raises(DataError, match=r"two columns are called '12\.5'; rename one; " + hint):
        table(tmp_path / "t.csv", {"target": "label"}, CLASSES)


def test_a_header_read_as_data_is_doubted(tmp_path: Path) -> None:
    """The other mistake: header is false and the first line is one."""
    (tmp_path / "t.csv").write_text(text())
    with pytest.raises(DataError, match=r"line 1: 'age' in column 1 is no number.*if line 1 names the columns, remove .*header"):
        table(tmp_path / "t.csv", {"target": "3", "header": "false"}, CLASSES)


def loaded(path: str) -> int:
    """Rows that `load` takes from a table."""
    splits = load(
        "csv", path, {"target": "label"}, kind=CLASSES, reward=0.2, selection=0.2, stratify=True, seed=0, device=torch.device("cpu")
    )
    return splits.num_train + splits.num_reward + splits.num_selection + splits.num_test


def test_a_home_folder_is_found_on_a_laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """~ is what the shell takes it for."""
    (tmp_path / "t.csv").write_text(text() * 1)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert loaded("~/t.csv") == 20


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    """With blanks written as %20."""
    (tmp_path / "my t.csv").write_text(text())

    assert loaded(f"file://{tmp_path}/my%20t.csv") == 20


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("$HOME/t.csv", r"'\$HOME/t\.csv' is missing: variables are not replaced there; write the path out, or begin it with ~"),
        ("${DATA}/t.csv", r"variables are not replaced there"),
        ("https://example.org/t.csv", r"is a URL of a kind that is not read \(s3://, gs://, hf://, file:// are\)"),
        ("file://data/t.csv", r"must have three slashes and an absolute path, for example file:///data/train\.csv"),
        ("~absent-user/t.csv", r"begins with a home folder that is not known here"),
        ("absent/t.csv", r"absent/t\.csv is missing \(relative to /"),
    ],
)
def test_a_path_that_only_a_shell_or_a_browser_understands_is_named(path: str, words: str) -> None:
    """What is not replaced, and what to write instead."""
    with pytest.raises(DataError, match=words):
        loaded(path)

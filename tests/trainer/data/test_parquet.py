"""Tables in Parquet and Arrow files: the same inputs as from a CSV, in every layout, and columns that are no cells are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data import Splits, load
from autohas_trainer.errors import ConfigurationError, DataError

COLUMNS: dict[str, list[Any]] = {
    "size": [0.1 * index + 1 / 3 for index in range(40)],
    "count": [index * index for index in range(40)],
    "city": ["Köln" if index % 3 else "Ulm" for index in range(40)],
    "label": ["x" if index % 2 else "y" for index in range(40)],
}


def read(path: Path, name: str = "parquet", kind: TaskKind = TaskKind.CLASSIFICATION, **arguments: str) -> Splits:
    """The splits of a table with target label."""
    given = {"target": "label", "numeric": "count", **arguments}
    return load(name, str(path), given, kind=kind, reward=0.25, selection=0.25, stratify=True, seed=0, device=torch.device("cpu"))


def table(**changes: Any) -> pa.Table:
    return pa.table(COLUMNS | changes)


def write_stream(part: pa.Table, path: Path) -> None:
    """As Hugging Face's datasets writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, part.schema) as writer:
        writer.write_table(part)


def write_feather(part: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, part.schema) as writer:
        writer.write_table(part)


def write_shards(folder: Path) -> None:
    (folder / "data").mkdir()
    for index in range(2):
        pq.write_table(table().slice(20 * index, 20), folder / "data" / f"train-0000{index}-of-00002.parquet")


def write_saved_dataset(folder: Path) -> None:
    for index in range(2):
        write_stream(table().slice(20 * index, 20), folder / "train" / f"data-0000{index}-of-00002.arrow")
    (folder / "train" / "dataset_info.json").write_text("{}")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "one file": lambda folder: pq.write_table(table(), folder / "train.parquet"),
    "shards": write_shards,
    "a saved dataset": write_saved_dataset,
    "shards only": lambda folder: write_stream(table(), folder / "data-00000-of-00001.arrow"),
    "Feather": lambda folder: write_feather(table(), folder / "train.arrow"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_numbers_of_a_csv(layout: str, tmp_path: Path) -> None:
    """Bit for bit: the shortest text of a number names it. The held-out test has a key of its own, so only the sizes are compared there."""
    rows = "\n".join(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))
    (tmp_path / "t.csv").write_text(f"{','.join(COLUMNS)}\n{rows}\n")
    (tmp_path / "folder").mkdir()
    LAYOUTS[layout](tmp_path / "folder")
    pq.write_table(table(), tmp_path / "folder" / "held.parquet")
    (tmp_path / "held.csv").write_text((tmp_path / "t.csv").read_text())

    made, expected = read(tmp_path / "folder", testFile="held.parquet"), read(tmp_path / "t.csv", "csv", testFile="held.csv")

    assert made.identity == expected.identity
    assert made.summary == expected.summary


def test_types_that_a_csv_has_not_become_cells(tmp_path: Path) -> None:
    """Dictionaries are words, booleans true and false, NaN and null are missing, 32-bit floats keep their value."""
    words = pa.array(COLUMNS["city"]).dictionary_encode()
    sizes = pa.array([None if index == 3 else float("nan") if index == 4 else 0.1 * index for index in range(40)], pa.float32())
    pq.write_table(table(city=words, size=sizes, flag=[index % 4 == 0 for index in range(40)]), tmp_path / "t.parquet")

    splits = read(tmp_path / "t.parquet", missing="impute")

    assert "flag: one input for each of 2 words in 40 rows (false, true)" in splits.summary
    assert any(line.startswith("size: number from 0 to 3.9; 2 of 40 are missing") for line in splits.summary)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ([[1, 2]] * 40, r"t\.parquet: column odd is nested \(list<.*int64>\), and a table has one number or word per cell; flatten it"),
        ([{"bytes": b"1"}] * 40, r"t\.parquet: column odd is nested \(struct<bytes: binary>\)"),
        ([b"1"] * 40, r"t\.parquet: column odd is of bytes \(binary\)"),
    ],
)
def test_a_column_that_is_no_cell_is_named(column: list[Any], words: str, tmp_path: Path) -> None:
    """Ignoring it is enough."""
    pq.write_table(table(odd=column), tmp_path / "t.parquet")

    with pytest.raises(DataError, match=words):
        read(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", ignore="odd").num_test == 8


def test_a_defect_has_its_shard_and_row(tmp_path: Path) -> None:
    """Counted in the file, from 1 on."""
    write_shards(tmp_path)
    bad = table(size=["1"] * 25 + ["seven"] + ["2"] * 14)
    for index in range(2):
        pq.write_table(bad.slice(20 * index, 20), tmp_path / "data" / f"train-0000{index}-of-00002.parquet")

    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet, row 6: 'seven' in column size is no number"):
        read(tmp_path)


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """A cut file, another set of columns, no rows, no file."""
    write_shards(tmp_path)
    second = tmp_path / "data" / "train-00001-of-00002.parquet"
    pq.write_table(table().drop_columns(["city"]), second)
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet: the columns differ from those of train-00000.* \(city\)"):
        read(tmp_path)
    second.write_bytes(second.read_bytes()[:100])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet cannot be read as a Parquet file .*; copy it again"):
        read(tmp_path)
    pq.write_table(table().slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match=r"empty\.parquet has no rows \(columns: size, count, city, label\)"):
        read(tmp_path / "empty.parquet")
    with pytest.raises(DataError, match=r"absent is missing; put the file there"):
        read(tmp_path / "absent")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"nothing has no train\.parquet, no train-\*\.parquet, and no file that ends in"):
        read(tmp_path / "nothing")


def test_the_absent_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""

    def refuse(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    pq.write_table(table(), tmp_path / "t.parquet")
    monkeypatch.setattr("autohas_trainer.data.arrow.arrow_file.importlib.import_module", refuse)

    with pytest.raises(ConfigurationError, match=r"needs the package pyarrow\.parquet, which is not installed: .*\[arrow\]"):
        read(tmp_path / "t.parquet")

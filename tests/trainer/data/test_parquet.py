"""Tables in Parquet and Arrow files: the same inputs as from a CSV, in every layout, and columns that are no cells are named."""

from __future__ import annotations

import datetime as dt
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data import Splits, load
from autohas_trainer.data.arrow.arrow_file import read_arrow_table
from autohas_trainer.data.arrow.parquet import parquet
from autohas_trainer.data.tables.cells import Numbers
from autohas_trainer.errors import ConfigurationError, DataError
from data_fixtures import test_numbers

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
    """A dataset without splits, with the cache of a `map` next to its files, as datasets' `save_to_disk` leaves them."""
    folder.mkdir(exist_ok=True)
    names = [f"data-0000{index}-of-00002.arrow" for index in range(2)]
    for index, name in enumerate(names):
        write_stream(table().slice(20 * index, 20), folder / name)
    write_stream(pa.table({"other": [1]}), folder / "cache-1fb0a5c5c3d6.arrow")
    state = {"_data_files": [{"filename": name} for name in names], "_indices_data_files": None, "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def write_saved_splits(folder: Path) -> None:
    write_saved_dataset(folder / "train")
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')


def write_row_groups(folder: Path) -> None:
    """Three groups of rows, of which each has words of its own."""
    pq.write_table(table(), folder / "train.parquet", row_group_size=15)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "one file": lambda folder: pq.write_table(table(), folder / "train.parquet"),
    "shards": write_shards,
    "groups of rows": write_row_groups,
    "a saved dataset": write_saved_dataset,
    "saved splits": write_saved_splits,
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


@pytest.mark.parametrize("roles", [{"group": "count"}, {"group": "house"}, {"order": "count"}, {"order": "day"}, {"categorical": "count"}])
def test_roles_of_columns_are_those_of_a_csv(roles: dict[str, Any], tmp_path: Path) -> None:
    """Groups, order and words of numbers, words and dates: the same split as for the same rows as text."""
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=7 * index % 40) for index in range(40)]
    columns = {**COLUMNS, "day": days, "house": [f"h{index * 7 % 19}" for index in range(40)]}
    rows = "\n".join(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))
    (tmp_path / "t.csv").write_text(f"{','.join(columns)}\n{rows}\n")
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    for name in ("held.csv", "held.parquet"):
        (tmp_path / name).write_bytes((tmp_path / name.replace("held", "t")).read_bytes())
    others: dict[str, Any] = {"ignore": ",".join(sorted({"day", "house"} - set(roles.values())))}
    others |= {"numeric": ""} if "count" in roles.values() else {}

    made = read(tmp_path / "t.parquet", testFile="held.parquet", **roles, **others)
    expected = read(tmp_path / "t.csv", "csv", testFile="held.csv", **roles, **others)

    assert made.identity == expected.identity
    assert made.preprocessing == expected.preprocessing


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("number", list(range(5, 45))),
        ("day", [20240101 + 100 * (index % 12) + index // 12 for index in range(40)]),
        ("user_id", [index * index for index in range(40)]),
        ("code", [2**53 + 1 + 2 * index * index for index in range(40)]),
        ("far", [1e30 if index == 7 else 0.5 * index for index in range(40)]),
        ("note", [f"word {index}" for index in range(40)]),
        ("size", [1e200 if index == 7 else 0.5 * index for index in range(40)]),
    ],
)
def test_doubts_are_those_of_a_csv(name: str, values: list[Any], tmp_path: Path) -> None:
    """The same sentence about the same rows, but for where they are."""
    rows = "\n".join(f"{value},{label}" for value, label in zip(values, COLUMNS["label"], strict=True))
    (tmp_path / "t.csv").write_text(f"{name},label\n{rows}\n")
    pq.write_table(pa.table({name: values, "label": COLUMNS["label"]}), tmp_path / "t.parquet")

    sentences = []
    for reader in ("csv", "parquet"):
        with pytest.raises(DataError) as caught:
            read(tmp_path / f"t.{reader}", reader, numeric="")
        sentences.append(re.sub(r"t\.(csv, line|parquet, row) \d+|t\.(csv|parquet)", "t", str(caught.value)))

    assert sentences[0] == sentences[1]


@pytest.mark.parametrize("reader", ["csv", "parquet"])
def test_an_infinite_number_in_a_long_column_is_named(reader: str, tmp_path: Path) -> None:
    """It has no logarithm: the sentence is not the one about numbers that are far apart."""
    values = [float("inf") if index == 7 else 0.5 * index for index in range(40)]
    rows = "\n".join(f"{value},{label}" for value, label in zip(values, COLUMNS["label"], strict=True))
    (tmp_path / "t.csv").write_text(f"size,label\n{rows}\n")
    pq.write_table(pa.table({"size": values, "label": COLUMNS["label"]}), tmp_path / "t.parquet")

    with pytest.raises(DataError, match=r"(line 9|row 8): 'inf' in column size is no finite number, as the others are; fix it"):
        read(tmp_path / f"t.{reader}", reader, numeric="")


def test_missing_values_are_named_or_become_the_mean(tmp_path: Path) -> None:
    """A null and NaN, in a number, an integer, a word and the target."""
    for name, values in {
        "size": [0.5, float("nan"), *[1.5] * 38],
        "count": [1, None, *range(38)],
        "city": ["a", None, *["b"] * 38],
    }.items():
        pq.write_table(table(**{name: values}), tmp_path / "t.parquet")
        with pytest.raises(DataError, match=rf"t\.parquet, row 2: column {name} has no value \(''\); fill it in"):
            read(tmp_path / "t.parquet")
        assert read(tmp_path / "t.parquet", missing="impute").num_test == 8
    pq.write_table(table(label=[*COLUMNS["label"][:-1], None]), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet, row 40: column label has no value \(''\); remove the row"):
        read(tmp_path / "t.parquet")


def test_shards_of_different_types_are_one_column(tmp_path: Path) -> None:
    """Integers and floats are numbers; numbers and words are a mixture, whose first word is named."""
    write_shards(tmp_path)
    second = tmp_path / "data" / "train-00001-of-00002.parquet"
    pq.write_table(table(size=list(range(40)), count=[str(value) for value in COLUMNS["count"]]).slice(20, 20), second)
    assert any(line.startswith("size: number from 0.333333 to 39") for line in read(tmp_path).summary)

    pq.write_table(table(count=["many"] * 40).slice(20, 20), second)
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet, row 1: 'many' in column count is no number, 20 others are"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["int64", "uint64", "nanoseconds"])
def test_an_order_of_numbers_that_no_float_tells_apart(kind: str, tmp_path: Path) -> None:
    """Neighbours above 2^53, and times a nanosecond apart: the last fifth of the rows is the test, as by their digits."""
    base = {"int64": 2**62, "uint64": 2**63 + 5, "nanoseconds": 1_700_000_000_123_456_000}[kind]
    values = pa.array(range(base, base + 40), pa.uint64() if kind == "uint64" else pa.int64())
    times = values.cast(pa.timestamp("ns")) if kind == "nanoseconds" else values
    order = np.random.default_rng(0).permutation(40)
    pq.write_table(
        pa.table({"row": pa.array(range(40)), "when": times, "label": COLUMNS["size"]}).take(pa.array(order)), tmp_path / "t.parquet"
    )

    raw = parquet(tmp_path / "t.parquet", {"target": "label", "order": "when", "numeric": "row"}, TaskKind.REGRESSION)

    assert sorted(test_numbers(raw)[:, 0]) == list(range(32, 40))


@pytest.mark.parametrize(
    ("first", "second", "kind"), [(7, 2**62 + 1, "int64"), (7, 2**63 + 1, "uint64"), (-7, 2**62 + 1, "int64"), (-7, 2**53 - 1, "int64")]
)
def test_shards_of_both_signs_of_integers_keep_every_digit(first: int, second: int, kind: str, tmp_path: Path) -> None:
    """int64 in one shard and uint64 in the other: one type that holds both."""
    for name, value, type_ in (("a", first, pa.int64()), ("b", second, pa.uint64())):
        pq.write_table(pa.table({"id": pa.array([value], type_)}), tmp_path / f"{name}.parquet")

    cells = read_arrow_table([tmp_path / "a.parquet", tmp_path / "b.parquet"]).columns["id"]

    assert list(cells) == [str(first), str(second)]
    assert isinstance(cells, Numbers)
    assert cells.values_N.dtype == kind


@pytest.mark.parametrize("other", [pa.array([-1], pa.int64()), pa.array([0.5])])
def test_shards_whose_numbers_no_type_holds_are_refused(other: pa.Array, tmp_path: Path) -> None:
    """A number above 2^63 next to a negative one, or to a fraction."""
    pq.write_table(pa.table({"id": pa.array([2**63 + 1], pa.uint64())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": other}), tmp_path / "b.parquet")

    with pytest.raises(
        DataError,
        match=r"a\.parquet and 1 more: column id has integers from .* to 9223372036854775809 of the types uint64, .*64",
    ):
        read_arrow_table([tmp_path / "a.parquet", tmp_path / "b.parquet"])


@pytest.mark.parametrize("index", ["plain", "named", "of datasets"])
def test_the_index_of_pandas_is_no_input_unless_it_is_named(index: str, tmp_path: Path) -> None:
    """As pandas.read_parquet does not list it among the columns; the search may name it, and the test file may lack it."""
    name = {"plain": "__index_level_0__", "named": "day", "of datasets": "__index_level_0__"}[index]
    whole = table(**{name: list(range(0, 80, 2))})
    if index != "of datasets":
        whole = whole.replace_schema_metadata({"pandas": json.dumps({"index_columns": [name]})})
    pq.write_table(whole, tmp_path / "t.parquet")
    pq.write_table(table(), tmp_path / "held.parquet")

    splits = read(tmp_path / "t.parquet", testFile="held.parquet")
    named = read(tmp_path / "t.parquet", numeric=f"count,{name}")

    assert splits.input_shape == read(tmp_path / "held.parquet").input_shape
    assert any(
        f"t.parquet: {name} is the index of the pandas table that was saved, and no input; name it in" in note for note in splits.notes
    )
    assert named.input_shape[0] == splits.input_shape[0] + 1
    assert not named.notes


def test_a_table_takes_little_more_memory_than_its_columns(tmp_path: Path) -> None:
    """No object per cell: a Python string alone takes 49 bytes, a cell here 4 or 8. Arrow's own memory is not counted, it is the file's."""
    number = 100_000
    values = np.random.default_rng(0).standard_normal(number)
    words = np.array(["red", "green", "blue"])[np.arange(number) % 3]
    columns = {"a": values, "b": values.astype(np.float32), "c": np.arange(number) * 7 % 1001, "w": words, "label": values}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    read_arrow_table([tmp_path / "t.parquet"])  # imports take memory too

    tracemalloc.start()
    try:
        made = read_arrow_table([tmp_path / "t.parquet"])
        read_kept, read_peak = tracemalloc.get_traced_memory()
        raw = parquet(tmp_path / "t.parquet", {"target": "label"}, TaskKind.REGRESSION)
        _, whole_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert made.columns["w"][4] == "green"
    assert read_kept < 8 * number  # the codes of the words, as 32-bit integers
    assert read_peak < 32 * number
    assert raw.inputs.shape == (80_000, 6)
    assert whole_peak < 32 * number + 5 * 8 * 6 * number  # some copies of the inputs as float64


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("{", r"state\.json cannot be read \(JSONDecodeError: .*\); save the dataset again with save_to_disk"),
        ('{"_data_files": [{"filename": "gone.arrow"}]}', r"gone\.arrow is missing, and .*state\.json names it; copy the folder again"),
        (
            '{"_data_files": [{"filename": "data-00000-of-00002.arrow"}], "_indices_data_files": [{"filename": "indices.arrow"}]}',
            r"state\.json names a choice of rows that is kept apart from the data; call flatten_indices\(\) before save_to_disk",
        ),
    ],
)
def test_a_saved_dataset_that_is_not_whole_is_refused(state: str, words: str, tmp_path: Path) -> None:
    """The state of a saved dataset says which files belong to it."""
    write_saved_dataset(tmp_path)
    (tmp_path / "state.json").write_text(state)

    with pytest.raises(DataError, match=words):
        read(tmp_path)


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
        (
            [{"bytes": b"1"}] * 40,
            (
                r"t\.parquet: column odd is nested \(struct<bytes: binary>\), and a table has one number or word per cell; set"
                r" task\.data\.name to image-parquet if it holds encoded images, name it in task\.data\.arguments\.ignore, or read the file"
                r" with custom code \(task\.data\.entrypoint\)$"
            ),
        ),
        ([b"1"] * 40, r"t\.parquet: column odd is of bytes \(binary\)"),
        (pa.array([b"1"] * 40, pa.binary_view()), r"t\.parquet: column odd is of bytes \(binary_view\)"),
        (pa.array([b"0123456789abcdef"] * 40, pa.uuid()), r"t\.parquet: column odd is of bytes \(fixed_size_binary\[16\]\)"),
        (
            pa.array([2**31 - 9] * 40, pa.int32()).cast(pa.date32()),
            r"t\.parquet: column odd \(date32\[day\]\) cannot be read as text \(.*\); ",
        ),
        (
            pa.array([0] * 40, pa.timestamp("us", tz="Mars/Phobos")),
            r"column odd \(timestamp\[us, tz=Mars/Phobos\]\) cannot be read as text \(.*\); convert it to numbers or words, or name it",
        ),
    ],
)
def test_a_column_that_is_no_cell_is_named(column: Any, words: str, tmp_path: Path) -> None:
    """Ignoring it is enough."""
    pq.write_table(table(odd=column), tmp_path / "t.parquet")

    with pytest.raises(DataError, match=words):
        read(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet", ignore="odd").num_test == 8


def test_a_column_of_intervals_is_named(tmp_path: Path) -> None:
    """Parquet has none, Arrow has."""
    write_stream(table(odd=pa.array([(1, 2, 3)] * 40, pa.month_day_nano_interval())), tmp_path / "train.arrow")

    with pytest.raises(DataError, match=r"train\.arrow: column odd is of intervals \(month_day_nano_interval\)"):
        read(tmp_path)


def test_the_storage_of_an_extension_type_is_read(tmp_path: Path) -> None:
    """JSON is text, bool8 an integer."""
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([int(index % 4 == 0) for index in range(40)], pa.int8()))
    pq.write_table(table(flag=flags, shape=pa.array(['{"a": 1}', '{"a": 2}'] * 20, pa.json_())), tmp_path / "t.parquet")

    summary = read(tmp_path / "t.parquet").summary

    assert "flag: number from 0 to 1" in summary
    assert any(line.startswith("shape: one input for each of 2 words") for line in summary)


@pytest.mark.parametrize("damage", ["text", "offsets"])
def test_content_that_is_not_of_its_type_is_a_damaged_file(damage: str, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 in a column of text; offsets beyond the text, which would end the process when they are followed."""
    path = tmp_path / "train.arrow"
    write_stream(pa.table({"odd": ["a" * 77, "b" * 78], "size": [0.5, 1.5], "label": ["x", "y"]}), path)
    before, after = {
        "text": (b"a" * 77, b"\xff" * 77),
        "offsets": (np.array([0, 77, 155], np.int32).tobytes(), np.array([0, 10**9, 2 * 10**9], np.int32).tobytes()),
    }[damage]
    assert path.read_bytes().count(before) == 1
    path.write_bytes(path.read_bytes().replace(before, after))

    with pytest.raises(DataError, match=r"train\.arrow cannot be read as an Arrow file \(.*\); copy it again"):
        read(tmp_path)


def test_one_table_in_both_formats_is_refused(tmp_path: Path) -> None:
    """Its rows would be in training and in selection alike."""
    pq.write_table(table(), tmp_path / "train.parquet")
    write_stream(table(), tmp_path / "train.arrow")

    with pytest.raises(
        DataError, match=r"has both train\.arrow and train\.parquet, whose rows would be read twice if they are one table; remove"
    ):
        read(tmp_path)


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
    with pytest.raises(
        DataError,
        match=(
            r"train-00001-of-00002\.parquet: the columns differ from those of train-00000-of-00002\.parquet \(city\);"
            r" all shards need the same ones$"
        ),
    ):
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

"""CSV tables: what becomes of each column, and one sentence with file and line for every defect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autohas_api.accept.acceptance import accept
from autohas_api.base.objective_metrics import TaskKind
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import decode_termination_message, encode_termination_message
from autohas_trainer.data import RawData, Splits
from autohas_trainer.data.split_indices import SplitIndices, split
from autohas_trainer.data.tables.table import table
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.errors import ConfigurationError, DataError
from data_fixtures import test_numbers, train_numbers
from engine_fixtures import MemorySink, search, small_search

CLASSES, NUMBERS = TaskKind.CLASSIFICATION, TaskKind.REGRESSION


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four training rows and two test rows: a number, a word, a class."""
    written(tmp_path / "train.csv", "age,city,label\n10,Ulm,no\n20,Bonn,yes\n30,Ulm,no\n40,Bonn,yes\n")
    written(tmp_path / "test.csv", "label,city,age\nyes,Ulm,15\nno,Kiel,25\n")
    return tmp_path


def test_words_become_columns_of_zeros_and_ones(folder: Path) -> None:
    """Columns are found by name in both files; a city that training never saw is 0 everywhere; classes are in alphabetical order."""
    task = table(folder, {"target": "label"}, CLASSES)

    assert train_numbers(task).tolist() == [[10, 0, 1], [20, 1, 0], [30, 0, 1], [40, 1, 0]]
    assert test_numbers(task).tolist() == [[15, 0, 1], [25, 0, 0]]
    assert (task.targets_N.tolist(), task.test_targets_N.tolist(), task.num_classes) == ([0, 1, 0, 1], [1, 0], 2)
    assert task.scaled_C == (True, False, False)


def test_numbers_may_be_declared_words_and_columns_ignored(folder: Path) -> None:
    """A declared category is one column per value, an ignored column is none."""
    task = table(folder, {"target": "label", "categorical": "age", "ignore": "city"}, CLASSES)

    assert train_numbers(task).tolist() == np.eye(4).tolist()


def test_numeric_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """9 comes before 10."""
    file = written(tmp_path / "t.csv", "x,y\n" + "".join(f"{i},{9 + i % 2}\n" for i in range(20)))

    first = table(file, {"target": "y", "numeric": "x"}, CLASSES)
    assert first.classes == ("9", "10")
    assert all(int(x) % 2 == label for x, label in zip(train_numbers(first)[:, 0], first.targets_N, strict=True))


def test_a_share_of_the_rows_is_the_test_and_always_the_same(tmp_path: Path) -> None:
    """A fifth of each class: 4 of 20 and 2 of 10; no row is in both parts."""
    file = written(tmp_path / "t.csv", "x;y\n" + "".join(f"{i};{'b' if i % 3 else 'a'}\n" for i in range(30)))
    task, again = (table(file, {"target": "y", "numeric": "x", "delimiter": ";"}, CLASSES) for _ in range(2))

    assert np.bincount(task.test_targets_N).tolist() == [2, 4]
    assert sorted([*train_numbers(task)[:, 0], *test_numbers(task)[:, 0]]) == list(range(30))
    assert np.array_equal(test_numbers(task), test_numbers(again))


def test_missing_values_become_the_mean_of_the_train_split_and_a_mark(tmp_path: Path) -> None:
    """Imputed, a missing number is 0 after standardisation and marked; a missing word is a category of its own."""
    rows = "".join(f"{i if i % 5 else ''},{'u' if i % 2 else 'NA'},{i % 2}\n" for i in range(100))
    task = table(written(tmp_path / "t.csv", "x,w,y\n" + rows), {"target": "y", "missing": "impute", "testFraction": "0.1"}, CLASSES)
    indices = split(task, reward=0.2, selection=0.2, stratify=True, seed=0)
    inputs = Splits(task, indices, torch.device("cpu")).train_batch(0, len(indices.train), 0).inputs

    assert task.scaled_C == (True, False, False, False)
    is_missing = inputs[:, 1] == 1
    assert is_missing.any()
    assert inputs[is_missing, 0].tolist() == [0] * int(is_missing.sum())
    assert inputs[~is_missing, 0].mean().item() == pytest.approx(0, abs=1e-6)
    assert inputs[~is_missing, 0].std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert inputs[:, 2:].sum(dim=1).tolist() == [1] * len(inputs)


def test_regression_targets_are_standardised_by_the_train_split(tmp_path: Path) -> None:
    """Train targets have mean 0 and deviation 1; the split's own numbers give the unit back."""
    file = written(tmp_path / "t.csv", "x,y\n" + "".join(f"{i},{3 * i + 7}\n" for i in range(100)))
    task = table(file, {"target": "y", "numeric": "x"}, NUMBERS)
    made = Splits(task, split(task, reward=0.1, selection=0.1, stratify=True, seed=0), torch.device("cpu"))
    targets = made.train_batch(0, made.num_train, 0).targets_B

    assert (task.num_classes, targets.dtype, made.num_classes) == (None, torch.float32, None)
    assert targets.mean().item() == pytest.approx(0, abs=1e-6)
    assert targets.std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_a_constant_column_says_nothing_and_harms_nothing(tmp_path: Path) -> None:
    """It is 0 after standardisation; when all columns are constant there is nothing to learn from."""
    text = "x,c,y\n" + "".join(f"{i},5,{i % 2}\n" for i in range(60))
    task = table(written(tmp_path / "t.csv", text), {"target": "y", "numeric": "x"}, CLASSES)
    indices = split(task, reward=0.1, selection=0.1, stratify=True, seed=0)
    assert Splits(task, indices, torch.device("cpu")).train_batch(0, 8, 0).inputs[:, 1].tolist() == [0] * 8

    nothing = table(tmp_path / "t.csv", {"target": "y", "ignore": "x"}, CLASSES)
    with pytest.raises(DataError, match=r"t\.csv.*inputs are constant"):
        Splits(nothing, split(nothing, reward=0.1, selection=0.1, stratify=True, seed=0), torch.device("cpu"))


HEADER = "age,city,label\n"
SOUND = HEADER + "1,a,x\n2,b,y\n"
DEFECTS: dict[str, tuple[str | bytes, dict[str, str], str]] = {
    "empty": ("", {}, r"train\.csv is empty"),
    "header only": (HEADER, {}, r"train\.csv has a header but no rows \(columns: age, city, label"),
    "blank lines only": ("\n\n", {}, r"train\.csv is empty"),
    "ragged": (SOUND + "3,c\n", {}, r"train\.csv, line 4 has 2 cells, the header has 3 \(age, city, label\); fix the line"),
    "nameless column": ("age,,label\n1,2,3\n", {}, r"line 1: column 2 has no name"),
    "column twice": ("age,age,label\n1,2,3\n", {}, r"line 1: two columns are called 'age'"),
    "open quote": (SOUND + '3,"c,x\n', {}, r"train\.csv, line 4: .*fix the quotes"),
    "quote open to the end": (
        SOUND + '3,"c,x\n1,c,x\n2,c,x\n',
        {},
        r"train\.csv, line 6: unexpected end of data in the row that begins on line 4, where a quote may be left open; fix the quotes",
    ),
    "UTF-16 without letters": (b"\xff\xfe\x00\x01", {}, r"train\.csv is not UTF-8 text but UTF-16"),
    "word in a number column": (
        SOUND + "three,c,x\n",
        {},
        r"train\.csv, line 4: 'three' in column age is no number, 2 others are; fix it",
    ),
    "infinity": (SOUND + "inf,c,x\n", {}, r"line 4: 'inf' in column age is no finite number"),
    "too large": (SOUND + "1e160,c,x\n", {}, r"line 4: '1e160' in column age is no finite number"),
    "NaN": (
        SOUND + "NaN,c,x\n",
        {},
        r"line 4: column age has no value \('NaN'\); fill it in, or set task\.data\.arguments\.missing to impute",
    ),
    "empty cell": (SOUND + "3,,x\n", {}, r"line 4: column city has no value \(''\)"),
    "empty target": (SOUND + "3,c,\n", {"missing": "impute"}, r"line 4: column label has no value \(''\); remove the row"),
    "no value at all": (HEADER + ",a,x\n,b,y\n", {"missing": "impute"}, r"column age has no value at all"),
    "unknown target": (
        SOUND,
        {"target": "price"},
        r"no column 'price' \(task\.data\.arguments\.target\); its columns are age, city, label",
    ),
    "unknown category": (SOUND, {"categorical": "town"}, r"no column 'town' \(task\.data\.arguments\.categorical\)"),
    "no input left": (SOUND, {"ignore": "age,city"}, r"no column left as input apart from the target label"),
    "one class": (HEADER + "1,a,x\n2,b,x\n", {}, r"column label holds one class only \('x'\); at least two are needed"),
    "too many classes": (
        HEADER + "".join(f"{i // 2},a,c{i}\n" for i in range(1001)),
        {},
        r"column label has 1001 different values in 1001 rows.*set objective\.metric to rmse or mae",
    ),
    "too many categories": (
        HEADER + "".join(f"{i // 2},c{i // 2},{i % 2}\n" for i in range(514)),
        {},
        r"column city has 257 categories in 514 rows, at most 256",
    ),
    "training file as test": (
        SOUND,
        {"testFile": "train.csv"},
        r"train\.csv \(task\.data\.arguments\.testFile\) is training data too.*testFraction",
    ),
    "foreign test file": (SOUND, {"testFile": "absent.csv"}, r"absent\.csv cannot be read \(No such file"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_is_one_sentence_with_its_place(defect: str, tmp_path: Path) -> None:
    """File, line, what is wrong and what to do."""
    content, arguments, words = DEFECTS[defect]
    (tmp_path / "train.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words):
        table(tmp_path / "train.csv", {"target": "label", **arguments}, CLASSES)


def test_defects_of_the_test_file_name_it(folder: Path) -> None:
    """A missing column, an unknown class and a word among numbers are found in test.csv."""
    for text, words in (
        ("label,age\nyes,1\n", r"test\.csv has no column 'city', which .*train\.csv has"),
        ("label,city,age\nyes,Ulm,1\nmaybe,Ulm,2\n", r"test\.csv, line 3: class 'maybe' of column label never occurs in training"),
        ("label,city,age\nyes,Ulm,old\n", r"test\.csv, line 2: 'old' in column age is no finite number"),
    ):
        written(folder / "test.csv", text)
        with pytest.raises(DataError, match=words):
            table(folder, {"target": "label"}, CLASSES)


@pytest.mark.parametrize("file", ["train", "test"])
def test_a_number_that_float32_cannot_hold_beside_the_others_is_named(file: str, tmp_path: Path) -> None:
    """1e40 years, in the test file or in a row of another split than train: standardised by ages of 10 to 40 it would be infinite."""
    rows = ["age,city,label", *("10,Ulm,no", "20,Bonn,yes", "30,Ulm,no", "40,Bonn,yes") * 5]
    wild = [*rows, "1e40,Ulm,no", "25,Ulm,yes"]
    written(tmp_path / "train.csv", "\n".join(wild if file == "train" else rows) + "\n")
    written(tmp_path / "test.csv", "\n".join(wild if file == "test" else rows) + "\n")
    task = table(tmp_path, {"target": "label"}, CLASSES)
    indices = SplitIndices(train=np.arange(16), reward=np.arange(16, 18), selection=np.arange(18, len(task.targets_N)))

    with pytest.raises(DataError, match=rf"{file}\.csv, line 22: 1e\+40 in column age is too large: standardised .*; fix or drop it"):
        Splits(task, indices, torch.device("cpu"))


def test_a_number_too_large_in_rows_taken_as_test_is_named_by_its_line(tmp_path: Path) -> None:
    """Without a test file a share of the rows is the test: the error still gives the line of the file."""
    rows = ["age,label", *("10,no", "20,yes", "30,no", "40,yes") * 10]
    plain = table(written(tmp_path / "a.csv", "\n".join(rows) + "\n"), {"target": "label"}, CLASSES)
    line = int(plain.test_place(3).rpartition(" ")[2])
    rows[line - 1] = f"1e40,{rows[line - 1].split(',')[1]}"
    task = table(written(tmp_path / "b.csv", "\n".join(rows) + "\n"), {"target": "label"}, CLASSES)
    count = len(task.targets_N)
    indices = SplitIndices(train=np.arange(count - 8), reward=np.arange(count - 8, count - 4), selection=np.arange(count - 4, count))

    with pytest.raises(DataError, match=rf"b\.csv, line {line}: 1e\+40 in column age is too large"):
        Splits(task, indices, torch.device("cpu"))


def test_a_target_too_large_in_the_test_file_is_named(tmp_path: Path) -> None:
    """Ages of 10 to 40 were learned; an age of 1e60 would make the test score infinite."""
    text = "age,size\n" + "".join(f"{10 * n},{n}\n" for n in range(1, 5)) * 5
    written(tmp_path / "train.csv", text)
    written(tmp_path / "test.csv", text + "1e60,3\n")
    task = table(tmp_path, {"target": "age"}, NUMBERS)
    indices = SplitIndices(train=np.arange(16), reward=np.arange(16, 18), selection=np.arange(18, 20))

    with pytest.raises(DataError, match=r"test\.csv, line 22: 1e\+60 in the target is too large"):
        Splits(task, indices, torch.device("cpu"))


def test_a_target_that_is_no_number_is_named(folder: Path) -> None:
    """A regression on words says which cell, and how to ask for classes."""
    with pytest.raises(
        DataError, match=r"train\.csv, line 2: target 'no' in column label is no finite number.*accuracy in objective\.metric"
    ):
        table(folder, {"target": "label"}, NUMBERS)


@pytest.mark.parametrize(("path", "words"), [("absent.csv", "is missing"), ("", r"has no train\.csv")])
def test_a_missing_file_is_named(path: str, words: str, tmp_path: Path) -> None:
    """Neither a missing file nor a folder without train.csv is a bug."""
    with pytest.raises(DataError, match=words):
        table(tmp_path / path, {"target": "y"}, CLASSES)


def test_unknown_arguments_are_refused(folder: Path) -> None:
    """The sentence lists what there is."""
    with pytest.raises(ConfigurationError, match=r"arguments\.sep is unknown to csv; it takes target"):
        table(folder, {"target": "label", "sep": ";"}, CLASSES)
    with pytest.raises(ConfigurationError, match=r"arguments\.target is missing"):
        table(folder, {}, CLASSES)


def tabular_search(path: Path, metric: str, **spec: Any) -> dict[str, Any]:
    """The small search on a table of 900 rows: the target is a sum of two numbers, or whether it is positive."""
    rng = np.random.default_rng(5)
    numbers = rng.standard_normal((900, 3))
    sums = numbers[:, 0] + 2 * numbers[:, 1]
    targets = [f"{s:.6f}" for s in sums] if metric in ("rmse", "mae") else ["up" if s > 0 else "down" for s in sums]
    rows = [f"{a:.4f},{b:.4f},{c:.4f},{'left' if c > 0 else 'right'},{t}" for (a, b, c), t in zip(numbers, targets, strict=True)]
    written(path, "a,b,c,side,y\n" + "\n".join(rows) + "\n")
    document = with_change(small_search(), "spec.task.data", {"name": "csv", "path": str(path), "arguments": {"target": "y"}})
    document = with_change(document, "spec.task.recipe.batchSize", 32)
    document = with_change(document, "spec.objective", {"metric": metric})
    for name, value in spec.items():
        document = with_change(document, f"spec.{name}", value)
    return document


@pytest.mark.parametrize(("metric", "worst"), [("rmse", 1.5), ("mae", 1.2), ("auc", None)])
def test_a_search_on_a_table_learns(metric: str, worst: float | None, tmp_path: Path) -> None:
    """The constant's rmse is sqrt(5), its mae 1.78, a coin's auc 0.5; the search ends clearly better, in the metric's own unit."""
    result = search(tabular_search(tmp_path / "t.csv", metric), tmp_path / "out", MemorySink()).result

    assert result.test_score < worst if worst is not None else result.test_score > 0.9


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_an_error_of_more_than_a_million_millions_is_a_score(metric: str, tmp_path: Path) -> None:
    """Targets in the unit of 1e15: the search ends, and its termination message says the error in that unit."""
    document = tabular_search(tmp_path / "t.csv", metric)
    rows = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([rows[0], *(f"{row}e15" for row in rows[1:])]) + "\n")
    result = search(document, tmp_path / "out", MemorySink()).result

    assert 1e13 < result.test_score < 1.5e15
    assert decode_termination_message(encode_termination_message(result)) == result


def test_a_batch_larger_than_the_split_is_refused_before_training(tmp_path: Path) -> None:
    """Too few rows for a batch, or for a reward batch, are said at once, with what to do."""
    for spec, words in (
        ({"task.recipe.batchSize": 1024}, r"t\.csv\): 576 training examples cannot fill a batch of 1024; lower task\.recipe\.batchSize"),
        ({"task.splits": {"reward": "0.05"}}, r"the reward split has 36 examples, rewards need at least 64; raise task\.splits\.reward"),
    ):
        parsed, space = accept(tabular_search(tmp_path / "t.csv", "accuracy", **spec))
        with pytest.raises(DataError, match=words):
            SearchTask.load(parsed.spec, space, torch.device("cpu"))


def test_the_problem_is_the_same_at_every_reading(folder: Path) -> None:
    """Nothing of a table depends on the process that reads it."""
    one, other = (table(folder, {"target": "label"}, CLASSES) for _ in range(2))

    assert isinstance(one, RawData)
    assert np.array_equal(train_numbers(one), train_numbers(other))
    assert np.array_equal(one.targets_N, other.targets_N)

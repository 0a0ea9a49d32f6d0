"""Guesses about columns and labels that are doubted instead of learned, and what settles each doubt."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data import RawData, Splits
from autohas_trainer.data.split_indices import SplitIndices, split
from autohas_trainer.data.tables.notation import notation
from autohas_trainer.data.tables.table import table
from autohas_trainer.errors import ConfigurationError, DataError
from data_fixtures import test_numbers, train_numbers

CLASSES, NUMBERS = TaskKind.CLASSIFICATION, TaskKind.REGRESSION
ROWS = 40


def written(path: Path, column: Callable[[int], str], *, delimiter: str = ";", name: str = "a") -> Path:
    """Forty rows: the column in question, a plain number, a class."""
    rows = (f"{column(i)};{i % 7}.5;{'xy'[i % 2]}" for i in range(ROWS))
    text = "\n".join([f"{name};b;label", *rows]) + "\n"
    path.write_text(text.replace(";", delimiter))
    return path


NOTATIONS: dict[str, tuple[Callable[[int], str], str]] = {
    "decimal comma": (
        lambda i: f"-0,{1000 + i}",
        r"looks like numbers with a decimal comma \('-0,1000'\); convert it to numbers with a decimal",
    ),
    "decimal comma with exponent": (lambda i: f"{i},5e3", r"looks like numbers with a decimal comma"),
    "comma of unknown meaning": (lambda i: f"{1 + i},234", r"looks like numbers with a comma, decimal or between thousands"),
    "thousands with commas": (lambda i: f"{1 + i},234,567.5", r"looks like numbers with a separator between thousands"),
    "thousands with blanks": (lambda i: f"{1 + i} 234", r"looks like numbers with a separator between thousands"),
    "thousands with underscores": (lambda i: f"{1 + i}_000", r"looks like numbers with a separator between thousands"),
    "percent": (lambda i: f"{i} %", r"looks like percentages"),
    "currency in front": (lambda i: f"${i}.50", r"looks like amounts of money"),
    "currency behind": (lambda i: f"{i},50 EUR", r"looks like amounts of money"),
    "unit": (lambda i: f"{i}kg", r"looks like numbers with a unit"),
    "dates": (
        lambda i: f"2024-01-{1 + i % 28:02}",
        r"line 2: column a looks like dates \('2024-01-01'\); convert it to numbers \(days.* or name it in ",
    ),
    "German dates": (lambda i: f"{1 + i % 28}.1.2024", r"looks like dates"),
    "moments": (lambda i: f"2024-01-01T10:{i:02}:00Z", r"looks like dates"),
    "months by name": (lambda i: f"{1 + i % 28} Jan 2024", r"looks like dates"),
    "times": (lambda i: f"10:{i:02}", r"looks like times"),
    "hexadecimal": (lambda i: f"0x{i:X}", r"looks like hexadecimal numbers"),
    "Fortran": (lambda i: f"{i}.5D+02", r"looks like numbers with a Fortran exponent"),
    "accounting": (lambda i: f"({i}.50)", r"looks like negative numbers in brackets"),
    "typographic minus": (lambda i: f"\u2212{i}", r"looks like numbers with a typographic minus sign"),
    "a typing error among dates": (lambda i: "n.d." if i == 7 else f"2024-01-{1 + i % 28:02}", r"looks like dates"),
    "a word per row": (
        lambda i: f"Ann {i}",
        r"column a has 40 different words in 40 rows \('Ann 0', \.\.\.\): it looks like an identifier",
    ),
}


@pytest.mark.parametrize("case", NOTATIONS)
def test_words_that_a_person_reads_otherwise_are_refused(case: str, tmp_path: Path) -> None:
    """The sentence says what they look like and what to do; named in categorical or ignore, the column is no longer guessed at."""
    column, words = NOTATIONS[case]
    file = written(tmp_path / "t.csv", column)
    arguments = {"target": "label", "delimiter": ";"}
    with pytest.raises(DataError, match=words) as refused:
        table(file, arguments, CLASSES)

    assert "task.data.arguments." in str(refused.value)
    assert table(file, {**arguments, "categorical": "a"}, CLASSES).inputs.shape[1] == 1 + len({column(i) for i in range(ROWS)})
    assert table(file, {**arguments, "ignore": "a"}, CLASSES).columns == ("b",)


SOUND_WORDS: dict[str, list[str]] = {
    "ranges": ["10-19", "20-29", "30-39"],
    "seasons": ["2019-20", "2020-21"],
    "ordinals": [f"{i}{s}" for i, s in enumerate(("th", "st", "nd", "rd", "th", "th", "th", "th", "th", "th", "th", "th"))],
    "doors": ["2door", "4door"],
    "switches": ["True", "False"],
    "grades": ["A+", "B-", "C"],
    "sizes": ["S", "M", "L", "XL"],
    "lists": ["a,b", "b,c"],
    "version names": ["v1.2", "v1.3"],
    "bounds": ["<5", ">=5"],
}


@pytest.mark.parametrize("case", SOUND_WORDS)
def test_words_are_left_alone(case: str) -> None:
    """What merely holds digits is no notation of a number."""
    assert notation(SOUND_WORDS[case]) is None


NUMERALS: dict[str, tuple[Callable[[int], str], str, str]] = {
    "row numbers": (str, "a", r"looks like row numbers: every integer from 0 to 39 occurs once"),
    "shuffled row numbers": (lambda i: str(100 + i * 7 % 40), "a", r"looks like row numbers: every integer from 100 to 139"),
    "identifiers by name": (lambda i: str(i * i), "patient_id", r"column patient_id looks like an identifier: its 40 integers all differ"),
    "identifiers in camel case": (lambda i: str(i * i), "customerID", r"column customerID looks like an identifier"),
    "codes": (lambda i: f"{i % 9:05}", "zip", r"line 2: column zip looks like a code: '00000' begins with a zero"),
    "long identifiers": (lambda i: str(2**60 + i % 3 * 7), "a", r"looks like an identifier: '1152921504606846983' has more digits than"),
    "compact dates": (lambda i: f"202{i % 4}01{1 + i % 28:02}", "a", r"looks like dates written as one number \('20200101'\)"),
    "German thousands": (
        lambda i: f"{1 + i}.200" if i % 2 else str(900 + i),
        "a",
        r"looks like numbers with a point between thousands \('2\.200'",
    ),
    "one giant": (
        lambda i: "1e12" if i == 9 else f"{i}.5",
        "a",
        r"line 11: column a has 40 different numbers, of which \d remain in float32",
    ),
}


@pytest.mark.parametrize("case", NUMERALS)
def test_numbers_that_are_hardly_amounts_are_refused(case: str, tmp_path: Path) -> None:
    """An identifier in a sorted file gives the class away; `numeric` says that the column is a number all the same."""
    column, name, words = NUMERALS[case]
    file = written(tmp_path / "t.csv", column, name=name)
    arguments = {"target": "label", "delimiter": ";"}
    with pytest.raises(DataError, match=words + r".*name it in task\.data\.arguments\.ignore or categorical, or in numeric"):
        table(file, arguments, CLASSES)

    assert table(file, {**arguments, "numeric": name}, CLASSES).columns == (name, "b")


def test_numbers_in_the_ways_of_writing_that_mean_one_thing_are_numbers(tmp_path: Path) -> None:
    """Blanks, signs, exponents and points at either end lose nothing."""
    file = tmp_path / "t.csv"
    file.write_text("a,label\n 12 ,x\n+5,y\n1e3,x\n1E-3,y\n.5,x\n5.,y\n")

    task = table(file, {"target": "label"}, CLASSES)
    assert sorted([*train_numbers(task)[:, 0], *test_numbers(task)[:, 0]]) == [0.001, 0.5, 5, 5, 12, 1000]


@pytest.mark.parametrize("cell", ["NaN", "NA", "null", "-", "--", "n/a", "NULL", "none", "#N/A", "<NA>", "nan", "-nan", ".", "\\N"])
def test_every_spelling_of_a_missing_number_is_one(cell: str, tmp_path: Path) -> None:
    """Refused with its line by default; imputed, it is marked."""
    file = written(tmp_path / "t.csv", lambda i: cell if i == 3 else str(i % 5))
    arguments = {"target": "label", "delimiter": ";"}
    with pytest.raises(DataError, match=r"line 5: column a has no value \(" + re.escape(repr(cell))):
        table(file, arguments, CLASSES)

    task = table(file, {**arguments, "missing": "impute"}, CLASSES)
    assert np.isnan(train_numbers(task)[:, 0]).sum() + np.isnan(test_numbers(task)[:, 0]).sum() == 1
    assert task.columns == ("a", "a", "b")


@pytest.mark.parametrize("other", ["1.0", "01", "1e0", "+1", "10e-1"])
def test_one_number_in_two_spellings_is_no_two_classes(other: str, tmp_path: Path) -> None:
    """As a target and as a declared category: refused with both spellings and their lines."""
    file = tmp_path / "t.csv"
    file.write_text("a,label\n" + "".join(f"{i % 3}.5,{i % 2}\n" for i in range(30)) + f"0.5,{other}\n")
    with pytest.raises(DataError, match=rf"line 32: class '{re.escape(other)}' of column label is the number that .*line 3 writes as '1'"):
        table(file, {"target": "label"}, CLASSES)
    with pytest.raises(DataError, match=rf"line 32: '{re.escape(other)}' in column label is the number that .*line 3 writes as '1'"):
        table(file, {"target": "a", "categorical": "label"}, NUMBERS)


def test_a_test_file_that_spells_classes_otherwise_is_named(tmp_path: Path) -> None:
    """A writer of floats leaves 1.0 where a column once held a gap: the class is not unknown, it is spelled otherwise."""
    (tmp_path / "train.csv").write_text("a,label\n" + "".join(f"{i % 3},{i % 2}\n" for i in range(30)))
    (tmp_path / "test.csv").write_text("a,label\n1,0.0\n2,1.0\n")
    with pytest.raises(
        DataError, match=r"test\.csv, line 2: class '0\.0' of column label is the number that the training file writes as '0'"
    ):
        table(tmp_path, {"target": "label"}, CLASSES)


def test_classes_that_differ_in_letter_case_alone_are_refused(tmp_path: Path) -> None:
    """Yes and yes; an alphabet of large and small letters is sound."""
    file = tmp_path / "t.csv"
    file.write_text("a,label\n" + "".join(f"{i % 3},{('Yes', 'no', 'yes')[i % 3]}\n" for i in range(30)))
    with pytest.raises(DataError, match=r"line 4: class 'yes' of column label is the word that .*line 2 writes as 'Yes'"):
        table(file, {"target": "label"}, CLASSES)
    file.write_text("a,label\n" + "".join(f"{i % 3},{'Aa'[i % 2]}\n" for i in range(30)))

    assert table(file, {"target": "label"}, CLASSES).classes == ("A", "a")


def test_large_integers_that_differ_are_two_classes(tmp_path: Path) -> None:
    """Numbers are compared digit by digit: as floats these two are equal."""
    file = tmp_path / "t.csv"
    file.write_text("a,label\n" + "".join(f"{i % 3},{9007199254740992 + i % 2}\n" for i in range(30)))

    assert table(file, {"target": "label"}, CLASSES).num_classes == 2


def test_a_number_to_learn_is_not_taken_for_classes(tmp_path: Path) -> None:
    """300 different numbers in 300 rows with the default metric: the sentence says which metric to set."""
    file = tmp_path / "t.csv"
    file.write_text("a,y\n" + "".join(f"{i % 9},{i}.25\n" for i in range(300)))
    with pytest.raises(DataError, match=r"column y has 300 different numbers in 300 rows: set objective\.metric to rmse or mae"):
        table(file, {"target": "y"}, CLASSES)


def unstratified(task: RawData, seed: int) -> SplitIndices:
    """A tenth each for rewards and selection, whatever the classes."""
    return split(task, reward=0.1, selection=0.1, stratify=False, seed=seed)


def test_a_class_too_small_for_the_splits_is_called_by_its_name(tmp_path: Path) -> None:
    """One row of class rare: its name, its count and three ways out; not stratified, what no network learns is said."""
    file = tmp_path / "t.csv"
    file.write_text("a,label\n" + "".join(f"{i % 9},{'yes' if i % 2 else 'no'}\n" for i in range(100)) + "4,rare\n")
    task = table(file, {"target": "label"}, CLASSES)
    words = r"class 'rare' has 1 example outside of the test data.*merge it .* or remove it, or set task\.splits\.stratify to false"
    with pytest.raises(ConfigurationError, match=words):
        split(task, reward=0.1, selection=0.1, stratify=True, seed=0)

    without = next(indices for seed in range(99) if 1 not in task.targets_N[(indices := unstratified(task, seed)).train])
    assert len(without.train) == 65
    assert Splits(task, without, torch.device("cpu")).notes == (
        f"{task.name}: one class has no example in the train split, so no network learns it ('rare')",
    )


def test_many_numeric_classes_too_small_for_the_splits_suggest_a_regression(tmp_path: Path) -> None:
    """Twelve numbers, one of them once: perhaps the target is a number."""
    file = tmp_path / "t.csv"
    file.write_text("a,y\n" + "".join(f"{i % 9},{i % 11}.5\n" for i in range(300)) + "1,99.5\n")
    task = table(file, {"target": "y"}, CLASSES)
    with pytest.raises(ConfigurationError, match=r"class '99\.5' has 1 example .*set objective\.metric to rmse"):
        split(task, reward=0.1, selection=0.1, stratify=True, seed=0)


def test_every_column_is_listed_with_what_it_became(tmp_path: Path) -> None:
    """A number with its range, words with their count, the target, what is ignored."""
    file = tmp_path / "t.csv"
    rows = "".join(f"{i % 50},{('Ulm', 'ulm', 'Bonn')[i % 3]},{'' if i % 4 else 7},{i},{'xy'[i % 2]}\n" for i in range(60))
    file.write_text("age,city,gap,id,label\n" + rows)

    assert table(file, {"target": "label", "ignore": "id", "missing": "impute"}, CLASSES).summary == (
        "age: number from 0 to 49",
        "city: one input for each of 3 words in 60 rows (Bonn, Ulm, ulm); 'Ulm' and 'ulm' count as two words",
        "gap: number, always 7; 45 of 60 are missing: they become the mean, and a column of its own marks them",
        "id: ignored",
        "label: target, 2 classes (x, y)",
    )


def test_the_range_of_a_column_is_told_apart(tmp_path: Path) -> None:
    """Moments of a quarter of an hour differ in the seventh digit; `from 1.7e+09 to 1.7e+09` would look like one value."""
    file = tmp_path / "t.csv"
    file.write_text("at,y\n" + "".join(f"{1700000000 + 37 * i * i % 800}.5,{'xy'[i % 2]}\n" for i in range(60)))

    assert table(file, {"target": "y"}, CLASSES).summary[0] == "at: number from 1.7e+09 to 1.700001e+09"


def test_what_of_the_test_file_is_not_used_is_counted(tmp_path: Path) -> None:
    """A word that training never saw, and a column that training lacks."""
    (tmp_path / "train.csv").write_text("city,label\nUlm,x\nBonn,y\n")
    (tmp_path / "test.csv").write_text("city,label,more\nUlm,x,1\nKiel,y,2\n")

    assert [note.rpartition("/")[2] for note in table(tmp_path, {"target": "label"}, CLASSES).notes] == [
        "test.csv: columns that train.csv lacks are not read (more)",
        "test.csv: 1 of 2 rows have a word in column city that training never saw: 0 in all",
    ]


def test_a_column_is_declared_one_thing_only(tmp_path: Path) -> None:
    """Numeric and categorical at once is refused; a word in a numeric column is named."""
    file = written(tmp_path / "t.csv", lambda i: "ab"[i % 2])
    arguments = {"target": "label", "delimiter": ";", "numeric": "a"}
    with pytest.raises(ConfigurationError, match=r"categorical and numeric both name a"):
        table(file, {**arguments, "categorical": "a"}, CLASSES)
    with pytest.raises(DataError, match=r"line 2: 'a' in column a is no number, but the column is declared as numeric"):
        table(file, arguments, CLASSES)


def test_a_notation_is_named_among_numbers_and_in_a_target_too(tmp_path: Path) -> None:
    """Whole numbers among decimal commas, a test file that has them, a target to learn: the cell, its line and what it looks like."""
    file = written(tmp_path / "t.csv", lambda i: f"{i},5" if i % 2 else str(i))
    arguments = {"target": "label", "delimiter": ";"}
    looks = r" \(it looks like numbers with a decimal comma: convert it to numbers with a decimal point\)"
    with pytest.raises(DataError, match=r"line 3: '1,5' in column a is no number, 20 others are" + looks):
        table(file, arguments, CLASSES)
    with pytest.raises(DataError, match=r"line 3: target '1,5' in column a is no finite number" + looks):
        table(file, {"target": "a", "delimiter": ";"}, NUMBERS)
    (tmp_path / "train.csv").write_text("a;label\n" + "".join(f"{i % 5};{'xy'[i % 2]}\n" for i in range(ROWS)))
    (tmp_path / "test.csv").write_text("a;label\n1,5;x\n")
    with pytest.raises(DataError, match=r"test\.csv, line 2: '1,5' in column a is no finite number, as the others are" + looks):
        table(tmp_path, arguments, CLASSES)

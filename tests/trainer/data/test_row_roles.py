"""Columns of a csv that keep rows together or apart: groups, and an order in time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from autohas_api.base.objective_metrics import TaskKind
from autohas_trainer.data.raw import Array
from autohas_trainer.data.split_indices import split
from autohas_trainer.data.splits import Splits
from autohas_trainer.data.tables.table import table
from autohas_trainer.errors import ConfigurationError, DataError
from data_fixtures import test_numbers, train_numbers

RNG = np.random.default_rng(0)


def written(tmp_path: Path, column: str, cells: list[str], target: str = "number") -> Path:
    """A table whose input x is the row's number and a half, in a shuffled order of rows."""
    lines = [f"{row + 0.5},{cell},{row % 2 if target == 'class' else row / 7}" for row, cell in enumerate(cells)]
    shuffled = [lines[row] for row in RNG.permutation(len(lines))]
    file = tmp_path / "rows.csv"
    file.write_text("\n".join([f"x,{column},y", *shuffled]) + "\n")
    return file


def rows(inputs: Array) -> list[int]:
    """The rows that inputs were made of, in order."""
    return sorted(int(x) for x in inputs[:, 0])


@pytest.mark.parametrize(
    "cells",
    [
        [f"2024-{1 + day // 28:02}-{1 + day % 28:02}" for day in range(100)],
        [f"2024-01-01T{hour // 60:02}:{hour % 60:02}:00+02:00" for hour in range(100)],
        [f"{9 + row * 0.5}" for row in range(100)],
        [f"{2**63 + row}" for row in range(100)],
        [f"2024-01-01T00:00:00.123456{row:03}" for row in range(100)],
    ],
)
def test_the_latest_rows_test_and_the_next_latest_choose(tmp_path: Path, cells: list[str]) -> None:
    """Of 100 rows the last 20 are the test, the 8 before them select, the 8 before those reward; the same for every seed."""
    raw = table(written(tmp_path, "when", cells), {"target": "y", "order": "when"}, TaskKind.REGRESSION)
    assert rows(test_numbers(raw)) == list(range(80, 100))
    assert raw.columns == ("x",)
    for seed in (0, 1):
        indices = split(raw, reward=0.1, selection=0.1, stratify=True, seed=seed)
        inputs = train_numbers(raw)
        assert rows(inputs[indices.selection]) == list(range(72, 80))
        assert rows(inputs[indices.reward]) == list(range(64, 72))
        assert rows(inputs[indices.train]) == list(range(64))
        assert not np.array_equal(inputs[indices.train, 0], np.sort(inputs[indices.train, 0]))  # within a split the rows are shuffled


def test_rows_of_one_time_stay_together(tmp_path: Path) -> None:
    """Ten days of ten rows: whole days are the test and the selection split; of three days nothing is left to train."""
    raw = table(written(tmp_path, "day", [str(row // 10) for row in range(100)]), {"target": "y", "order": "day"}, TaskKind.REGRESSION)
    assert rows(test_numbers(raw)) == list(range(80, 100))
    indices = split(raw, reward=0.1, selection=0.1, stratify=False, seed=0)
    assert rows(train_numbers(raw)[indices.selection]) == list(range(70, 80))
    assert rows(train_numbers(raw)[indices.reward]) == list(range(60, 70))
    few = table(written(tmp_path, "day", [str(row // 50) for row in range(100)]), {"target": "y", "order": "day"}, TaskKind.REGRESSION)
    problem = r"ordered by time, the 50 training rows give 0 train, 0 reward and 50 selection; rows of one time stay together"
    with pytest.raises(ConfigurationError, match=problem):
        split(few, reward=0.1, selection=0.1, stratify=False, seed=0)


def test_a_group_is_never_in_two_splits_nor_in_the_test(tmp_path: Path) -> None:
    """Fifty patients of four rows each, with classes: each patient's rows are in one of train, reward, selection and test."""
    file = written(tmp_path, "patient", [f"p{row // 4}" for row in range(200)], target="class")
    raw = table(file, {"target": "y", "group": "patient"}, TaskKind.CLASSIFICATION)
    indices = split(raw, reward=0.1, selection=0.1, stratify=True, seed=3)
    x = train_numbers(raw)[:, 0]
    parts = [x[indices.train], x[indices.reward], x[indices.selection], test_numbers(raw)[:, 0]]
    groups = [{int(value) // 4 for value in part} for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 50
    assert len(groups[3]) == 10
    assert Splits(raw, indices, torch.device("cpu")).summary[1] == "patient: group of the rows, no input"


@pytest.mark.parametrize(
    ("column", "role", "cells", "problem"),
    [
        (
            "when",
            "order",
            ["2024-01-01", "yesterday"],
            r"line \d+: 'yesterday' in column when is neither a number nor a date like 2024-01-31",
        ),
        ("when", "order", ["1", "2024-01-01"], r"line \d+: '2024-01-01' in column when is no number, and other rows are"),
        ("when", "order", ["2024-01-01T10:00", "2024-01-01T10:00Z"], r"line \d+: some times in column when have a time zone"),
        ("when", "order", ["1", ""], r"line \d+: column when \(task.data.arguments.order\) has no value \(''\); fill it in"),
        ("who", "group", ["a", ""], r"line \d+: column who \(task.data.arguments.group\) has no value"),
        ("who", "group", ["1", "1.0"], r"line \d+: group '1(.0)?' in column who is the number that another row writes as"),
    ],
)
def test_doubtful_cells_are_named(tmp_path: Path, column: str, role: str, cells: list[str], problem: str) -> None:
    """Line, column and value, before anything is split."""
    file = written(tmp_path, column, [cells[row % 2] for row in range(40)])
    with pytest.raises(DataError, match=problem):
        table(file, {"target": "y", role: column}, TaskKind.REGRESSION)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As for the other arguments that name columns."""
    file = written(tmp_path, "who", ["a"] * 30)
    with pytest.raises(DataError, match=r"has no column 'patient' \(task.data.arguments.group\); its columns are x, who, y"):
        table(file, {"target": "y", "group": "patient"}, TaskKind.REGRESSION)

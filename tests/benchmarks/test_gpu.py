"""The benchmark of one GPU, run on a CPU with tiny sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.gpu import Bench, Sizes, report
from benchmarks.gpu_data import Case, write_data

TINY = Sizes(
    cases=(Case(template="conv-small", size=8, batch_size=16),),
    examples=1000,
    blocks=2,
    supernet_steps=27,
    parity_steps=9,
    seeds=2,
    copied_mib=1,
)


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, bool]]:
    """The report's lines, each with whether it shows a failure."""
    return list(report(Bench(torch.device("cpu")), TINY))


def _cells(lines: list[tuple[str, bool]], first: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line, _ in lines if line.startswith("|")]
    return [row for row in rows if row[0] == first]


def test_a_template_has_its_rows(lines: list[tuple[str, bool]]) -> None:
    """Lane, supernet, update, two precisions; the default of float32 differs from itself by nothing."""
    steps, others = [_cells(lines, f"conv-small, {what}") for what in ("lane", "supernet")], _cells(lines, "conv-small")

    assert [len(rows) for rows in steps] == [1, 1]
    assert [row[1] for row in others[1:3]] == ["Float32", "BFloat16"]
    assert others[1][4] == "+0.0000 ± 0.0000"


def test_a_step_of_a_lane_takes_no_number_out_of_a_tensor(lines: list[tuple[str, bool]]) -> None:
    """The window of losses is read in another way, once in sixteen steps."""
    assert [row[-1] for row in _cells(lines, "conv-small, lane")] == ["0.00"]


def test_a_resumed_search_ends_as_an_undisturbed_one(lines: list[tuple[str, bool]]) -> None:
    """Two precisions, whose searches have different digests."""
    rows = _cells(lines, "conv-small")[3:]

    assert [row[1] for row in rows] == ["Float32", "BFloat16"]
    assert [row[4] for row in rows] == ["equal", "equal"]
    assert rows[0][3] != rows[1][3]
    assert not any(is_failure for _, is_failure in lines)


def test_a_table_has_its_columns(tmp_path: Path) -> None:
    """Three inputs and the target, which no column tells alone."""
    data, metric = write_data(tmp_path, Case(template="mlp", size=3, batch_size=16), 50)
    table = np.loadtxt(data["path"], delimiter=",", skiprows=1)

    assert metric == "rmse"
    assert table.shape == (50, 4)
    assert np.abs(np.asarray(np.corrcoef(table.T))[3, :3]).max() < 0.95

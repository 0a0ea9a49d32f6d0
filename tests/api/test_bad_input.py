"""docs/bad-input.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "bad-input.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_every_row_is_shown_by_a_test(file: str, test: str) -> None:
    """The function is there."""
    assert f"def {test}(" in (ROOT / file).read_text()


def test_the_reasons_of_a_row_stand_in_the_files_of_its_tests() -> None:
    """What the second cell calls by its reason, some test of the third knows by the same word."""
    files: list[str] = []
    unknown = []
    for row in (line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| input")):
        _, told, shown = re.split(r"(?<!\\)\|", row)[1:-1]
        files = re.findall(r"`(tests/[\w/]+\.py)::", shown) or files  # "the same" is the row above
        texts = "".join((ROOT / file).read_text() for file in files)
        unknown += [word for word in re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", told) if word not in texts]

    assert len(files) > 0
    assert unknown == []


def test_every_row_has_its_three_cells() -> None:
    """Input, what is seen, and a test of this row or the one above."""
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| input")]

    assert len(rows) > 30
    assert [row for row in rows if row.count("|") != 4 or not re.search(r"(tests/|the same)[^|]*\|$", row)] == []

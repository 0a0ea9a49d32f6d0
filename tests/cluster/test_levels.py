"""Levels that a machine cannot host: skipped with the reason, or failed where all are required."""

import re
from pathlib import Path

import pytest

from testcluster import levels

TESTS = Path(__file__).parents[1]
MAY_SKIP = {"levels.py", "test_line.py", "test_examples.py"}
"""The one place for levels, and two tests that leave out data that a checkout may lack."""


@pytest.mark.parametrize("value", [None, "", "0"])
def test_a_level_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """A bare machine passes: the variable is absent, empty or 0."""
    monkeypatch.delenv("AUTOHAS_REQUIRE_ALL_LEVELS", raising=False)
    if value is not None:
        monkeypatch.setenv("AUTOHAS_REQUIRE_ALL_LEVELS", value)

    with pytest.raises(pytest.skip.Exception, match="needs Go"):
        levels.leave_out("needs Go")


def test_a_level_that_is_required_fails_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTOHAS_REQUIRE_ALL_LEVELS=1: what would be skipped is an error that says what is missing."""
    monkeypatch.setenv("AUTOHAS_REQUIRE_ALL_LEVELS", "1")

    with pytest.raises(pytest.fail.Exception, match="AUTOHAS_REQUIRE_ALL_LEVELS=1 and this level cannot run: needs Go"):
        levels.leave_out("needs Go")


def test_a_word_that_is_neither_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`yes` must not quietly mean no."""
    monkeypatch.setenv("AUTOHAS_REQUIRE_ALL_LEVELS", "yes")

    with pytest.raises(pytest.fail.Exception, match='is "yes" and must be 1, 0 or absent'):
        levels.leave_out("needs Go")


def test_no_level_is_skipped_elsewhere() -> None:
    """Every other skip of these tests goes the same way, so the variable sees it."""
    call = re.compile(r"pytest\.skip\((?!Exc)")
    found = {path.name for path in TESTS.rglob("*.py") if call.search(path.read_text())}

    assert found == MAY_SKIP


@pytest.mark.parametrize(("level", "variable"), [("control_plane", "CONTROL_PLANE_TESTS"), ("node", "NODE_TESTS")])
def test_make_looks_for_a_level_wherever_it_has_tests(level: str, variable: str) -> None:
    """The Makefile names the folders of each level, so that workers collect no others; a marked test elsewhere would never run."""
    (line,) = (line for line in (TESTS.parent / "Makefile").read_text().splitlines() if line.startswith(f"{variable} :="))
    folders = [TESTS.parent / word for word in line.partition(":=")[2].split()]
    mark = re.compile(rf"pytest\.mark\.{level}\b")
    marked = {path for path in TESTS.rglob("*.py") if mark.search(path.read_text())}

    assert marked
    assert [path for path in sorted(marked) if not any(path.is_relative_to(folder) for folder in folders)] == []
    assert [folder for folder in folders if not any(path.is_relative_to(folder) for path in marked)] == []

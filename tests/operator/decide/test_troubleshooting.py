"""docs/troubleshooting.md explains every reason that the operator writes, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autohas_api.wire.reasons import NoticeReason, Reason
from autohas_api.wire.status import ConditionType, Phase

TEXT = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text()
NOTICES = TEXT.split("| notice | when |", 1)[1].split("\n\n", 1)[0]
"""The last table, of the trainer's notices."""
WITHOUT_NOTICES = TEXT.replace(NOTICES, "")


def explained(text: str) -> dict[str, set[str]]:
    """The second cells of the tables' rows, by the word in the first."""
    meanings: dict[str, set[str]] = {}
    for word, meaning in re.findall(r"^\| `([A-Z]\w+)` \| ([^|]*) \|", text, flags=re.MULTILINE):
        meanings.setdefault(word, set()).add(meaning)
    return {word: texts for word, texts in meanings.items() if word != "PHASE"}


@pytest.mark.parametrize(("words", "text"), [(Reason, WITHOUT_NOTICES), (NoticeReason, NOTICES)], ids=["reasons", "notices"])
def test_every_word_is_explained_by_its_meaning_and_no_other_is(words: type[Reason | NoticeReason], text: str) -> None:
    """The tables have each member, with the same meaning wherever it stands."""
    assert explained(text) == {word.value: {word.meaning} for word in words}


def test_every_condition_has_its_heading() -> None:
    """A reader looks for the condition first."""
    headings = " ".join(line for line in TEXT.splitlines() if line.startswith("## "))

    assert [kind.value for kind in ConditionType if kind.value not in headings] == []


def test_every_phase_leads_to_its_condition() -> None:
    """A reader sees the phase first."""
    table = TEXT.split("| `PHASE` |", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]

    assert [word for row in rows for word in row[0].split(", ")] == [phase.value for phase in Phase]
    assert {row[2] for row in rows} <= {kind.value for kind in ConditionType}


def test_every_row_says_something() -> None:
    """No empty cell."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]

    assert [row for row in rows if not all(cell.strip() for cell in row.strip("|").split("|"))] == []

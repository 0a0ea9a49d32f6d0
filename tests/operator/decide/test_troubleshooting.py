"""docs/troubleshooting.md has every word that a person may read, and none that nobody says."""

from __future__ import annotations

import re
from pathlib import Path

from autohas_api.wire.messages import NOTICE_TYPES, StopReason
from autohas_api.wire.status import ConditionType, Phase
from autohas_operator.testing.reasons import said

TEXT = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text()
ENDS_WITH = {StopReason.COMPLETED.value, StopReason.BUDGET.value}
"""Reasons that Converged takes from the trainer's own word."""


def documented() -> set[str]:
    """Words in the first cell of every table's row."""
    cells = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `") and not line.startswith("| `PHASE`")]
    return {word for cell in cells for word in re.findall(r"`([A-Z]\w+)`", cell)}


def test_every_word_is_explained_and_no_other() -> None:
    """Reasons of conditions, names of events and notices: the code's and the document's are the same."""
    spoken = said() | NOTICE_TYPES.keys() | ENDS_WITH

    assert sorted(spoken - documented()) == []
    assert sorted(documented() - spoken) == []


def test_every_condition_has_its_heading() -> None:
    """A person looks for the condition first."""
    headings = " ".join(line for line in TEXT.splitlines() if line.startswith("## "))

    assert [kind.value for kind in ConditionType if kind.value not in headings] == []


def test_every_phase_leads_to_its_condition() -> None:
    """A person sees the phase first."""
    table = TEXT.split("| `PHASE` |", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]

    assert [word for row in rows for word in row[0].split(", ")] == [phase.value for phase in Phase]
    assert {row[2] for row in rows} <= {kind.value for kind in ConditionType}


def test_every_row_says_something() -> None:
    """No empty cell."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]

    assert [row for row in rows if not all(cell.strip() for cell in row.strip("|").split("|"))] == []

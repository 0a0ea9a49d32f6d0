"""What was converted or left out is said once per search, not at every start."""

from __future__ import annotations

from pathlib import Path

import pytest

from autohas_api.testing.rejections import with_change
from autohas_trainer.errors import Interrupted
from engine_fixtures import MemorySink, Stop, search, small_search


def test_what_was_converted_is_said_once_and_not_at_resume(tmp_path: Path) -> None:
    """One notice DataConverted with both facts of the test file; the resumed search only shows it again."""
    rows = "".join(f"{i % 50},{('Ulm', 'Bonn')[i % 2]},{'xy'[i % 2]}\n" for i in range(900))
    (tmp_path / "train.csv").write_text("age,city,label\n" + rows)
    (tmp_path / "test.csv").write_text("age,city,label,more\n3,Kiel,x,1\n4,Ulm,y,2\n5,Ulm,y,2\n6,Bonn,x,2\n")
    data = {"name": "csv", "path": str(tmp_path), "arguments": {"target": "label"}}
    document = with_change(with_change(small_search(), "spec.task.data", data), "spec.task.recipe.batchSize", 32)
    stop = Stop()
    first = MemorySink(on_step=lambda record: setattr(stop, "is_requested", record.step >= 30))
    with pytest.raises(Interrupted):
        search(document, tmp_path / "out", first, stop)
    second = MemorySink()
    search(document, tmp_path / "out", second)

    (notice,) = (said for said in first.notices if said.reason == "DataConverted")
    assert "columns that train.csv lacks are not read (more); " in notice.message
    assert "1 of 4 rows have a word in column city that training never saw" in notice.message
    assert second.info is not None
    assert [known.reason for known in second.info.notices if known.reason == "DataConverted"] == ["DataConverted"]
    assert "DataConverted" not in [said.reason for said in second.notices]

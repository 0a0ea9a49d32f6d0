"""What a comparison takes of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autohas_api.accept.acceptance import accept
from autohas_api.accept.comparison import METHODS
from autohas_api.testing.rejections import a_search, with_change
from autohas_trainer.comparison.runs import Run, record_run, run_folder
from autohas_trainer.engine.search import search_digest
from autohas_trainer.events import SearchFinished, SearchStarted
from autohas_trainer.reporting.sinks.result_files import FilesSink
from reporting_fixtures import outcome, run_info


def _for_model() -> dict[str, Any]:
    document = with_change(a_search(), "spec.training.steps", 300)
    document = with_change(document, "spec.task.recipe", {"schedule": "WSD"})
    return with_change(document, "spec.budget", {"trainings": "6", "for": "Model"})


@pytest.mark.parametrize(
    ("document", "method", "score"), [(a_search(), 0, 0.8), (a_search(), 3, None), (_for_model(), 0, None)], ids=["search", "long", "model"]
)
def test_only_a_default_of_the_search_s_length_is_held_against_others(
    document: dict[str, Any], method: int, score: float | None, tmp_path: Path
) -> None:
    """A default that took the whole budget has another score with the same seed, which says nothing about randomness."""
    search, row = accept(document)[0], METHODS[method]
    run = Run(number=1, method=row, search=search, folder=run_folder(tmp_path, row.name, 0))
    run.folder.mkdir(parents=True)
    info = run_info(run.folder, document)
    files = FilesSink(run.folder, search_digest=search_digest(search))
    for event in (SearchStarted(info=info), SearchFinished(outcome=outcome(info))):
        files.emit(event)

    assert record_run(run, lambda: None, 6.0).default_test == score

"""The sentence about a longer training: the prediction next to what the search chose, with a verdict only where the gain is clear."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autohas_trainer.events import LongerTraining, SearchFinished, SearchStarted
from autohas_trainer.reporting.sinks.longer_text import longer_sentence
from autohas_trainer.reporting.sinks.result_files import FilesSink, read_result
from reporting_fixtures import DIGEST, outcome, run_info

LONGER = LongerTraining(steps=54, now=0.82, predicted=0.93, low=0.9, high=0.95, is_clear=True)
ANSWER = "and the configuration that this search chose has 91.00 %"
TEXT = "By a power law through its own scores, twice the steps (54) would give the default a selection accuracy of about"


def _sentence(folder: Path, longer: LongerTraining | None) -> str | None:
    """Through the files of a finished search, whose configuration has 91 %."""
    sink, info = FilesSink(folder, search_digest=DIGEST), run_info(folder)
    sink.emit(SearchStarted(info=info))
    sink.emit(SearchFinished(outcome=replace(outcome(info), longer=longer)))
    finished = read_result(folder)
    assert finished is not None
    assert finished.outcome.longer == longer
    return longer_sentence(finished)


@pytest.mark.parametrize(
    ("longer", "sentence"),
    [
        (
            LONGER,
            f"{TEXT} 93.00 % (90.00 % to 95.00 %), {ANSWER}: train longer before you search.",
        ),
        (
            replace(LONGER, predicted=0.9, low=0.86, high=0.92),
            f"{TEXT} 90.00 % (86.00 % to 92.00 %), {ANSWER}: the search gained more.",
        ),
        (
            replace(LONGER, predicted=0.83, low=0.8, high=0.86, is_clear=False),
            f"{TEXT} 83.00 % (80.00 % to 86.00 %); it has 82.00 % now, so that a longer training is no clear gain.",
        ),
        (None, None),
    ],
    ids=["longer is better", "the search is better", "plateau", "not predicted"],
)
def test_the_sentence_has_prediction_answer_and_verdict(longer: LongerTraining | None, sentence: str | None, tmp_path: Path) -> None:
    """Three cases, and none where the strategy has no curve of the default."""
    assert _sentence(tmp_path, longer) == sentence


def test_result_json_has_the_numbers(tmp_path: Path) -> None:
    """Steps, what the default has, the prediction and both ends of its spread; absent without a prediction."""
    _sentence(tmp_path, LONGER)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["longer"] == {"steps": 54, "now": 0.82, "predicted": 0.93, "low": 0.9, "high": 0.95, "isClear": True}

    _sentence(tmp_path, None)
    assert "longer" not in json.loads((tmp_path / "result.json").read_text())

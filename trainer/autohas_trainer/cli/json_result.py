"""A finished search as fields of the JSON object of `autohas run -o json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autohas_trainer.reporting.sinks.result_files import FinishedSearch

__all__ = ["result_fields"]


def result_fields(finished: FinishedSearch, folder: Path) -> dict[str, Any]:
    """Return name, folder and result; scores are in the metric's own unit, numbers of the recipe are as in config.yaml."""
    outcome, result = finished.outcome, finished.outcome.result
    return {
        "name": finished.search.metadata.name,
        "folder": str(folder),
        "result": {
            "metric": finished.search.spec.objective.metric_name,
            "testScore": result.test_score,
            "testScores": list(outcome.test_scores),
            "selectionScore": result.selection_score,
            "defaultTestScore": result.default_test_score,
            "configuration": dict(outcome.configuration),
            "recipe": dict(outcome.recipe),
            "parameters": result.parameters,
            "trainings": result.trainings,
            "seconds": round(sum(outcome.seconds_by_stage.values()), 3),
            "stopReason": result.stop_reason.value,
            "digest": result.digest,
        },
    }

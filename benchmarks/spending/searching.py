"""Runs one search of the spending benchmark and returns its figures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.jobs import NeverStopped, make_job
from benchmarks.spending.tables import Table

from autohas_api.accept.acceptance import accept
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.search import run
from autohas_trainer.errors import NumericalError
from autohas_trainer.events import Event, NoticeIssued, StepRecord
from autohas_trainer.reporting.sinks.null import NullSink

__all__ = ["BUDGET", "RATES", "SEEDS", "search_once"]

BUDGET: Final = "5.5"
RATES: Final = ("0.01", "0.03", "0.1", "0.17", "0.3")
SEEDS: Final = (0, 1, 2, 3)
_SUPERNET: Final = (Stage.WARMUP, Stage.SUPERNET)


class _Watch(NullSink):
    """Counts steps of the supernet and remembers whether it diverged."""

    def __init__(self) -> None:
        self.num_supernet_steps = 0
        self.has_diverged = False
        self.notices: list[str] = []

    def emit(self, event: Event) -> None:
        """Count steps of the supernet, and collect notices."""
        if isinstance(event, StepRecord):
            self.num_supernet_steps += event.stage in _SUPERNET
        elif isinstance(event, NoticeIssued):
            self.notices.append(event.notice.reason)
            self.has_diverged = self.has_diverged or event.notice.reason == "SupernetDiverged"


def search_once(table: Table, path: Path, folder: Path, *, rate: str, seed: int) -> dict[str, Any]:
    """Search `table` once and return what is compared; `failure` says why there is no result."""
    search, space = accept(_document(table, path, rate, seed))
    watch = _Watch()
    job = make_job(search, space, Path(tempfile.mkdtemp(dir=folder)))
    row: dict[str, Any] = {"failure": None}
    try:
        outcome = run(job, watch, NeverStopped())
    except NumericalError:
        row["failure"] = "the default diverged"
    else:
        result = outcome.result
        row |= {"spent": result.trainings, "winner": outcome.winner, "selection": result.selection_score, "test": result.test_score}
        row |= {"by_stage": dict(outcome.cost_by_stage), "configuration": dict(outcome.configuration)}
    diverged_after = watch.num_supernet_steps if watch.has_diverged else None
    return row | {"diverged_after": diverged_after, "supernet_steps": watch.num_supernet_steps, "notices": watch.notices}


def _document(table: Table, path: Path, rate: str, seed: int) -> dict[str, Any]:
    return {
        "apiVersion": "autohas.dev/v1alpha1",
        "kind": "AutoHASSearch",
        "metadata": {"name": "bench"},
        "spec": {
            "task": {
                "data": {"name": "csv", "path": str(path), "arguments": table.arguments},
                "model": {"template": "mlp-small"},
                "recipe": {"learningRate": rate, "batchSize": table.batch_size},
                **({"splits": table.splits} if table.splits else {}),
            },
            "objective": {"metric": "rmse"},
            "searchSpace": {"hyperparameters": list(table.hyperparameters), "architecture": {}},
            "algorithm": {"seed": seed, "autoHAS": {"strategy": "Lanes"}},
            "budget": {"trainings": BUDGET},
            "training": {"steps": table.steps},
            "checkpoint": {"periodSeconds": 3600},
        },
    }

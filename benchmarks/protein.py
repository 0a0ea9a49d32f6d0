"""`python -m benchmarks.protein`: UCI protein, the whole table and 8,000 of its rows: both networks for tables next to boosted trees.

Searches of rate, dropout and architecture by the default strategy, test rmse in the file's unit. Trees: scikit-learn's
HistGradientBoostingRegressor with its own settings, on all training rows; a search trains on 80 % of them.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.jobs import NeverStopped, make_job
from benchmarks.provenance import provenance
from benchmarks.quality.boosting import boosting_rmse
from benchmarks.spending.tables import TABLES, Table

from autohas_api.accept.acceptance import accept
from autohas_trainer.engine.search import run
from autohas_trainer.reporting.sinks.null import NullSink

_FEW: Final = replace(TABLES[0], steps=800)
_WHOLE: Final = replace(TABLES[0], name="UCI protein, whole", num_rows=None, steps=2400, batch_size=256)
_RATES: Final = {"mlp": ("0.0003", "0.01"), "mlp-small": ("0.01", "1")}


def document(table: Table, path: Path, template: str, trainings: str, steps: int) -> dict[str, Any]:
    """A search on a table."""
    least, most = _RATES[template]
    hyperparameters = [
        {"name": "learning_rate", "continuous": {"min": least, "max": most, "scale": "Log", "numBases": 4}},
        {"name": "dropout", "continuous": {"min": "0", "max": "0.3", "numBases": 3}},
    ]
    spec = {
        "task": {
            "data": {"name": "csv", "path": str(path), "arguments": table.arguments},
            "model": {"template": template},
            "recipe": {"batchSize": table.batch_size},
        },
        "objective": {"metric": "rmse"},
        "searchSpace": {"hyperparameters": hyperparameters, "architecture": {}},
        "budget": {"trainings": trainings},
        "training": {"steps": steps},
    }
    return {"apiVersion": "autohas.dev/v1alpha1", "kind": "AutoHASSearch", "metadata": {"name": "protein"}, "spec": spec}


def measure(table: Table, trainings: str) -> Iterator[str]:
    """The rows of a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = table.prepare(folder)
        begun = time.process_time()
        trees = boosting_rmse({"path": str(path / "train.csv"), "arguments": table.arguments}, seed=0)
        yield f"| {table.name} | trees | | {trees:.3f} | | {time.process_time() - begun:.0f} |"
        for template in _RATES:
            work = folder / template
            work.mkdir()
            search, space = accept(document(table, path, template, trainings, table.steps))
            begun = time.process_time()
            outcome = run(make_job(search, space, work), NullSink(), NeverStopped())
            seconds = time.process_time() - begun
            default = outcome.result.default_test_score or math.nan
            yield f"| {table.name} | {template} | {default:.3f} | {outcome.test_scores[0]:.3f} | {trainings} | {seconds:.0f} |"
            shutil.rmtree(work)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protein", description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", default="8", help="budget.trainings of each search (default 8)")
    arguments = parser.parse_args()
    if _FEW.missing:
        parser.error(_FEW.missing)
    print(f"# UCI protein, test rmse\n\n{provenance()}\n")
    print("| table | model | default | found | trainings | CPU s |\n|---|---|---|---|---|---|", flush=True)
    for table in (_FEW, _WHOLE):
        for row in measure(table, arguments.budget):
            print(row, flush=True)


if __name__ == "__main__":
    main()

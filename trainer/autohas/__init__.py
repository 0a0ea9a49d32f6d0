"""AutoHAS from Python: `autohas.run(spec)` searches on this machine, `autohas.load(folder)` loads what it found.

    import autohas

    result = autohas.run("search.yaml", settings=["budget.trainings=3"], out="out/first")
    print(result.test_score, result.default_test_score, result.configuration)
    model = autohas.load(result.folder)
    print(model.predict("new.csv"))

Needs the trainer: `make setup` in a checkout, `pip install 'autohas[trainer]'` with a wheel. The command line is `autohas --help`.
"""

import importlib
from typing import Any

from autohas.loading import load
from autohas.searching import Result, run

__all__ = ["Result", "load", "run"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the module's type
    """Return `autohas.nn`, which loads torch, when it is asked for."""
    if name == "nn":
        return importlib.import_module("autohas.nn")
    raise AttributeError(f"module 'autohas' has no attribute {name!r}")

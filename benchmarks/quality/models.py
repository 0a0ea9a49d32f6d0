"""Methods that return a model and not a configuration: each run trains for real, to the end of the budget.

The default in the same form, WSD with the whole budget, stands next to the search for a model; "default, trained as long" is the default
under the task's own schedule.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.jobs import NeverStopped, make_job
from benchmarks.quality.tasks import data_of, document
from benchmarks.quality.trainings import Trainings

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.best_model import DECAY_FRACTION
from autohas_trainer.engine.search import run
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.events import Outcome
from autohas_trainer.reporting.sinks.null import NullSink

__all__ = ["MODELS", "train_model"]

_Spec = dict[str, Any]


def _search(spec: _Spec, _: float) -> None:
    """The default strategy, for the model."""
    spec["budget"]["for"] = "Model"
    spec["task"]["recipe"]["schedule"] = "WSD"


def _train_default(spec: _Spec, budget: float) -> None:
    """The default under WSD with the whole budget and the decay of a search for a model; its plan does not count the last comparison."""
    spec["algorithm"] = {"name": "DefaultOnly", "seed": spec["algorithm"]["seed"]}
    spec["task"]["recipe"] |= {"schedule": "WSD", "decayFraction": f"{DECAY_FRACTION}"}
    spec["training"]["steps"] = round(spec["training"]["steps"] * budget)
    spec["budget"]["trainings"] = "2"


MODELS: Final[dict[str, Callable[[_Spec, float], None]]] = {
    "AutoHAS for Model": _search,
    "default in WSD, for as long": _train_default,
}
"""What each changes of the document of a search."""


def train_model(method: str, trainings: Trainings, budget: float) -> tuple[Outcome, float]:
    """Run a method to its end.

    Returns:
        The outcome, and its work in trainings of the task.

    Raises:
        SpecError: the budget is too small.
        ConfigurationError: the task has a price, which a test score alone does not have.
    """
    task = trainings.task
    if task.cost is not None:
        raise ConfigurationError("tasks with a price are judged by more than the test score of a model")
    request = document(task, data_of(task, trainings.store.path.parent / ".tables"), seed=trainings.seed, trainings=budget)
    MODELS[method](request["spec"], budget)
    parsed, space = accept(request)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(make_job(parsed, space, Path(folder)), NullSink(), NeverStopped())
    return outcome, outcome.result.trainings * parsed.spec.training.steps / task.steps

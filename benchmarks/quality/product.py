"""The product's strategies: the engine's own search on recorded trainings, up to its winner."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.jobs import NeverStopped, make_job
from benchmarks.quality.recorded import RecordedTraining
from benchmarks.quality.tasks import HYPERPARAMETERS, RATE_ALONE, RATE_AND_DECAY, data_of, document
from benchmarks.quality.trainings import Trainings

from autohas_api.accept.acceptance import accept
from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.algorithms.table import ALGORITHM_ROWS
from autohas_api.space.decisions import Configuration
from autohas_trainer.engine.search import choose
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.reporting.sinks.null import NullSink

__all__ = ["DEFAULT_STRATEGY", "STRATEGIES", "Strategy", "search"]

DEFAULT_STRATEGY: Final = f"AutoHAS {ALGORITHM_ROWS[0].strategy}"
"""The reference of every table: what a search without `algorithm` runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A search's `algorithm`, and what it can search of the joint space: the other hyperparameters stay at the default's."""

    algorithm: dict[str, Any]
    hyperparameters: Sequence[str] = tuple(HYPERPARAMETERS)


STRATEGIES: Final = {
    "AutoHAS OneFactor": Strategy(algorithm={"name": "AutoHAS", "autoHAS": {"strategy": "OneFactor"}}),
    "AutoHAS Lanes": Strategy(algorithm={"name": "AutoHAS", "autoHAS": {"strategy": "Lanes"}}),
    "AutoHAS OneStep": Strategy(algorithm={"name": "AutoHAS", "autoHAS": {"strategy": "OneStep"}}, hyperparameters=RATE_ALONE),
    "AutoHAS Paired": Strategy(algorithm={"name": "AutoHAS", "autoHAS": {"strategy": "Paired"}}, hyperparameters=RATE_ALONE),
    "AutoHAS Published": Strategy(
        algorithm={"name": "AutoHAS", "autoHAS": {"strategy": "OneStep", "preset": "Published"}}, hyperparameters=RATE_AND_DECAY
    ),
    "RandomSharing": Strategy(algorithm={"name": "RandomSharing"}, hyperparameters=RATE_ALONE),
    "RandomSearch": Strategy(algorithm={"name": "RandomSearch"}),
    "SuccessiveHalving of AutoHAS": Strategy(algorithm={"name": "SuccessiveHalving"}),
    "Hyperband of AutoHAS": Strategy(algorithm={"name": "Hyperband"}),
    "TPE + halving of AutoHAS": Strategy(algorithm={"name": "TPE"}),
    "BOHB of AutoHAS": Strategy(algorithm={"name": "BOHB"}),
    "RegularizedEvolution of AutoHAS": Strategy(
        algorithm={"name": "RegularizedEvolution", "regularizedEvolution": {"population": 4, "sample": 2}}
    ),
}
"""By name. A population of 100, the paper's, would take 101 trainings: here it is as small as the smallest budgets ask."""


def search(strategy: Strategy, trainings: Trainings, budget: float) -> tuple[Configuration, float]:
    """Run a search up to its winner, and let the winner be trained to its end.

    Args:
        strategy: What the search's document says.
        trainings: Those of the task and seed.
        budget: In trainings of the default.

    Returns:
        The winner in the joint space, and the work that the search and the rest of the winner's training took.

    Raises:
        SpecError: This version has no such strategy, or the budget is too small for it.
    """
    task, seed = trainings.task, trainings.seed
    data = data_of(task, trainings.store.path.parent / ".tables")
    request = document(task, data, seed=seed, algorithm=strategy.algorithm, trainings=budget, hyperparameters=strategy.hyperparameters)
    parsed, space = accept(request)
    with tempfile.TemporaryDirectory() as folder:
        state = choose(make_job(parsed, space, Path(folder)), NullSink(), NeverStopped(), partial(RecordedTraining, trainings))
    return _finish(state, trainings)


def _finish(state: SearchState, trainings: Trainings) -> tuple[Configuration, float]:
    """Train the winner to its end; the default answers for one that diverges, as in the product's last stage."""
    assert state.winner is not None  # noqa: S101 - the stage before the last names one
    small, joint = state.search_task.space, trainings.space
    work = state.ledger.cost
    for name in dict.fromkeys((state.winner, "default")):
        chosen = state.configurations[name]
        configuration = joint.configuration(joint.as_mapping(joint.default) | small.as_mapping(chosen))
        next_rung = max(state.comparisons.get(name, {}), default=-1) + 1  # a trial in full is compared at the last rung alone
        work += state.search_task.price(chosen, next_rung, LAST_RUNG + 1)
        if not trainings.measure(configuration, LAST_RUNG).is_diverged:
            return configuration, work
    raise RuntimeError("the default configuration diverged")

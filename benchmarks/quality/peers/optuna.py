"""Optuna's searches: random and TPE, with rungs at 1/9, 1/3 and 1 of a training, which continues from where it was compared."""

from __future__ import annotations

import math
import warnings
from enum import Enum
from typing import Final

import optuna
from benchmarks.quality.peers.values import is_ordered
from benchmarks.quality.session import Session

from autohas_api.algorithms.rungs import LAST_RUNG, RUNG_DIVISORS
from autohas_api.space.decisions import Configuration, Decision, Space

__all__ = ["Halving", "search", "tpe", "uniform"]

_RESOURCES: Final = tuple(RUNG_DIVISORS[0] // divisor for divisor in RUNG_DIVISORS)
"""Ninths of a training: Optuna's resource."""
_MOST_TRIALS: Final = 1000
"""A trial that repeats another is free, so a small space would never use a budget up."""


class Halving(Enum):
    """How trials end before their last rung."""

    NONE = "none"
    SUCCESSIVE = "successive halving"
    HYPERBAND = "Hyperband"

    def pruner(self) -> optuna.pruners.BasePruner:
        """Optuna's pruner."""
        match self:
            case Halving.NONE:
                return optuna.pruners.NopPruner()
            case Halving.SUCCESSIVE:
                return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
            case Halving.HYPERBAND:
                return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=_RESOURCES[-1], reduction_factor=3)


def uniform(seed: int) -> optuna.samplers.BaseSampler:
    """Random search."""
    return optuna.samplers.RandomSampler(seed=seed)


def tpe(seed: int, num_startup_trials: int) -> optuna.samplers.BaseSampler:
    """Multivariate TPE after some random trials; its own default of 10 is most of a small budget."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the option has been experimental for years
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=num_startup_trials, multivariate=True)


def search(session: Session, sampler: optuna.samplers.BaseSampler, halving: Halving, *, is_ordinal: bool = False) -> None:
    """Run trials, the default first, until the next rung of one is no longer affordable.

    Args:
        session: Pays for the trials.
        sampler: Proposes them.
        halving: Ends them.
        is_ordinal: Whether choices that are numbers are integers to the sampler, not categories.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = f"seed {session.seed}"  # Hyperband deals its brackets by a hash of the name, which is random unless it is given
    study = optuna.create_study(study_name=name, direction="maximize", sampler=sampler, pruner=halving.pruner())
    study.enqueue_trial(_parameters(session.space, is_ordinal=is_ordinal))
    for number in range(_MOST_TRIALS):
        trial = study.ask()
        suggested = _suggest(trial, session.space, is_ordinal=is_ordinal)
        if not _run(session, study, trial, suggested if number else session.space.default):
            return


def _run(session: Session, study: optuna.Study, trial: optuna.Trial, configuration: Configuration) -> bool:
    """Take a trial from rung to rung; False if the budget ended it."""
    for rung, resource in enumerate(_RESOURCES):
        if not session.can_afford(configuration, rung):
            return False
        comparison = session.measure(configuration, rung)
        if rung == LAST_RUNG and comparison.score > -math.inf:
            study.tell(trial, comparison.score)
            return True
        if comparison.key > -math.inf:
            trial.report(comparison.key, resource)
        if comparison.key == -math.inf or trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return True
    raise RuntimeError("the last rung ended without a score")


def _parameters(space: Space, *, is_ordinal: bool) -> dict[str, str | int]:
    """The default as Optuna's parameters; values that are none of the choices are left out."""
    return {
        decision.name: decision.choices.index(decision.default) if is_ordinal and is_ordered(decision) else decision.default
        for decision in space.searched_decisions()
        if decision.default in decision.choices
    }


def _suggest(trial: optuna.Trial, space: Space, *, is_ordinal: bool) -> Configuration:
    values: dict[str, str] = {}
    for decision in space.decisions:
        is_free = decision.is_searched and space.is_active(decision, values)
        values[decision.name] = _suggest_value(trial, decision, is_ordinal=is_ordinal) if is_free else decision.fixed
    return space.configuration(values)


def _suggest_value(trial: optuna.Trial, decision: Decision, *, is_ordinal: bool) -> str:
    if is_ordinal and is_ordered(decision):
        return decision.choices[trial.suggest_int(decision.name, 0, len(decision.choices) - 1)]
    return str(trial.suggest_categorical(decision.name, decision.choices))

"""TPE: the tree-structured Parzen estimator of Optuna, with numbers as numbers. The sampler.

Source: Bergstra et al. (2011), "Algorithms for Hyper-Parameter Optimization"; Optuna's TPESampler, multivariate and grouped, whose other
settings are the library's.
Ours: choices that are numbers are integers to Optuna, their places in the order, and a range is a number on its scale; other choices are
categories, and an inactive decision is left out of its trial. The sampler and its study are built for each draw, from the history
and from a seed that the draw's generator gives: Optuna's own state never has to be kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from autohas_api.algorithms.tpe import TPE
from autohas_api.space.decisions import Configuration, Decision, Space, initial_points
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._order import find_place, sort_choices
from autohas_trainer.algorithms._proposer import TrialRecord
from autohas_trainer.algorithms.multi_trial import MultiTrial
from autohas_trainer.algorithms.uniform import draw_active

if TYPE_CHECKING:
    import optuna

__all__ = ["ParzenSampler", "build_tpe"]


class ParzenSampler:
    """Proposes what Optuna's TPESampler proposes after the same trials."""

    def __init__(self, space: Space, *, startup_trials: int, last_rung: int) -> None:
        """Draw from `space`, uniformly for the first `startup_trials` trials; a trial is complete at rung `last_rung`."""
        self._space, self._startup_trials, self._last_rung = space, startup_trials, last_rung

    def draw(self, history: Sequence[TrialRecord], rng: np.random.Generator) -> Configuration:
        """One configuration. Needs Optuna."""
        trial = self._make_study(history, int(rng.integers(2**31))).ask()
        return draw_active(self._space, lambda decision: _suggest(trial, decision))

    def _make_study(self, history: Sequence[TrialRecord], seed: int) -> optuna.Study:
        """A study in memory that has seen the history."""
        import optuna  # noqa: PLC0415 - half a second that only this algorithm pays

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group` has been experimental for years
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._startup_trials, multivariate=True, group=True)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        trials = [self._make_trial(list(records)) for _, records in groupby(history, key=attrgetter("number"))]
        study.add_trials([trial for trial in trials if trial is not None])
        return study

    def _make_trial(self, records: Sequence[TrialRecord]) -> optuna.trial.FrozenTrial | None:
        """The trial for Optuna: complete, or pruned at the last rung that it reached, or, failed, pruned at none, which Optuna ranks last.

        None where Optuna cannot express the configuration, because a default that is no number is none of the choices.
        """
        import optuna  # noqa: PLC0415 - as above

        values = self._space.as_mapping(records[-1].configuration)
        active = [d for d in self._space.searched_decisions() if self._space.is_active(d, values)]
        parameters = {d.name: parameter for d in active if (parameter := _encode(d, values[d.name])) is not None}
        if len(parameters) < len(active):
            return None
        scores = {record.rung: record.score for record in records}
        is_complete = scores.get(self._last_rung) is not None
        has_failed = None in scores.values()
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE if is_complete else optuna.trial.TrialState.PRUNED,
            value=scores[self._last_rung] if is_complete else None,
            params=parameters,
            distributions={d.name: _make_distribution(d) for d in active},
            intermediate_values={} if has_failed else {rung: score for rung, score in scores.items() if score is not None},
        )


def _make_distribution(decision: Decision) -> optuna.distributions.BaseDistribution:
    from optuna import distributions  # noqa: PLC0415 - as above

    if decision.range is not None:
        return distributions.FloatDistribution(decision.range.minimum, decision.range.maximum, log=decision.range.is_log)
    if decision.is_ordered:
        return distributions.IntDistribution(0, len(decision.choices) - 1)
    return distributions.CategoricalDistribution(decision.choices)


def _encode(decision: Decision, value: str) -> float | int | str | None:
    """A value as Optuna's parameter; None where Optuna cannot express it."""
    if decision.range is not None:
        return min(max(float(value), decision.range.minimum), decision.range.maximum)
    place = find_place(decision, value)
    return value if place is not None and not decision.is_ordered else place


def _suggest(trial: optuna.Trial, decision: Decision) -> str:
    """A value of the range, or one of the choices."""
    if decision.range is not None:
        low, high = decision.range.minimum, decision.range.maximum
        return decision.range.write(trial.suggest_float(decision.name, low, high, log=decision.range.is_log))
    if decision.is_ordered:
        return sort_choices(decision)[trial.suggest_int(decision.name, 0, len(decision.choices) - 1)]
    return str(trial.suggest_categorical(decision.name, decision.choices))


def build_tpe(spec: Spec, space: Space) -> MultiTrial:
    """The algorithm of a search, at its start."""
    knobs = spec.algorithm.knobs_as(TPE)
    sampler = ParzenSampler(space, startup_trials=knobs.startup_trials, last_rung=spec.budget.rungs_of_training.last)
    return MultiTrial(space, sampler, initial=initial_points(spec, space), parallel_trials=knobs.parallel_trials)

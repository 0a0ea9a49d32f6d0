"""The history of a search as trials of Optuna. Pure: equal histories give equal trials.

Up to three studies, so that each compares what is comparable:

    NAME              every candidate; its comparisons are intermediate values, and what was stopped is PRUNED
    NAME: first rung  every candidate with its score at the first comparison that most of them had, all COMPLETE
    NAME: supernet    every rewarded sample of the shared weights

A history has no times. A trial's times are positions: step n stands n seconds after the beginning of the year 2000.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autohas_api.space.decisions import Space
from autohas_trainer.events import CandidateRecord, StepRecord
from autohas_trainer.reporting.sinks.history import History
from autohas_trainer.reporting.sinks.result_files import FinishedSearch
from autohas_trainer.reporting.studies.distributions import distributions_of, params_of

__all__ = ["FIRST_RUNG", "SUPERNET", "PastSearch", "StudyTrials", "studies_of"]

FIRST_RUNG: Final = "first rung"
SUPERNET: Final = "supernet"
_STEPS_PER_TRAINING: Final = 1000
"""Optuna's steps are whole numbers: an intermediate value after 1/9 of a training stands at step 111."""
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
_COMPLETE: Final = 1.0 - 1e-6
"""A candidate that was compared after this share of a training was compared at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSearch:
    """What the folder of a search holds; `finished` is None while it runs."""

    name: str
    history: History
    finished: FinishedSearch | None

    @property
    def space(self) -> Space | None:
        """All decisions; None without a result, and where the search has read decisions from code, which are not in its file."""
        if self.finished is None:
            return None
        space = self.finished.space
        names = {decision.name for decision in space.decisions}
        is_whole = all(set(record.values) <= names for record in self.history.candidates)
        return space if is_whole else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTrials:
    """One study of Optuna; higher values are better unless `directions` say otherwise."""

    name: str
    trials: tuple[FrozenTrial, ...]
    directions: tuple[StudyDirection, ...] = (StudyDirection.MAXIMIZE,)
    metric_names: tuple[str, ...] = ()
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)


def studies_of(search: PastSearch, *, keep_empty: bool = False) -> list[StudyTrials]:
    """The studies of a search; `keep_empty` returns all three, so that their places stay the same while the search runs."""
    candidates = _by_name(search.history.candidates)
    rewarded = [step for step in search.history.steps if step.reward is not None and step.sample is not None]
    space = search.space
    samples = [*(records[0].values for records in candidates.values()), *(step.sample or {} for step in rewarded)]
    trials = _Trials(space=space, distributions=distributions_of(space, samples), finished=search.finished)
    begins, fraction = _first_steps(search.history.steps), _first_rung(search.history.candidates)
    firsts = [r for records in candidates.values() if (r := _at(records, fraction)) is not None] if fraction < _COMPLETE else []
    whole = [trials.of_candidate(number, records, begins.get(name)) for number, (name, records) in enumerate(candidates.items())]
    studies = [
        (search.name, whole, "selection score"),
        (
            f"{search.name}: {FIRST_RUNG}",
            [trials.of_comparison(number, record) for number, record in enumerate(firsts)],
            f"selection score at {_percent(fraction)}",
        ),
        (f"{search.name}: {SUPERNET}", [trials.of_sample(number, step) for number, step in enumerate(rewarded)], "reward"),
    ]
    attributes = _attributes(search)
    return [
        StudyTrials(name=name, trials=tuple(own), metric_names=(metric,), user_attrs=attributes)
        for name, own, metric in studies
        if own or keep_empty
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trials:
    """Makes the trials of one search."""

    space: Space | None
    distributions: Mapping[str, BaseDistribution]
    finished: FinishedSearch | None

    def of_candidate(self, number: int, records: Sequence[CandidateRecord], begin: int | None) -> FrozenTrial:
        """All comparisons of one candidate; `begin` is the position of its first step that the history has."""
        last = records[-1]
        is_winner = self.finished is not None and self.finished.outcome.winner == last.name
        return self._make(
            number,
            self._end(last),
            values=last.values,
            steps=(records[0].step if begin is None else min(begin, records[0].step), last.step),
            user_attrs={**_facts(last), **({"winner": "yes"} if is_winner else {})},
            rungs={_optuna_step(r.fraction): r.score for r in records if r.score is not None},
        )

    def of_comparison(self, number: int, record: CandidateRecord) -> FrozenTrial:
        """One comparison, as if the candidate had ended there."""
        state = TrialState.FAIL if record.score is None else TrialState.COMPLETE
        steps = (record.step, record.step)
        return self._make(number, (state, record.score), values=record.values, steps=steps, user_attrs=_facts(record), rungs={})

    def of_sample(self, number: int, step: StepRecord) -> FrozenTrial:
        """One rewarded sample of the shared weights."""
        attributes = {"step": step.step, "advantage": step.advantage}
        end, steps = (TrialState.COMPLETE, step.reward), (step.step, step.step)
        return self._make(number, end, values=step.sample or {}, steps=steps, user_attrs=attributes, rungs={})

    def _end(self, last: CandidateRecord) -> tuple[TrialState, float | None]:
        """State and value after the last comparison: of a pruned trial the value is its last score, as Optuna has it."""
        if last.score is None:
            return TrialState.FAIL, None
        if last.fraction >= _COMPLETE:
            return TrialState.COMPLETE, last.score
        return (TrialState.RUNNING, None) if self.finished is None and last.kept else (TrialState.PRUNED, last.score)

    def _make(  # noqa: PLR0913 - the parts of a trial
        self,
        number: int,
        end: tuple[TrialState, float | None],
        *,
        values: Mapping[str, str],
        steps: tuple[int, int],
        user_attrs: Mapping[str, Any],
        rungs: Mapping[int, float],
    ) -> FrozenTrial:
        (state, value), (first, last) = end, steps
        params = params_of(values, self.distributions, self.space)
        return FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=value,
            datetime_start=_BEGINNING + timedelta(seconds=first),
            datetime_complete=_BEGINNING + timedelta(seconds=last) if state.is_finished() else None,
            params=params,
            distributions={name: self.distributions[name] for name in params},
            user_attrs={name: fact for name, fact in user_attrs.items() if fact is not None},
            system_attrs={},
            intermediate_values=dict(rungs),
        )


def _by_name(records: Sequence[CandidateRecord]) -> dict[str, list[CandidateRecord]]:
    """The comparisons of each candidate, in the order in which candidates were first compared."""
    candidates: dict[str, list[CandidateRecord]] = {}
    for record in records:
        candidates.setdefault(record.name, []).append(record)
    return candidates


def _first_steps(steps: Sequence[StepRecord]) -> dict[str, int]:
    first: dict[str, int] = {}
    for step in steps:
        if step.candidate is not None:
            first.setdefault(step.candidate, step.step)
    return first


def _first_rung(records: Sequence[CandidateRecord]) -> float:
    """The share of a training at which most candidates were compared, the smallest of equally frequent ones; 1 without comparisons."""
    counts = Counter(fraction for _, fraction in {(record.name, record.fraction) for record in records})
    return min(counts, key=lambda fraction: (-counts[fraction], fraction), default=1.0)


def _at(records: Sequence[CandidateRecord], fraction: float) -> CandidateRecord | None:
    return next((record for record in records if record.fraction == fraction), None)


def _facts(record: CandidateRecord) -> dict[str, Any]:
    """What the page of a trial shows next to its parameters."""
    return {
        "candidate": record.name,
        "parent": record.parent,
        "stage": record.stage.value,
        "training": _percent(record.fraction),
        "metric": record.metric,
        "loss": record.loss,
        "cost of the search": round(record.cost, 6),
    }


def _attributes(search: PastSearch) -> dict[str, Any]:
    """What the page of a study shows about the search."""
    finished = search.finished
    if finished is None:
        return {"search": "has no result yet"}
    outcome = finished.outcome
    return {
        "search": finished.search.metadata.name,
        "algorithm": finished.search.spec.algorithm.name,
        "metric": finished.search.spec.objective.metric_name,
        "winner": outcome.winner,
        "test score": outcome.result.test_score,
        "test score of the default": outcome.result.default_test_score,
        "trainings": outcome.result.trainings,
        "digest": outcome.result.digest,
    }


def _optuna_step(fraction: float) -> int:
    return max(1, math.floor(_STEPS_PER_TRAINING * fraction + 0.5))


def _percent(fraction: float) -> str:
    """A share of a training in percent: a ninth of few steps is not exactly a ninth."""
    return f"{100 * fraction:.3g} %"

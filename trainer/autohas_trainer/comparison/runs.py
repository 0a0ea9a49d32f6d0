"""The runs of a comparison, one after another: all methods with the first seed, then with the next. Each is an ordinary search.

A run that is finished is not run again: compare.json has the digest of its result.json. One that was stopped continues from its own
checkpoint, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from autohas_api.accept.comparison import AS_LONG, METHODS, Method, choose_methods, label_search, search_of, without_comparison
from autohas_api.spec.search import Search
from autohas_trainer.comparison import RECORD_FILE
from autohas_trainer.comparison.record import ComparedMethod, Comparison, RunRecord, read_comparison
from autohas_trainer.engine.search import search_digest
from autohas_trainer.errors import DataError, NumericalError
from autohas_trainer.events import Event, SearchStarted
from autohas_trainer.provenance import DataIdentity, digest_file
from autohas_trainer.reporting.sinks.result_files import RESULT_FILE, FinishedSearch, read_result

__all__ = [
    "Run",
    "SameData",
    "begin_comparison",
    "continue_comparison",
    "find_data",
    "left_runs",
    "record_run",
    "run_folder",
    "take_up_comparison",
    "verify_runs",
]

_METHODS: Final = {method.name: method for method in METHODS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run that is to come: its number among all, from 1, its method, its search and its folder."""

    number: int
    method: Method
    search: Search
    folder: Path


class SameData:
    """Refuses to train on other data than those of the finished runs."""

    def __init__(self, expected: DataIdentity | None) -> None:
        """`expected`: None before the first run."""
        self._expected = None if expected is None else expected.without_division()

    def emit(self, event: Event) -> None:
        """Judge the data when a search starts.

        Raises:
            DataError: they are not the expected ones.
        """
        if not isinstance(event, SearchStarted) or event.info.data is None or self._expected is None:
            return
        if difference := event.info.data.without_division().difference(self._expected):
            message = (
                f"the data are not those that the finished runs of this comparison were trained with ({difference}); restore the files"
                " of task.data and resume, or compare again in another folder (--out DIR)"
            )
            raise DataError(message)


def run_folder(folder: Path, method: str, seed: int) -> Path:
    """The folder of a run, which is that of an ordinary search."""
    return folder / method / f"seed-{seed}"


def take_up_comparison(search: Search, num_seeds: int, folder: Path) -> Comparison:
    """The comparison of a folder, whose finished runs are verified, or a new one.

    Raises:
        DataError: the folder has the comparison of another search, or a run of it was changed.
        OSError: the folder cannot be read.
    """
    begun = read_comparison(folder)
    if begun is None:
        return begin_comparison(search, num_seeds)
    return verify_runs(continue_comparison(begun, search, num_seeds, folder / RECORD_FILE), search, folder)


def begin_comparison(search: Search, num_seeds: int) -> Comparison:
    """A comparison without runs: `num_seeds` seeds from that of the search."""
    chosen, left_out = choose_methods(search)
    titles = {method.name: method.title for method in chosen}
    titles[chosen[0].name] = f"{chosen[0].title} ({label_search(search)})"
    own, cost = search_of(chosen[0], search, search.spec.algorithm.seed), search.spec.objective.cost
    return Comparison(
        name=search.metadata.name,
        label=label_search(search),
        search_digest=search_digest(without_comparison(search)),
        metric=search.spec.objective.metric_name,
        better=search.spec.objective.better,
        budget=float(own.spec.budget.trainings),
        cost_metric=None if cost is None else cost.metric,
        seeds=_seeds(search, num_seeds),
        methods=tuple(ComparedMethod(name=name, title=title) for name, title in titles.items()),
        left_out=tuple(left_out),
    )


def continue_comparison(comparison: Comparison, search: Search, num_seeds: int, path: Path) -> Comparison:
    """A comparison that has begun, with `num_seeds` seeds, which may be more or fewer than before.

    Args:
        comparison: What `path` holds.
        search: The user's search.
        num_seeds: Number of seeds.
        path: compare.json, for errors.

    Raises:
        DataError: it is of another search, or of methods that this version does not have.
    """
    if comparison.search_digest != search_digest(without_comparison(search)):
        message = (
            f"{path} is the comparison of another search, or of this one before it was changed: restore the file of the search, or compare"
            " in another folder (--out DIR)"
        )
        raise DataError(message)
    if unknown := [method.title for method in comparison.methods if method.name not in _METHODS]:
        raise DataError(f"{path} compares {', '.join(unknown)}, which this version does not have: finish it with the version that began it")
    return replace(comparison, seeds=_seeds(search, num_seeds))


def _seeds(search: Search, num_seeds: int) -> tuple[int, ...]:
    first = search.spec.algorithm.seed
    return tuple(range(first, first + num_seeds))


def verify_runs(comparison: Comparison, search: Search, folder: Path) -> Comparison:
    """The comparison without the runs whose folder was removed, which are to run again.

    Raises:
        DataError: the result of a finished run is not the recorded one.
        OSError: a folder cannot be read.
    """
    kept = []
    for run in comparison.runs:
        place = run_folder(folder, run.method, run.seed)
        path = place / RESULT_FILE
        if not place.exists():
            continue
        if run.failure is None and not (path.exists() and digest_file(path) == run.file_digest):
            message = (
                f"{path} is not the file that the comparison recorded: restore it, or remove the folder {place} and resume, which runs it"
                " again"
            )
            raise DataError(message)
        if run.search_digest != search_digest(search_of(_METHODS[run.method], search, run.seed)):
            message = f"{place} was run by a version that plans {run.method} otherwise: finish it there, or compare again in another folder"
            raise DataError(message)
        kept.append(run)
    return replace(comparison, runs=tuple(kept))


def find_data(comparison: Comparison, folder: Path) -> DataIdentity | None:
    """The examples of the first finished run; None before there is one.

    Raises:
        DataError: its result cannot be read.
    """
    for run in comparison.runs:
        if run.failure is None and (finished := read_result(run_folder(folder, run.method, run.seed))) is not None:
            return finished.data
    return None


def left_runs(comparison: Comparison, search: Search, folder: Path) -> Iterator[Run]:
    """The runs that are not finished, all methods of a seed before the next seed."""
    finished, number = comparison.by_method_and_seed, 0
    for seed in comparison.seeds:
        for method in comparison.methods:
            number += 1
            if (method.name, seed) not in finished:
                row = _METHODS[method.name]
                place = run_folder(folder, method.name, seed)
                yield Run(number=number, method=row, search=search_of(row, search, seed), folder=place)


def record_run(run: Run, work_through: Callable[[], None], budget: float) -> RunRecord:
    """Run or resume one search, and take what the comparison needs of its result.

    Args:
        run: The run.
        work_through: Runs it to its end; a result must be in its folder then.
        budget: Trainings of the user's search, which one training of the default takes that is as long.

    Raises:
        Interrupted, DataError, ConfigurationError, CheckpointError, OSError: as for a search. A default configuration that diverges
            ends its run only: it is recorded as a failure.
    """
    digest, seed = search_digest(run.search), run.search.spec.algorithm.seed
    try:
        work_through()
    except NumericalError as error:
        return RunRecord(method=run.method.name, seed=seed, search_digest=digest, failure=str(error))
    finished = read_result(run.folder)
    if finished is None or finished.search_digest != digest:
        raise DataError(f"{run.folder} holds the result of another search: compare in another folder (--out DIR)")
    return _take(run, finished, budget)


def _take(run: Run, finished: FinishedSearch, budget: float) -> RunRecord:
    is_as_long = run.method.name == AS_LONG
    outcome, result = finished.outcome, finished.outcome.result
    return RunRecord(
        method=run.method.name,
        seed=run.search.spec.algorithm.seed,
        search_digest=finished.search_digest,
        file_digest=digest_file(run.folder / RESULT_FILE),
        test=result.test_score,
        selection=result.selection_score,
        default_test=None if is_as_long or run.search.spec.budget.is_for_model else result.default_test_score,
        trainings=round(result.trainings * (budget if is_as_long else 1), 6),
        seconds=round(sum(outcome.seconds_by_stage.values()), 3),
        is_default=dict(outcome.configuration) == dict(outcome.default),
        parameters=result.parameters,
        cost=result.cost,
    )

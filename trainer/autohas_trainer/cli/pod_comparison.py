"""`algorithm.compare` in a pod: the runs of a comparison, one after another; the operator sees them as one search. Imports torch.

Each run is an ordinary search in a folder of its own, `METHOD/seed-N`. The result is that of the user's search with the first seed,
whose files are copied to the working folder, and has the comparison.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from autohas_api.accept.comparison import METHODS, OWN, search_of
from autohas_api.space.decisions import resolve
from autohas_api.wire.messages import Result
from autohas_api.wire.result import add_comparison
from autohas_trainer.atomic_file import name_os_errors, replace_file
from autohas_trainer.cli.assembly import add_report, find_finished, run_with, serve_and_hold
from autohas_trainer.cli.process_state import preserve_process_state
from autohas_trainer.comparison.page import write_page
from autohas_trainer.comparison.record import Comparison, RunRecord
from autohas_trainer.comparison.runs import Run, SameData, find_data, left_runs, record_run, run_folder, take_up_comparison
from autohas_trainer.comparison.summary import method_outcomes, summary_fields
from autohas_trainer.engine.checkpointing.start_counter import STARTS_FILE, count_start
from autohas_trainer.engine.search import Job
from autohas_trainer.errors import Interrupted, NumericalError
from autohas_trainer.events import Listener, StopRequest, WorkStarted
from autohas_trainer.provenance import digest_file
from autohas_trainer.reporting.sinks.history import read_history
from autohas_trainer.reporting.sinks.live_state import ComparedRun, LiveState
from autohas_trainer.reporting.sinks.log import LogSink
from autohas_trainer.reporting.sinks.result_files import RESULT_FILE

__all__ = ["compare_in_pod"]


def compare_in_pod(job: Job, port: int, state: LiveState, stop: StopRequest) -> Result:
    """Run or resume every run that is not finished, then publish the user's search with the first seed; returns the termination message.

    Args:
        job: The search with `algorithm.compare`, in the working folder of the pod.
        port: Of the HTTP server.
        state: What the server shows.
        stop: Whether the pod is to stop.

    Raises:
        Interrupted: stopped on request; finished runs and a checkpoint are kept.
        NumericalError: the default diverges with the first seed, so that there is no result.
        FolderInUseError, TrainerError, OSError: as for a search.
    """
    compare = job.search.spec.algorithm.compare
    assert compare is not None  # noqa: S101 - the caller asks
    log = structlog.get_logger()
    with serve_and_hold(job, port, state, stop):
        comparison = take_up_comparison(job.search, compare.seeds, job.workdir)
        comparison.write(job.workdir, summary_fields(comparison))
        starts = count_start(job.workdir)
        num_finished = len(comparison.by_method_and_seed)
        log.info("comparison started", runs=comparison.num_runs, finished=num_finished, budget=comparison.budget, starts=starts)
        for run in left_runs(comparison, job.search, job.workdir):
            if stop.is_requested:
                raise Interrupted(f"stopped on request before run {run.number} of {comparison.num_runs}; finished runs are kept")
            state.enter_run(_place(comparison, run, starts))
            comparison = comparison.add(_record(job, run, comparison, state, stop))
            comparison.write(job.workdir, summary_fields(comparison))
        return _publish(job, comparison, state)


def _place(comparison: Comparison, run: Run, starts: int) -> ComparedRun:
    finished = comparison.by_method_and_seed.values()
    return ComparedRun(
        number=run.number,
        num_runs=comparison.num_runs,
        num_finished=len(finished),
        steps_before=sum(each.steps for each in finished),
        seconds_before=sum(each.seconds or 0.0 for each in finished),
        starts=starts,
    )


def _record(job: Job, run: Run, comparison: Comparison, state: LiveState, stop: StopRequest) -> RunRecord:
    """Run or resume one run to its end.

    Raises:
        NumericalError: it is the one that gives the result, and it has none.
        Interrupted, TrainerError, OSError: as for a search.
    """
    seed = run.search.spec.algorithm.seed
    log = structlog.get_logger().bind(run=f"{run.number}/{comparison.num_runs}", method=run.method.name, seed=seed)
    listeners = (SameData(find_data(comparison, job.workdir)), state, LogSink(log))
    record = record_run(run, partial(_work_through, job, run, stop, listeners), comparison.budget)
    if record.failure is not None and run.method.name == OWN and seed == comparison.seeds[0]:
        raise NumericalError(record.failure)
    snapshot = state.snapshot()
    if snapshot.run is not None and snapshot.run.number == run.number:  # it has worked in this process
        seconds = record.seconds if record.seconds is not None else snapshot.run_seconds(time.monotonic())
        record = replace(record, steps=snapshot.position, seconds=round(seconds, 3))
    else:  # a kill came between its result and compare.json
        record = replace(record, steps=_count_steps(run.folder))
    log.info("run finished", test=record.test, trainings=record.trainings, failure=record.failure)
    return record


def _count_steps(folder: Path) -> int:
    """Steps of a finished run by its history, which may lack the last ones of a thinned one; 0 where a line of it is damaged."""
    try:
        past = read_history(folder)
    except ValueError:
        return 0
    return max([0, *(record.step for record in past.steps), *(record.step for record in past.candidates)])


def _work_through(job: Job, run: Run, stop: StopRequest, listeners: tuple[Listener, ...]) -> None:
    """Run or resume one search; a finished one, whose end was not recorded, is left as it is."""
    if find_finished(run.search, run.folder) is not None:
        return
    own = replace(job, search=run.search, space=resolve(run.search.spec), workdir=run.folder)
    with preserve_process_state():  # what custom code changes must not reach the next run
        run_with(own, stop, *listeners)


def _publish(job: Job, comparison: Comparison, state: LiveState) -> Result:
    """Copy the files of the run that gives the result to the working folder, write the page, and return the termination message.

    Raises:
        OSError: the disk is full, read-only or gone.
    """
    seed = comparison.seeds[0]
    folder = run_folder(job.workdir, OWN, seed)
    record = comparison.by_method_and_seed[OWN, seed]
    published = job.workdir / RESULT_FILE
    own = search_of(METHODS[0], job.search, seed)
    if published.exists() and digest_file(published) == record.file_digest:
        structlog.get_logger().info("result repeated", folder=str(job.workdir), digest=record.file_digest)
    else:
        state.emit(WorkStarted(description="writing the report and the page of the comparison"))
        add_report(own, folder)
        _add_page(job, comparison)
        _copy_files(folder, job.workdir)
    finished = find_finished(own, folder)
    if finished is None:
        raise RuntimeError("the comparison ended without the result of the search")
    identity = job.identity
    result = finished.outcome.result.replace(search_uid=identity.search_uid, pod_uid=identity.pod_uid, attempt=identity.attempt)
    return add_comparison(result, method_outcomes(comparison))


def _copy_files(source: Path, target: Path) -> None:
    """Copy the files of a finished search, result.json last: its presence means that the others are there.

    Raises:
        OSError: the disk is full, read-only or gone.
    """
    files = [path for path in sorted(source.iterdir()) if path.is_file() and path.name not in (STARTS_FILE, RESULT_FILE)]
    files = [path for path in files if not path.name.startswith(".")]  # what a kill left half written
    for path in (*files, source / RESULT_FILE):
        with replace_file(target / path.name) as temporary, name_os_errors(target / path.name):
            shutil.copyfile(path, temporary)


def _add_page(job: Job, comparison: Comparison) -> None:
    """Write compare.html next to the result, which is valid without it: an error here is only logged."""
    command = f"autohas compare {comparison.name}.yaml --seeds {len(comparison.seeds)}"
    try:
        write_page(job.workdir, comparison, job.search, command)
    except Exception as error:  # noqa: BLE001 - see above
        structlog.get_logger().warning("page not written", error=f"{type(error).__name__}: {error}")

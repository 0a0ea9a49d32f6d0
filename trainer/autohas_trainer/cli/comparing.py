"""`autohas compare`: the runs of a comparison in this process, one after another, then table, compare.json and page. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from autohas_api.base.objective_metrics import metric_text
from autohas_api.space.decisions import resolve
from autohas_api.spec.search import Search
from autohas_trainer.cli.assembly import find_finished, run_with
from autohas_trainer.cli.command_form import Answer
from autohas_trainer.cli.devices import choose_device
from autohas_trainer.cli.process_state import preserve_process_state
from autohas_trainer.comparison import RECORD_FILE
from autohas_trainer.comparison.page import cells, column_titles, write_page
from autohas_trainer.comparison.record import Comparison
from autohas_trainer.comparison.runs import (
    Run,
    SameData,
    find_data,
    left_runs,
    record_run,
    take_up_comparison,
)
from autohas_trainer.comparison.summary import sentences, summary_fields, summary_rows
from autohas_trainer.engine.search import Job
from autohas_trainer.errors import Interrupted
from autohas_trainer.events import Identity, StopRequest
from autohas_trainer.folder_lock import hold_folder
from autohas_trainer.reporting.sinks.live_state import LiveState
from autohas_trainer.reporting.sinks.progress_bar import BarSink, duration

__all__ = ["Comparing", "answer_command", "compare"]


_WIDE: Final = 110
"""Characters per line from which the table has all columns; compare.html always has."""
_ONLY_WIDE: Final = ("Selection", "interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """One call of `autohas compare`."""

    search: Search
    folder: Path
    num_seeds: int
    threads: int
    command: str
    """The command line that makes the same comparison again."""


def compare(task: Comparing, stop: StopRequest, console: Console) -> Comparison:
    """Run or resume every run that is not finished, write compare.json after each, then print the table and write the page.

    Raises:
        Interrupted: stopped on request; finished runs and a checkpoint are kept.
        TrainerError, OSError: as for a search.
    """
    folder = task.folder.absolute()  # custom code may change the working folder
    comparison = _prepare(task, folder, console)
    for run in left_runs(comparison, task.search, folder):
        if stop.is_requested:
            raise Interrupted(f"stopped on request before run {run.number} of {comparison.num_runs}; finished runs are kept")
        _print(console, _announce(comparison, run), style="bold")
        work_through = _work(task, run, SameData(find_data(comparison, folder)), stop, console)
        comparison = comparison.add(record_run(run, work_through, comparison.budget))
        comparison.write(folder, summary_fields(comparison))
        _print(console, _tell_end(comparison))
    console.print("writing the page", style="dim", highlight=False)
    page = write_page(folder, comparison, task.search, task.command)
    _print_comparison(console, comparison)
    _print(console, f"{task.folder}/: {RECORD_FILE}, and a folder for each run")
    _print(console, f"Page: {task.folder / page.name}")
    return comparison


def answer_command(task: Comparing, stop: StopRequest, console: Console, answer: Answer | None) -> None:
    """`autohas compare` in a folder that the process holds; fills in the answer of `-o json`.

    Raises:
        Interrupted: stopped on request; names the command that continues.
        TrainerError, OSError: see `compare`.
    """
    try:
        comparison = compare(task, stop, console)
    except Interrupted as error:
        raise Interrupted(f"{error}. Continue with\n  {task.command} --resume") from error
    if answer is not None:
        record = {**comparison.to_json(), **summary_fields(comparison)}
        answer.fields |= {"name": comparison.name, "folder": str(task.folder), "comparison": record}


def _prepare(task: Comparing, folder: Path, console: Console) -> Comparison:
    """Begin a comparison, or take up the one in the folder; written before its first run, so that a resume finds it."""
    comparison = take_up_comparison(task.search, task.num_seeds, folder)
    comparison.write(folder, summary_fields(comparison))
    for left_out in comparison.left_out:
        _print(console, f"Left out: {left_out.title}: {left_out.reason}")
    num_left = comparison.num_runs - len(comparison.by_method_and_seed)
    if num_left:
        total = num_left * comparison.budget
        _print(console, f"{num_left} runs of {comparison.budget:g} trainings are to come, which is the work of {total:,.0f} trainings")
    return comparison


def _announce(comparison: Comparison, run: Run) -> str:
    """Name a run, with the time that is left where finished runs say how long a training takes."""
    finished = [each for each in comparison.runs if each.seconds is not None and each.trainings]
    seconds = sum(each.seconds or 0.0 for each in finished)
    work = sum(each.trainings or 0.0 for each in finished)
    text = f"Run {run.number} of {comparison.num_runs}: {run.method.title}, seed {run.search.spec.algorithm.seed}"
    if not work:
        return text
    num_left = comparison.num_runs - len(comparison.by_method_and_seed)
    return f"{text}; about {duration(num_left * seconds / len(finished))} left"


def _tell_end(comparison: Comparison) -> str:
    """What the run that has just ended gave."""
    run = comparison.runs[-1]
    if run.test is None:
        return f"The run failed, which counts as the worst score: {run.failure}"
    return f"Test {comparison.metric} {metric_text(comparison.metric, run.test)}, {run.trainings:.2f} trainings"


def _work(task: Comparing, run: Run, same_data: SameData, stop: StopRequest, console: Console) -> Callable[[], None]:
    return partial(_work_through, task, run, same_data, stop, console)


def _work_through(task: Comparing, run: Run, same_data: SameData, stop: StopRequest, console: Console) -> None:
    """Run or resume one search; a finished one, whose end was not recorded, is left as it is.

    Raises:
        FolderInUseError: another process works in the folder of the run, such as `autohas run --resume`.
        TrainerError, OSError: as for a search.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(run.folder) as unlocked:
        if unlocked is not None:
            _print(console, unlocked)
        if find_finished(run.search, run.folder) is None:
            _search(task, run, same_data, stop, console)


def _search(task: Comparing, run: Run, same_data: SameData, stop: StopRequest, console: Console) -> None:
    job = Job(
        search=run.search,
        space=resolve(run.search.spec),
        workdir=run.folder,
        identity=Identity(search_uid="", pod_uid="", attempt=1),
        threads=task.threads,
        device=choose_device(run.search.spec),
    )
    state = LiveState(time.monotonic)
    bar = BarSink(console, state)
    try:
        with preserve_process_state():  # what custom code changes must not reach the next run
            run_with(job, stop, same_data, state, bar)
    finally:
        bar.close()


def _print_comparison(console: Console, comparison: Comparison) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("Method")
    titles = column_titles(comparison)
    is_shown = [console.width >= _WIDE or not title.endswith(_ONLY_WIDE) for title in titles]
    for title in compress(titles, is_shown):
        table.add_column(title, justify="right", no_wrap=True)
    for row in summary_rows(comparison):
        table.add_row(row.title, *compress(cells(comparison, row), is_shown))
    console.print(table)
    for sentence in sentences(comparison):
        _print(console, sentence)


def _print(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

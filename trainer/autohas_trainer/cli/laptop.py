"""`autohas run`: the search with progress bars, its report and its result. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from autohas_api.base.yaml_file import Document
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_trainer.cli.assembly import find_finished, run_with
from autohas_trainer.cli.command_form import Answer
from autohas_trainer.cli.devices import choose_device
from autohas_trainer.cli.environment import available_threads
from autohas_trainer.cli.json_result import result_fields
from autohas_trainer.cli.judging import read_for_folder, refuse_comparison
from autohas_trainer.cli.printing import print_result
from autohas_trainer.cli.process_state import preserve_process_state
from autohas_trainer.cli.settings import apply_settings
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.engine.search import Job
from autohas_trainer.errors import Interrupted
from autohas_trainer.events import Identity
from autohas_trainer.folder_lock import hold_folder, is_used
from autohas_trainer.reporting.report.report import write_report
from autohas_trainer.reporting.sinks.live_state import LiveState
from autohas_trainer.reporting.sinks.progress_bar import BarSink
from autohas_trainer.reporting.sinks.result_files import FinishedSearch

__all__ = ["LaptopRun", "answer_command", "run_on_laptop", "search_here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopRun:
    """One call of `autohas run`."""

    search: Search
    space: Space
    folder: Path
    threads: int
    command: str
    """The command line that runs the same search again."""


def run_on_laptop(task: LaptopRun, state: LiveState, stop: StopOnSignal, console: Console) -> FinishedSearch:
    """Run or resume a search to its end, print the result and return it; a finished search is only printed.

    Raises:
        Interrupted: stopped on request, a checkpoint is written.
        TrainerError, OSError: see `autohas_trainer.engine.search.run`.
    """
    folder = task.folder.absolute()  # custom code may change the working folder
    finished = find_finished(task.search, folder)
    if finished is not None:
        console.print(f"{task.folder} holds the finished search already.", markup=False, highlight=False)
    else:
        _search(task, folder, state, stop, console)
        finished = find_finished(task.search, folder)
        if finished is None:
            raise RuntimeError("the search ended without a result")
    console.print("writing the report", style="dim", highlight=False)
    report = write_report(folder, finished, command=task.command)
    print_result(console, finished, task.folder, task.folder / report.name)
    return finished


def answer_command(task: LaptopRun, stop: StopOnSignal, console: Console, answer: Answer | None) -> None:
    """`autohas run` in a folder that the process holds; fills in the answer of `-o json`.

    Raises:
        Interrupted: stopped on request; names the command that continues.
        TrainerError, OSError: see `run_on_laptop`.
    """
    try:
        finished = run_on_laptop(task, LiveState(time.monotonic), stop, console)
    except Interrupted as error:
        raise Interrupted(f"{error}. Continue with\n  {task.command} --resume") from error
    if answer is not None:
        answer.fields |= result_fields(finished, task.folder)


def search_here(document: Document, settings: Sequence[str], out: Path | None, *, resume: bool, quiet: bool) -> tuple[FinishedSearch, Path]:
    """`autohas.run`: search as `autohas run` does, but leave signals and the process's other global state as they were.

    Raises:
        SpecError, TrainerError, OSError: see `run_on_laptop`.
        FileExistsError: the folder holds something and `resume` is False.
        FolderInUseError: another process, or another call in this one, works in the folder.
    """
    folder, search, space = read_for_folder(apply_settings(document.value, settings), out, resume=resume)
    refuse_comparison(search)
    if not resume and is_used(folder):
        raise FileExistsError(f"{folder} is not empty: continue the search in it by resume=True, or choose another folder by out=...")
    stop = StopOnSignal(insist=True)
    task = LaptopRun(
        search=search, space=space, folder=folder, threads=available_threads(None), command=f"autohas.run(out={str(folder)!r})"
    )
    console = Console(quiet=quiet, emoji=False)
    folder.mkdir(parents=True, exist_ok=True)
    with stop.take_over(), preserve_process_state(), hold_folder(folder) as unlocked:
        if unlocked is not None:
            console.print(unlocked, markup=False, highlight=False, soft_wrap=True)
        return run_on_laptop(task, LiveState(time.monotonic), stop, console), folder


def _search(task: LaptopRun, folder: Path, state: LiveState, stop: StopOnSignal, console: Console) -> None:
    job = Job(
        search=task.search,
        space=task.space,
        workdir=folder,
        identity=Identity(search_uid="", pod_uid="", attempt=1),
        threads=task.threads,
        device=choose_device(task.search.spec),
    )
    bar = BarSink(console, state)
    try:
        run_with(job, stop, state, bar)
    finally:
        bar.close()

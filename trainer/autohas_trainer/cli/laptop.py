"""`autohas run` on this machine: the search with bars, its report, the answer. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from autohas_api.search import Search
from autohas_api.space import Space
from autohas_trainer.cli.assembly import finished_search, run_with
from autohas_trainer.cli.devices import choose_device
from autohas_trainer.cli.printing import print_result
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.engine.search import Job
from autohas_trainer.reporting.bar import BarSink
from autohas_trainer.reporting.live import LiveState
from autohas_trainer.reporting.records import Identity
from autohas_trainer.reporting.report import write_report

__all__ = ["LaptopRun", "run_on_laptop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopRun:
    """One call of `autohas run`."""

    search: Search
    space: Space
    folder: Path
    threads: int
    command: str
    """What to type to run the same search again."""


def run_on_laptop(task: LaptopRun, state: LiveState, stop: StopOnSignal, console: Console) -> None:
    """Run or resume to the end and print the answer; a search that is finished already is only shown.

    Raises:
        Interrupted: stopped on request, a checkpoint is written.
        TrainerError, OSError: see `autohas_trainer.engine.search.run`.
    """
    found = finished_search(task.search, task.folder)
    if found is not None:
        console.print(f"{task.folder} holds the finished search already.", markup=False, highlight=False)
    else:
        _search(task, state, stop, console)
        found = finished_search(task.search, task.folder)
        if found is None:
            raise RuntimeError("the search ended without a result")
    report = write_report(task.folder, found, command=task.command)
    print_result(console, found, task.folder, report)


def _search(task: LaptopRun, state: LiveState, stop: StopOnSignal, console: Console) -> None:
    job = Job(
        search=task.search,
        space=task.space,
        workdir=task.folder,
        identity=Identity(search_uid="", pod_uid="", attempt=1),
        threads=task.threads,
        device=choose_device(task.search.spec, in_pod=False),
    )
    bar = BarSink(console, state)
    try:
        run_with(job, stop, state, bar)
    finally:
        bar.close()

"""`autohas compare`: its options, what they are checked for, and how it ends. Loads torch when everything is checked."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from autohas_api.accept.acceptance import accept
from autohas_api.base.yaml_file import Document
from autohas_api.spec.algorithm import MAX_SEED
from autohas_api.spec.search import Search, read
from autohas_trainer.cli.command_form import Answer, OutputFormat, OutputOption, print_loading, program, run_command
from autohas_trainer.cli.environment import available_threads, let_threads_sleep
from autohas_trainer.cli.exits import UsageError
from autohas_trainer.cli.out_folder import work_in
from autohas_trainer.cli.settings import apply_settings, list_unused
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.comparison import RECORD_FILE
from autohas_trainer.folder_lock import is_used

__all__ = ["EXAMPLES", "compare"]

_DEFAULT_SEEDS: Final = 3
EXAMPLES = (
    "autohas compare examples/01-quickstart.yaml --seeds 3",
    "autohas compare search.yaml --seeds 5 --out out/compared --resume",
    "autohas compare search.yaml --seeds 3 -o json | jq '.comparison.sentences'",
)
"""Command lines of the help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    settings: tuple[str, ...]
    seeds: int | None
    out: Path | None
    resume: bool
    answer: Answer | None
    """Filled in for `-o json`; None for text."""


def compare(  # noqa: PLR0913 - one parameter per option
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The search: a YAML file with one AutoHASSearch.", show_default=False)],
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Number of seeds, from algorithm.seed on; each runs every method. When absent, algorithm.compare.seeds, or 3.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of spec; may be repeated.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the runs; autohas-out/NAME-compare when absent.")] = None,
    output: OutputOption = OutputFormat.TEXT,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the finished runs in the folder and continue with the others.")] = False,
) -> None:
    """Run a search next to other ways to spend its budget, with several seeds: is it worth its work, or is that noise?

    The others are searches by known methods and the default configuration trained as long. All get the same budget, data and seeds. At
    the end: a table, compare.json, and the page compare.html. Ctrl-C writes a checkpoint and prints the command that continues.
    """
    stop = StopOnSignal(insist=True)
    stop.install()
    answer = Answer() if output is OutputFormat.JSON else None
    options = _Options(settings=tuple(settings or ()), seeds=seeds, out=out, resume=resume, answer=answer)
    code = run_command(lambda document: _compare(document, options, stop), file, answer)
    if answer is not None:
        answer.print(code)
    raise typer.Exit(code)


def _compare(document: Document, options: _Options, stop: StopOnSignal) -> None:
    changed = apply_settings(document.value, options.settings)
    written = read(changed)
    folder = options.out if options.out is not None else Path("autohas-out") / f"{written.metadata.name}-compare"
    num_seeds = options.seeds if options.seeds is not None else _seeds_of(written)
    command = _command(document.source, options, num_seeds, folder)
    search = _read_search(changed, folder, command, resume=options.resume)
    _check_seeds(search, num_seeds)
    console = Console(emoji=False, force_terminal=None if options.answer is None else False)  # bars do not mix with JSON
    let_threads_sleep()
    with work_in(folder, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)):
        if ignored := list_unused(document.value):
            console.print(f"Not used on this machine: {', '.join(ignored)}", style="dim", highlight=False)
        print_loading(console)
        from autohas_trainer.cli import comparing  # noqa: PLC0415 - loads torch, after the signals are taken over

        task = comparing.Comparing(search=search, folder=folder, num_seeds=num_seeds, threads=available_threads(None), command=command)
        comparing.answer_command(task, stop, console, options.answer)


def _read_search(document: dict[str, object], folder: Path, command: str, *, resume: bool) -> Search:
    """Read the search; one whose comparison has begun is not judged again, since a newer version may have more rules.

    Raises:
        SpecError: the schema is violated or, where the comparison has not begun, a rule.
        UsageError: the folder holds something else, or a comparison without --resume.
    """
    has_begun = (folder / RECORD_FILE).exists()
    if is_used(folder) and not (resume and has_begun):
        if has_begun:
            message = f"{folder} is not empty. To continue the comparison in it:\n  {command} --resume\nor choose another with --out DIR"
            raise UsageError(message)
        raise UsageError(f"{folder} is not empty and holds no comparison: choose another folder with --out DIR")
    return read(document) if has_begun else accept(document)[0]


def _check_seeds(search: Search, num_seeds: int) -> None:
    """Refuse seeds that no search can have.

    Raises:
        UsageError: the last one is larger than the largest seed.
    """
    first = search.spec.algorithm.seed
    if first + num_seeds - 1 > MAX_SEED:
        message = f"--seeds {num_seeds}: from spec.algorithm.seed {first} on, the last seed is larger than {MAX_SEED}: lower either"
        raise UsageError(message)


def _seeds_of(search: Search) -> int:
    """Number of seeds that the file asks for."""
    compare = search.spec.algorithm.compare
    return _DEFAULT_SEEDS if compare is None else compare.seeds


def _command(source: str, options: _Options, num_seeds: int, folder: Path) -> str:
    """Return the command line that makes the same comparison in the same folder."""
    settings = [part for setting in options.settings for part in ("--set", setting)]
    return shlex.join([program(), "compare", source, "--seeds", str(num_seeds), *settings, "--out", str(folder)])

"""`autohas`: searches on this machine. Commands parse, check and print; torch is loaded only by those that train."""

from __future__ import annotations

import importlib.metadata
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from autohas_api.accept.acceptance import accept
from autohas_api.accept.comparison import describe_comparison
from autohas_api.accept.plan_check import plan_lines
from autohas_api.accept.volume_check import unmounted_volumes
from autohas_api.base.exit_codes import ExitCode
from autohas_api.base.text_encoding import use_utf8
from autohas_api.base.yaml_file import Document
from autohas_api.space.decisions import Space, reads_decisions_from_code
from autohas_api.spec.search import Search
from autohas_trainer import errors
from autohas_trainer.cli import compare_command
from autohas_trainer.cli.command_form import Answer, OutputFormat, OutputOption, PlainUsage, examples, print_loading, program, run_command
from autohas_trainer.cli.environment import available_threads, let_threads_sleep
from autohas_trainer.cli.exits import UsageError
from autohas_trainer.cli.judging import read_for_folder, refuse_comparison
from autohas_trainer.cli.out_folder import refuse_used, work_in
from autohas_trainer.cli.settings import SEARCH_FILES, apply_settings, list_unused
from autohas_trainer.cli.signals import StopOnSignal

__all__ = ["app", "main"]

_CLICK_USAGE: Final = 2

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Search hyperparameters and architecture in one job with a fixed budget.\n\n"
    "\b\nautohas run examples/01-quickstart.yaml        search on this machine, end with a report\n"
    "autohas validate search.yaml                   check a search offline, as kubectl apply would\n"
    "autohas report autohas-out/quickstart          write the report again\n"
    "autohas retrain autohas-out/quickstart/config.yaml --seeds 5\n"
    "autohas compare search.yaml --seeds 5          a search next to others at equal work\n"
    "autohas export autohas-out/quickstart --onnx   write the model as ONNX\n"
    "autohas dashboard autohas-out/*                show the histories in optuna-dashboard\n"
    "autohas watch -n ml                            follow the searches of a cluster\n"
    "autohas wait fashion && autohas fetch fashion  wait for the end, then copy the model\n"
    "autohas --install-completion                   complete commands and search names in this shell",
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer's form
    if wanted:
        print(importlib.metadata.version("autohas"))  # noqa: T201 - the answer
        raise typer.Exit


@app.callback()
def _about(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.", show_default=False)
    ] = False,
) -> None:
    pass


File = Annotated[Path, typer.Argument(metavar="FILE", help="The search: a YAML file with one AutoHASSearch.", show_default=False)]


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas run examples/01-quickstart.yaml",
        "autohas run search.yaml --set budget.trainings=8 --set task.recipe.learningRate=3e-2 --seed 1 --out out/b",
        "autohas run search.yaml --set 'algorithm={name: RandomSearch}' --dry-run",
        "autohas run search.yaml -o json | jq .result.testScore",
    ),
)
def run(  # noqa: PLR0913 - one parameter per option
    file: File,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of spec; may be repeated.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Short for --set algorithm.seed=N.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the results; autohas-out/NAME when absent.")] = None,
    output: OutputOption = OutputFormat.TEXT,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint in the folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print space, steps, memory and predicted time without training.")] = False,
) -> None:
    """Run a search on this machine: progress bars, then the result and a report.

    Ctrl-C writes a checkpoint and prints the command that continues; its result is bit for bit that of an uninterrupted search.
    """
    stop = StopOnSignal(insist=True)
    if not dry_run:
        stop.install()
    all_settings = (*(settings or ()), *((f"algorithm.seed={seed}",) if seed is not None else ()))
    answer = Answer() if output is OutputFormat.JSON else None
    options = _Options(settings=all_settings, out=out, resume=resume, dry_run=dry_run, answer=answer)
    code = run_command(lambda document: _run(document, options, stop), file, answer)
    if answer is not None:
        answer.print(code)
    raise typer.Exit(code)


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas validate examples/*.yaml",
        "autohas validate search.yaml -o json",
    ),
)
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Searches to check.", show_default=False)],
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Check searches offline, by the rules and with the messages of the API server."""
    if output is OutputFormat.TEXT:
        raise typer.Exit(max(run_command(_validate, file) for file in files))
    answers = [Answer() for _ in files]
    codes = [run_command(_fill_in(answer), file, answer) for file, answer in zip(files, answers, strict=True)]
    whole = Answer()
    whole.fields["searches"] = [
        {"file": str(file), "valid": code == 0, **answer.fields} for file, code, answer in zip(files, codes, answers, strict=True)
    ]
    whole.print(max(codes))
    raise typer.Exit(max(codes))


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas report autohas-out/quickstart",
    ),
)
def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished search.", show_default=False)]) -> None:
    """Write report.html again, from result.json and history.jsonl."""
    raise typer.Exit(run_command(lambda _: _report(folder), None))


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas export autohas-out/quickstart --onnx",
        "autohas export autohas-out/quickstart --torch-export --hf quickstart-model",
    ),
)
def export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a finished search.", show_default=False)],
    hf: Annotated[
        Path | None,
        typer.Option("--hf", metavar="DIR", help="Write a folder for the Hugging Face hub, with its card.", show_default=False),
    ] = None,
    *,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write model.onnx next to the model; needs the extra export.")] = False,
    torch_export: Annotated[bool, typer.Option("--torch-export", help="Write model.pt2, a program of torch.export.")] = False,
) -> None:
    """Write the model of a finished search in another format: ONNX, torch.export, a folder for the Hugging Face hub.

    The file takes encoded inputs, as autohas.load(FOLDER).encode gives them, and gives logits of classes or numbers in the target's unit.
    """
    raise typer.Exit(run_command(lambda _: _export(folder, hf, onnx=onnx, torch_export=torch_export), None))


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas retrain autohas-out/quickstart/config.yaml",
        "autohas retrain autohas-out/quickstart/config.yaml --seeds 10 --resume",
        "autohas retrain mine.yaml --seeds 3 --out out/mine",
    ),
)
def retrain(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="config.yaml of a finished search, edited or not.", show_default=False)],
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Number of trainings; each has its own initial weights and data order.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for scores and models; retrain/ next to CONFIG when absent.", show_default=False),
    ] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the finished seeds in the folder and train the others.")] = False,
) -> None:
    """Train one configuration with several seeds: a table of scores, mean and standard deviation.

    Seed 0 is bit for bit the final training of the search that wrote the file. Ctrl-C keeps the finished seeds.
    """
    stop = StopOnSignal(insist=True)
    stop.install()
    raise typer.Exit(run_command(lambda _: _retrain(config, seeds, out or config.parent / "retrain", resume=resume, stop=stop), None))


app.command(cls=PlainUsage, epilog=examples(*compare_command.EXAMPLES))(compare_command.compare)


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "export PYTHONPATH=examples/07-custom-model",
        "autohas conformance examples/07-custom-model/search.yaml",
        "autohas conformance custom_model.model:WaveNets --input-shape 1x64 --outputs 3",
        "autohas conformance custom_model.data:Waveforms --argument examples=100",
    ),
)
def conformance(  # noqa: PLR0913 - one parameter per option
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A search file, or package.module:object.", show_default=False)],
    input_shape: Annotated[
        str | None, typer.Option(metavar="SHAPE", help="Shape of one input, such as 1x28x28: TARGET is a model.", show_default=False)
    ] = None,
    outputs: Annotated[int | None, typer.Option(help="Number of classes, 1 in a regression.", show_default=False)] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Option("--argument", metavar="NAME=VALUE", help="Keyword for the object; may be repeated.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the search file; may be repeated.", show_default=False),
    ] = None,
    *,
    regression: Annotated[bool, typer.Option("--regression", help="The data's targets are numbers.")] = False,
) -> None:
    """Check custom data and models against the entrypoint contract; custom code is found as Python finds it (PYTHONPATH)."""
    check = partial(_conformance, target, input_shape, outputs, arguments or [], settings or [], regression=regression)
    file = Path(target) if target.endswith(SEARCH_FILES) else None
    raise typer.Exit(run_command(lambda document: check(document=None if file is None else document), file))


def main() -> None:
    """The `autohas` script."""
    use_utf8()
    try:
        app(prog_name="autohas")
    except SystemExit as end:
        if end.code == _CLICK_USAGE:
            sys.exit(int(ExitCode.USAGE))
        raise


def _fill_in(answer: Answer) -> Callable[[Document], None]:
    """Return `_validate` for `-o json`."""

    def act(document: Document) -> None:
        search, space = accept(document.value)
        size, lines = _describe_plan(search, space)
        plan = [" ".join(line.split()) for line in lines]
        answer.fields |= {"name": search.metadata.name, "configurations": size, "trainings": float(search.spec.budget.trainings)}
        answer.fields["plan"] = plan

    return act


def _validate(document: Document) -> None:
    search, space = accept(document.value)
    size, plan = _describe_plan(search, space)
    size_text = "the decisions of its model" if size is None else f"{size:,} configurations"
    heading = f"{document.source}: {search.metadata.name} is valid: {size_text}, {search.spec.budget.trainings} trainings"
    lines = [heading, *(f"  {line}" for line in plan)]
    Console(emoji=False).print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _describe_plan(search: Search, space: Space) -> tuple[int | None, list[str]]:
    """Return the number of configurations, None where only the trainer knows it, and lines about the plan."""
    if reads_decisions_from_code(search.spec):
        warning = unmounted_volumes(search.spec.trainer)
        unseen = "the trainer reads the decisions from the model's code and checks them: see --dry-run"
        return None, [unseen, *(() if warning is None else (f"warning: {warning}",))]
    comparison = describe_comparison(search)
    return space.size(), [*plan_lines(search.spec, space), *([f"compare: {comparison}"] if comparison is not None else [])]


def _conformance(  # noqa: PLR0913 - one parameter per option
    target: str,
    shape: str | None,
    outputs: int | None,
    arguments: list[str],
    settings: list[str],
    *,
    regression: bool,
    document: Document | None,
) -> None:
    sides = [] if shape is None else shape.split("x")
    if not all(side.isascii() and side.isdigit() and int(side) > 0 for side in sides):
        raise UsageError(f"--input-shape must be positive numbers joined by x, such as 1x28x28, not {shape!r}")
    if malformed := [argument for argument in arguments if "=" not in argument]:
        raise UsageError(f"--argument must be NAME=VALUE, not {malformed[0]!r}")
    console = Console(emoji=False)
    print_loading(console)
    from autohas_trainer.cli import conformance as command  # noqa: PLC0415 - loads torch

    options = command.Target(
        name=target,
        search=None if document is None else document.value,
        input_shape=None if shape is None else tuple(map(int, sides)),
        num_outputs=outputs,
        arguments=dict(argument.split("=", 1) for argument in arguments),
        regression=regression,
        settings=settings,
    )
    command.conformance(options, console)


def _report(folder: Path) -> None:
    from autohas_trainer.reporting.sinks.result_files import read_result  # noqa: PLC0415 - heavy, and not needed by the other commands

    finished = read_result(folder)
    if finished is None:
        raise UsageError(
            f"{folder} holds no result.json: the search has not finished; continue it with autohas run FILE --out {folder} --resume"
        )
    console = Console(emoji=False)
    console.print("writing the report", style="dim", highlight=False)
    from autohas_trainer.reporting.report.report import write_report  # noqa: PLC0415 - loads matplotlib, which takes seconds

    console.print(f"Report: {write_report(folder, finished)}", markup=False, highlight=False, soft_wrap=True)


def _export(folder: Path, hub: Path | None, *, onnx: bool, torch_export: bool) -> None:
    if not (onnx or torch_export or hub is not None):
        raise UsageError("name a format: --onnx, --torch-export or --hf DIR")
    progress = Console(stderr=True, emoji=False)  # standard output lists the files
    print_loading(progress)
    from autohas_trainer.cli import exporting  # noqa: PLC0415 - loads torch

    formats = exporting.Formats(onnx=onnx, torch_export=torch_export, hub=hub)
    for path in exporting.export(folder, formats, lambda doing: progress.print(doing, style="dim", markup=False, highlight=False)):
        Console(emoji=False).print(str(path), markup=False, highlight=False, soft_wrap=True)


def _retrain(config: Path, seeds: int, folder: Path, *, resume: bool, stop: StopOnSignal) -> None:
    let_threads_sleep()
    console = Console(emoji=False)
    print_loading(console)
    from autohas_trainer.cli import retraining  # noqa: PLC0415 - loads torch, after the signals are taken over

    task = retraining.Retraining(config=config, seeds=seeds, folder=folder, threads=available_threads(None), resume=resume)
    command = shlex.join([program(), "retrain", str(config), "--seeds", str(seeds), "--out", str(folder)])
    try:
        retraining.retrain(task, stop, console)
    except errors.Interrupted as error:
        raise errors.Interrupted(f"{error}. Continue with\n  {command} --resume") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of `autohas run`."""

    settings: tuple[str, ...]
    out: Path | None
    resume: bool
    dry_run: bool
    answer: Answer | None
    """Filled in for `-o json`; None for text."""


def _run(document: Document, options: _Options, stop: StopOnSignal) -> None:
    if options.dry_run and options.answer is not None:
        raise UsageError("--dry-run prints text; leave out -o json")
    folder, search, space = read_for_folder(apply_settings(document.value, options.settings), options.out, resume=options.resume)
    console = Console(emoji=False, force_terminal=None if options.answer is None else False)  # bars do not mix with JSON
    threads = available_threads(None)
    let_threads_sleep()
    if options.dry_run:
        print_loading(console)
        from autohas_trainer.cli import dry_run as dry  # noqa: PLC0415 - loads torch

        dry.dry_run(search, space, threads, console)
        return
    refuse_comparison(search)
    command = _command(document.source, options.settings, folder)
    if not options.resume:
        refuse_used(folder, command)
    with work_in(folder, partial(_print_line, console)):
        if options.resume and not (folder / "checkpoints").is_dir() and not (folder / "result.json").exists():
            _print_line(console, f"{folder} holds nothing to continue from: the search starts.")
        if ignored := list_unused(document.value):
            console.print(f"Not used on this machine: {', '.join(ignored)}", style="dim", highlight=False)
        print_loading(console)
        from autohas_trainer.cli.laptop import LaptopRun, answer_command  # noqa: PLC0415 - loads torch, after the signals are taken over

        task = LaptopRun(search=search, space=space, folder=folder, threads=threads, command=command)
        answer_command(task, stop, console, options.answer)


def _print_line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _command(source: str, settings: Sequence[str], folder: Path) -> str:
    """Return the command line that runs the same search into the same folder."""
    options = [part for setting in settings for part in ("--set", setting)]
    return shlex.join([program(), "run", source, *options, "--out", str(folder)])

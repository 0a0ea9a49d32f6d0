"""The `autohas` command: the trainer's commands for this machine and those for a cluster, as one program."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from autohas.kubectl import Kubectl, KubectlError
from autohas.progress_view import SearchLine
from autohas_api.base.exit_codes import ExitCode
from autohas_trainer.cli.app import app, main
from autohas_trainer.cli.command_form import Answer, OutputFormat, OutputOption, PlainUsage, examples, run_command
from autohas_trainer.cli.exits import UsageError

__all__ = ["app", "main"]

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")

Namespace = Annotated[
    str,
    typer.Option("--namespace", "-n", metavar="NS", help="Namespace; the context's when absent.", show_default=False),
]
Context = Annotated[str, typer.Option(metavar="NAME", help="Context of the kubeconfig.", show_default=False)]
Kubeconfig = Annotated[str, typer.Option(metavar="FILE", help="Kubeconfig file; kubectl's default when absent.", show_default=False)]


def _search_names(incomplete: str) -> list[str]:
    """Complete the names of the searches in the current namespace."""
    try:
        names = [str(search["metadata"]["name"]) for search in Kubectl().searches()]
    except (KubectlError, ValueError, KeyError):
        return []
    return [name for name in names if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the search.", show_default=False, autocompletion=_search_names)]


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas watch",
        "autohas watch fashion -n ml",
        "autohas watch --all-namespaces --once",
        "autohas watch fashion -n ml -o json | jq '.searches[0].best'",
    ),
)
def watch(  # noqa: PLR0913 - one parameter per option
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Searches to watch; all when absent.", show_default=False, autocompletion=_search_names),
    ] = None,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: OutputOption = OutputFormat.TEXT,
    *,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Searches of all namespaces.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print the current state and exit.")] = False,
) -> None:
    """Follow the searches of a cluster: stage, progress, best score, time left, and why a search waits.

    With names the command ends when these searches have ended: exit 0, or 1 when one failed or was rejected. Without names, Ctrl-C
    ends it. Into a pipe it writes one line per change. Needs kubectl with access to the searches.
    """
    kubectl = Kubectl(namespace=namespace, context=context, kubeconfig=kubeconfig, all_namespaces=all_namespaces)
    answer = Answer() if output is OutputFormat.JSON else None

    def act(console: Console) -> int:
        from autohas.watching import watch as run  # noqa: PLC0415 - help and completion need not load it

        if answer is None:
            return run(kubectl, names or (), console, once=once)
        if not (names or once):
            raise UsageError("-o json writes one object at the end: name the searches, or give --once")

        def keep(lines: Sequence[SearchLine]) -> None:
            answer.fields["searches"] = [line.to_json() for line in lines]

        return run(kubectl, names or (), Console(stderr=True, emoji=False, force_terminal=False), once=once, on_end=keep)

    code = _run_command(act, answer)
    if answer is not None:
        answer.print(code)
    raise typer.Exit(code)


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas wait fashion && autohas fetch fashion",
        "autohas wait fashion -n ml --timeout 2h",
    ),
)
def wait(
    name: Name,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Give up after 30s, 10m, 2h or 1d; never when absent.", show_default=False)
    ] = None,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Wait until a search ends: exit 0 when it succeeded, 1 when it failed or was rejected, 124 after the timeout.

    `kubectl wait` takes one condition and hangs when another comes true; this command does not.
    """
    kubectl = Kubectl(namespace=namespace, context=context, kubeconfig=kubeconfig)
    timeout_s = None if timeout is None else _seconds(timeout)

    def act(console: Console) -> int:
        from autohas.watching import wait as run  # noqa: PLC0415 - as above

        return run(kubectl, name, timeout_s, console)

    raise typer.Exit(_run_command(act))


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas fetch fashion -n ml --out fashion",
        "autohas retrain fashion/config.yaml --seeds 5",
    ),
)
def fetch(
    name: Name,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Empty or new folder; autohas-out/NAME when absent.")] = None,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Copy result, configuration, model, history and report of a succeeded search from its PersistentVolumeClaim.

    A pod with the trainer's image mounts the claim read-only during the copy, so you need permission to create, delete and exec into
    pods in that namespace. The digest of the model is checked against status.result.
    """
    kubectl = Kubectl(namespace=namespace, context=context, kubeconfig=kubeconfig)

    def act(console: Console) -> int:
        from autohas.fetching import fetch as run  # noqa: PLC0415 - as above

        progress = Console(stderr=True, emoji=False)  # standard output lists the copied files

        def say(doing: str) -> None:
            progress.print(doing, style="dim", markup=False, highlight=False, soft_wrap=True)

        for path in run(kubectl, name, out or Path("autohas-out") / name, say):
            console.print(str(path), markup=False, highlight=False, soft_wrap=True)
        return int(ExitCode.RESULT)

    raise typer.Exit(_run_command(act))


@app.command(
    cls=PlainUsage,
    epilog=examples(
        "autohas dashboard autohas-out/quickstart autohas-out/lanes",
        "autohas dashboard quickstart --port 0",
        "autohas dashboard autohas-out/* --out searches.journal",
    ),
)
def dashboard(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR|NAME", help="Folders of searches; NAME is autohas-out/NAME; a journal of Optuna may be one.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the studies as an Optuna journal instead of serving them.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 is any that is free.")] = 8080,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address of the page; 0.0.0.0 shows it to the network.")] = "127.0.0.1",
) -> None:
    """Show the histories of searches in optuna-dashboard: parallel coordinates, contours, importance, several searches side by side.

    Every candidate is a trial of Optuna, its rungs are intermediate values, and the samples of shared weights are a study of their own. A
    search that runs is read again as its history grows. Needs the extra dashboard; --out does not.
    """
    raise typer.Exit(run_command(lambda _: _show_dashboard(targets, out, host, port), None))


def _show_dashboard(targets: Sequence[str], out: Path | None, host: str, port: int) -> None:
    from autohas_trainer.cli import dashboard as command  # noqa: PLC0415 - loads Optuna

    console, sources = Console(emoji=False), command.resolve_sources(targets)
    if out is None:
        command.serve(sources, command.Address(host=host, port=port), lambda url: print(url, flush=True))  # noqa: T201 - a pipe reads it at once
        return
    studies = command.write(sources, out)
    lines = [
        f"{out}: {len(studies)} {'study' if len(studies) == 1 else 'studies'}",
        *(f"  {study.name}: {len(study.trials)} trials" for study in studies),
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"must be a number with s, m, h or d, for example 90s or 2h, not {text!r}", param_hint="--timeout")
    return float(match[1]) * _UNITS_S[match[2] or "s"]


def _run_command(act: Callable[[Console], int], answer: Answer | None = None) -> int:
    """Run a command and turn errors of the cluster or the disk into sentences on stderr, and into fields of the `answer`."""
    from autohas.fetching import FetchError  # noqa: PLC0415 - help and completion need not load it

    code = int(ExitCode.BUG)
    try:
        return act(Console(emoji=False))
    except UsageError as error:
        code, sentence = int(ExitCode.USAGE), str(error)
    except (KubectlError, FetchError) as error:
        sentence = str(error)
    except OSError as error:
        sentence = f"{error.filename or 'a file'}: {error.strerror or error}"
    except KeyboardInterrupt:
        code, sentence = 130, "ended by Ctrl-C"
    if answer is not None:
        answer.fields["error"] = sentence
    if code != 130:  # noqa: PLR2004 - of a shell, for Ctrl-C
        Console(stderr=True, emoji=False).print(f"autohas: {sentence}", markup=False, highlight=False, soft_wrap=True)
    return code

"""What all commands share: the form of their help, how a failure ends one, and the one JSON object of `-o json`."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from autohas_api.base.exit_codes import ExitCode
from autohas_api.base.spec_errors import SpecError
from autohas_api.base.yaml_file import Document, read_search
from autohas_trainer.cli.exits import exit_of

__all__ = ["Answer", "OutputFormat", "OutputOption", "PlainUsage", "examples", "print_loading", "program", "run_command"]


class OutputFormat(StrEnum):
    """What a command writes to standard output."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[
    OutputFormat,
    typer.Option("--output", "-o", metavar="text|json", help="json: one JSON object on standard output, the rest on standard error."),
]


class Answer:
    """The JSON object of a command; `exitCode` and, after a failure, `error` and `problems` are in every one."""

    def __init__(self) -> None:
        """Start empty."""
        self.fields: dict[str, Any] = {}

    def fail(self, error: Exception | KeyboardInterrupt) -> None:
        """Store why the command failed: one sentence and, for a search that is wrong, each problem with its JSON path."""
        self.fields["error"] = exit_of(error).sentence
        if isinstance(error, SpecError):
            self.fields["problems"] = [{"path": problem.path, "message": problem.message} for problem in error.field_errors]

    def print(self, code: int) -> None:
        """Write the object, with the exit code of the process."""
        print(json.dumps({"exitCode": code, **self.fields}, ensure_ascii=False, allow_nan=False))  # noqa: T201 - the answer


def examples(*lines: str) -> str:
    """Return the end of a command's help: example command lines, not wrapped."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


class PlainUsage(TyperCommand):
    """A command whose usage line has `FILE` for an argument that must be given, not typer's `{FILE}`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's context is of click or of its own copy, by version
        """As typer's, without the braces."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


def run_command(act: Callable[[Document], None], file: Path | None, answer: Answer | None = None) -> int:
    """Run a command and turn every failure into sentences on stderr and an exit code.

    With an `answer`, which gets the failure, everything else that is printed goes to standard error.
    """
    with redirect_stdout(sys.stderr) if answer is not None else nullcontext():
        return _run(act, file, answer or Answer())


def _run(act: Callable[[Document], None], file: Path | None, answer: Answer) -> int:
    stderr = Console(stderr=True, emoji=False)
    document: Document | None = None
    try:
        document = read_search(file) if file is not None else Document(source="", value={})
        act(document)
    except SpecError as error:
        from autohas_trainer.cli.printing import print_problems  # noqa: PLC0415 - after the fast path

        answer.fail(error)
        print_problems(stderr, error, document)
        return int(ExitCode.CONFIGURATION)
    except Exception as error:  # noqa: BLE001 - mapped in one place
        answer.fail(error)
        end = exit_of(error)
        if end.is_bug:
            traceback.print_exception(error)
        stderr.print(f"autohas: {end.sentence}", markup=False, highlight=False, soft_wrap=True)
        return int(end.code)
    except KeyboardInterrupt as error:
        answer.fail(error)
        stderr.print(f"autohas: {exit_of(error).sentence}", markup=False, highlight=False)
        return 130
    return int(ExitCode.RESULT)


def program() -> str:
    """Return the program as the user typed it, so that a printed command can be pasted."""
    return sys.argv[0] if Path(sys.argv[0]).name == "autohas" else "autohas"


def print_loading(console: Console) -> None:
    """Print a line before torch is imported, which takes seconds, and tens of them on a cold disk."""
    console.print("loading PyTorch", style="dim", highlight=False)

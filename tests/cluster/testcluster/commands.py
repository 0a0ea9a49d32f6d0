"""Running a command to its end, with an error that shows what it said.

Called by everything that uses a tool of the system. Long-running processes are in processes.py.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LINES_SHOWN = 30


class CommandFailedError(Exception):
    """A command ended with a code other than 0, or add_running_sidecar its time; the message holds its last lines."""


def run(
    command: Sequence[str | Path],
    *,
    input: str | bytes | None = None,  # noqa: A002 - the name that subprocess uses
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 120,
) -> str:
    """Standard output of `command`; `env` is added to this process's environment.

    Raises CommandFailedError, whose message holds the end of both outputs.
    """
    data = input.encode() if isinstance(input, str) else input
    try:
        done = subprocess.run(
            [str(word) for word in command],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(_message(command, f"took longer than {timeout_s:g} s", error.stdout, error.stderr)) from error
    except FileNotFoundError as error:
        raise CommandFailedError(_message(command, f"cannot be started: {error}", b"", b"")) from error
    if done.returncode != 0:
        raise CommandFailedError(_message(command, f"ended with {done.returncode}", done.stdout, done.stderr))
    return done.stdout.decode(errors="replace")


def succeeds(command: Sequence[str | Path], *, timeout_s: float = 120) -> bool:
    """Whether `command` ends with 0, for questions whose answer is the exit code."""
    try:
        run(command, timeout_s=timeout_s)
    except CommandFailedError:
        return False
    return True


def last_lines(text: str, count: int = LINES_SHOWN) -> str:
    """The end of a log."""
    return "\n".join(text.strip().splitlines()[-count:])


def _message(command: Sequence[str | Path], what: str, stdout: bytes | None, stderr: bytes | None) -> str:
    said = "\n".join(last_lines((output or b"").decode(errors="replace")) for output in (stdout, stderr) if output)
    return f"{' '.join(str(word) for word in command)[:400]}: {what}\n{said}".rstrip()

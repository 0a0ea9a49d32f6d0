"""`autohas watch` and `autohas wait`: poll the state of searches every two seconds until they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from autohas.kubectl import Kubectl, KubectlError
from autohas.progress_view import SearchLine, line_of

__all__ = ["LOST", "TIMED_OUT", "Pace", "wait", "watch"]

TIMED_OUT: Final = 124
"""Exit code of timeout(1)."""
LOST: Final = 1
T = TypeVar("T")
_PATIENCE_S: Final = 60.0
"""The command ends after the API server has not answered for this many seconds; it retries until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Clock, sleep and polling period of a command."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    period_s: float = 2.0


def wait(kubectl: Kubectl, name: str, timeout_s: float | None, console: Console, pace: Pace | None = None) -> int:
    """Wait until the search ends; returns 0 for Succeeded, 1 for Failed or Rejected, 124 after `timeout_s`.

    Raises:
        KubectlError: the search does not exist, or the cluster does not answer.
    """
    pace = pace or Pace()
    begun, latest = pace.clock(), ""
    ask_cluster = _Retrying(pace)
    while True:
        line = ask_cluster(lambda: line_of(kubectl.search(name)))
        if line is not None:
            if line.is_over:
                console.print(line.text(), markup=False, highlight=False, soft_wrap=True)
                return 0 if line.is_succeeded else LOST
            if not latest and console.is_terminal:
                console.print(f"waiting: {line.text()}", style="dim", markup=False, highlight=False, soft_wrap=True)
            latest = line.text()
        if timeout_s is not None and pace.clock() - begun >= timeout_s:
            console.print(f"{latest or name}: not over after {timeout_s:g} s", markup=False, highlight=False, soft_wrap=True)
            return TIMED_OUT
        pace.sleep(pace.period_s)


def watch(  # noqa: PLR0913 - one parameter per option
    kubectl: Kubectl,
    names: Sequence[str],
    console: Console,
    *,
    once: bool,
    pace: Pace | None = None,
    on_end: Callable[[Sequence[SearchLine]], None] = lambda _: None,
) -> int:
    """Draw the searches until those in `names` end (without names: until Ctrl-C); returns 0, or 1 when one of `names` failed.

    `on_end` is given the last state.

    Raises:
        KubectlError: a named search does not exist, or the cluster does not answer.
    """
    pace = pace or Pace()
    ask_cluster = _Retrying(pace)
    printed: dict[tuple[str, str], str] = {}
    with Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else _NoLive() as live:
        while True:
            lines = ask_cluster(lambda: _lines(kubectl, names))
            if lines is not None:
                if console.is_terminal:
                    live.update(_table(lines, everywhere=kubectl.all_namespaces), refresh=True)
                else:
                    _print_changes(lines, printed, console)
            if once or (lines is not None and names and all(line.is_over for line in lines)):
                on_end(lines or ())
                return LOST if names and lines and any(line.is_lost for line in lines) else 0
            pace.sleep(pace.period_s)


class _NoLive:
    """Replaces rich's Live where there is no terminal."""

    def __enter__(self) -> Live:
        return Live(console=Console(quiet=True, emoji=False), auto_refresh=False)

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class _Retrying:
    """Retries over short outages of the API server."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._has_answered = False
        self._silent_since: float | None = None

    def __call__(self, ask: Callable[[], T]) -> T | None:
        """Return the answer, or None while the API server does not answer.

        Raises:
            KubectlError: the object does not exist, the first request failed, or the outage lasts too long.
        """
        try:
            answer = ask()
        except KubectlError as error:
            now = self._pace.clock()
            self._silent_since = now if self._silent_since is None else self._silent_since
            if error.is_not_found or not self._has_answered or now - self._silent_since >= _PATIENCE_S:
                raise
            return None
        self._has_answered, self._silent_since = True, None
        return answer


def _lines(kubectl: Kubectl, names: Sequence[str]) -> list[SearchLine]:
    lines = [line_of(search) for search in kubectl.searches()]
    if not names:
        return lines
    missing = [name for name in names if name not in {line.name for line in lines}]
    if missing:
        raise KubectlError(f"there is no {kubectl.describe(missing[0])}", is_not_found=True)
    return [line for line in lines if line.name in names]


def _print_changes(lines: Iterable[SearchLine], printed: dict[tuple[str, str], str], console: Console) -> None:
    for line in lines:
        key, text = (line.namespace, line.name), line.text()
        if printed.get(key) != text:
            printed[key] = text
            console.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(lines: Sequence[SearchLine], *, everywhere: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for title in ("Namespace",) * everywhere + ("Search", "Phase", "Stage", "Progress", "", "Best", "Left", "Why"):
        table.add_column(title, overflow="fold")
    for line in lines:
        bar = ProgressBar(total=100, completed=line.percent or 0, width=24)
        percent = "" if line.percent is None else f"{line.percent:>3} %"
        style = "red" if line.is_lost else "green" if line.is_succeeded else ""
        place = (line.namespace,) * everywhere
        table.add_row(*place, line.name, line.phase, line.stage, bar, percent, line.best, line.eta, line.why, style=style)
    if not lines:
        table.caption = "no searches; create one with kubectl apply -f"
    return table

"""Progress bars in a notebook: one HTML table that is drawn again in place.

rich draws its bars in notebooks through ipywidgets, which then must be installed and whose state a saved notebook loses; plain HTML needs
neither and stays in the file.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from autohas_api.wire.messages import Stage

__all__ = ["NotebookBars"]

_PERIOD_S: Final = 0.25
"""Redraws are at least this far apart: each is a message to the browser."""
_CELL: Final = "text-align:left;padding:1px 10px 1px 0"


class NotebookBars:
    """The stages of a search and the whole search, one row each."""

    def __init__(self, total: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`total` is the name of the row of the whole search; `clock` returns monotonic seconds."""
        self._total = total
        self._clock = clock
        self._drawn_at = -_PERIOD_S
        self._rows: dict[str, tuple[int, int, str]] = {}
        """Steps done, steps in all and the note, by name of the row."""
        self._display: Any = None

    def start(self, totals: Mapping[Stage, int], steps: int) -> None:
        """Show the rows, empty."""
        self.resize(totals, steps)
        self._draw()

    def resize(self, totals: Mapping[Stage, int], steps: int) -> None:
        """Change the lengths; the row of the whole search stays last."""
        done, _, note = self._rows.pop(self._total, (0, 0, ""))
        for stage, total in totals.items():
            stage_done, _, stage_note = self._rows.get(stage, (0, 0, ""))
            self._rows[stage] = (stage_done, total, stage_note)
        self._rows[self._total] = (done, steps, note)

    def update(self, name: str, done: int, note: str) -> None:
        """Move one bar; it is drawn when the last drawing is old enough."""
        _, total, _ = self._rows[name]
        self._rows[name] = (done, total, note)
        if self._clock() - self._drawn_at >= _PERIOD_S:
            self._draw()

    def stop(self) -> None:
        """Draw the end."""
        if self._rows:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML, display  # noqa: PLC0415 - there is a notebook, so there is IPython

        self._drawn_at = self._clock()
        rows = "".join(self._row(name, *row) for name, row in self._rows.items())
        page = HTML(f"<table style='border-collapse:collapse;font-variant-numeric:tabular-nums'>{rows}</table>")  # type: ignore[no-untyped-call]  # IPython has no annotations here
        if self._display is None:
            self._display = display(page, display_id=True)  # type: ignore[no-untyped-call]  # as above
        else:
            self._display.update(page)

    def _row(self, name: str, done: int, total: int, note: str) -> str:
        label = f"<b>{name}</b>" if name == self._total else html.escape(name)
        bar = f"<progress value='{done}' max='{max(total, 1)}' style='width:16em'></progress>"
        percent = f"{100 * done // max(total, 1)} %"
        cells = (label, bar, percent, html.escape(note))
        return "<tr>" + "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in cells) + "</tr>"

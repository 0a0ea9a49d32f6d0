"""The result of a search as HTML, which a notebook shows for the last value of a cell."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from autohas_api.base.objective_metrics import metric_text
from autohas_api.wire.messages import Effect

if TYPE_CHECKING:
    from autohas.searching import Result

__all__ = ["result_html"]

_MAX_EFFECTS: Final = 8
_CELL: Final = "text-align:left;padding:1px 14px 1px 0"
_BAR_EM: Final = 10.0
"""Width of the bar of the largest effect."""


def result_html(result: Result) -> str:
    """Return the tables of scores, decisions and effects, and the link to the report."""
    scores = [("chosen", metric_text(result.metric, result.test_score))]
    if result.default_test_score is not None:
        scores.append(("default", metric_text(result.metric, result.default_test_score)))
    decisions = [
        (name, value, result.default_configuration.get(name, ""), value != result.default_configuration.get(name))
        for name, value in result.configuration.items()
    ]
    parts = [
        _table(("Configuration", f"Test {result.metric}"), [[html.escape(cell) for cell in row] for row in scores]),
        _table(("Decision", "Chosen", "Default"), [_decision(*row) for row in decisions]),
    ]
    if result.effects:
        parts.append(_effects(result))
    facts = f"{result.trainings:.2f} trainings; {result.parameters:,} parameters"
    return f"<div>{''.join(parts)}<p>{facts}. <a href='{_link(result.report)}' target='_blank'>Report</a></p></div>"


def _decision(name: str, chosen: str, default: str, is_changed: bool) -> list[str]:  # noqa: FBT001 - a row of a table
    cells = [html.escape(text) for text in (name, chosen, default)]
    return [cells[0], f"<b>{cells[1]}</b>" if is_changed else cells[1], cells[2]]


def _effects(result: Result) -> str:
    """Return the largest effects of single changes with bars, to the right in green where the change helps."""
    shown = result.effects[:_MAX_EFFECTS]
    largest = max(abs(effect.effect) for effect in shown) or 1.0
    rows = []
    for effect in shown:
        width, colour = _BAR_EM * abs(effect.effect) / largest, "#2a7f4f" if effect.effect > 0 else "#b0413e"
        bar = f"<div style='width:{width:.2f}em;height:0.8em;background:{colour}'></div>"
        size = f"{100 * effect.effect:+.2f} ± {100 * effect.standard_error:.2f}"
        rows.append(
            [
                html.escape(f"{effect.decision}: {effect.value}"),
                size,
                f"<div style='position:relative'>{bar}{_whisker(effect, largest)}</div>",
            ]
        )
    return _table(("Single change", "Effect, %", ""), rows)


def _whisker(effect: Effect, largest: float) -> str:
    """The error bar: one standard error to both sides of the end of the bar, cut off at its beginning."""
    end, error = abs(effect.effect), effect.standard_error
    left, right = (_BAR_EM * max(0.0, end + sign * error) / largest for sign in (-1, 1))
    place = f"position:absolute;left:{left:.2f}em;width:{right - left:.2f}em;top:0.35em;height:0.1em"
    return f"<div style='{place};background:#16202c'></div>"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; `rows` are HTML, `titles` text."""
    head = "".join(f"<th style='{_CELL}'>{html.escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table style='margin-bottom:0.8em'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _link(report: Path) -> str:
    """Return the address of the report: relative where it is below the working folder, from which notebooks are served."""
    relative = os.path.relpath(report)
    return quote(relative) if not relative.startswith("..") else report.absolute().as_uri()

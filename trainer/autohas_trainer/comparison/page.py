"""compare.html: the table, the figure and the sentences of a comparison, in the look of a search's report."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter

from autohas_api.accept.comparison import AS_LONG, OWN
from autohas_api.base.objective_metrics import is_share, metric_text
from autohas_api.base.text_encoding import replace_unprintable
from autohas_api.spec.search import Search
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.comparison.paired_statistics import COVERAGE
from autohas_trainer.comparison.record import Comparison, RunRecord
from autohas_trainer.comparison.summary import MethodRow, difference_text, interval_text, outcome_text, sentences, summary_rows
from autohas_trainer.reporting.report.figure_style import ACCENT, INK, MUTED, clean, new_figure, to_svg

__all__ = ["PAGE_FILE", "cells", "column_titles", "render_page", "write_page"]

PAGE_FILE: Final = "compare.html"
_TITLE_WIDTH: Final = 24
"""Characters of a method's name on one line below the figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    title: str
    is_own: bool
    cells: tuple[str, ...]


def write_page(folder: Path, comparison: Comparison, search: Search, command: str) -> Path:
    """Write compare.html of a comparison, finished or not; `command` is the command line that repeats it.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / PAGE_FILE
    write_atomically(path, replace_unprintable(render_page(comparison, search, command)).encode())
    return path


def render_page(comparison: Comparison, search: Search, command: str) -> str:
    """Return the HTML of the page."""
    loader = jinja2.PackageLoader("autohas_trainer.reporting.report", "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    task = search.spec.task
    return environment.get_template("compare.html.j2").render(
        comparison=comparison,
        model=task.model.label,
        data=task.data.label,
        metric=comparison.metric,
        is_share=is_share(comparison.metric),
        coverage=round(100 * COVERAGE),
        sentences=sentences(comparison),
        rows=[_Row(title=row.title, is_own=row.name == OWN, cells=cells(comparison, row)) for row in summary_rows(comparison)],
        seeds=_list_seeds(comparison),
        figure=Markup(_draw(comparison)),  # noqa: S704 - matplotlib escapes
        as_long_text=_describe_as_long(comparison, search),
        example=f"{OWN}/seed-{comparison.seeds[0]}",
        command=command,
    )


def column_titles(comparison: Comparison) -> tuple[str, ...]:
    """Titles of the columns that `cells` fills."""
    costs = (comparison.cost_metric,) if comparison.cost_metric is not None else ()
    return ("Test", "sd", "Selection", "Difference", f"{100 * COVERAGE:.0f} % interval", "t", "w/t/l", "Trainings", *costs)


def cells(comparison: Comparison, row: MethodRow) -> tuple[str, ...]:
    """The numbers of a method as text, empty where there is none."""
    metric, difference = comparison.metric, row.difference

    def score(value: float | None) -> str:
        return "" if value is None else metric_text(metric, value).replace(" ", "\u00a0")

    test = score(row.test) + (f" ({row.num_failed} failed)" if row.num_failed else "")
    parts = ("", "", "", "")
    if difference is not None:
        mean = "" if difference.mean is None else difference_text(metric, difference.mean)
        t = "" if difference.t is None else f"{difference.t:+.1f}"
        parts = (mean, interval_text(metric, difference), t, outcome_text(difference))
    work = "" if row.trainings is None else f"{row.trainings:.2f}"
    costs = ("" if row.cost is None else f"{row.cost:,.4g}",) if comparison.cost_metric is not None else ()
    return (test.strip(), score(row.test_deviation), score(row.selection), *parts, work, *costs)


def _list_seeds(comparison: Comparison) -> list[tuple[int, list[str]]]:
    runs = comparison.by_method_and_seed

    def text(run: RunRecord | None) -> str:
        if run is None:
            return "not finished"
        return "failed" if run.test is None else metric_text(comparison.metric, run.test)

    return [(seed, [text(runs.get((method.name, seed))) for method in comparison.methods]) for seed in comparison.seeds]


def _describe_as_long(comparison: Comparison, search: Search) -> str:
    if all(method.name != AS_LONG for method in comparison.methods):
        return ""
    return (
        f"The default trained as long is one training of the default configuration that takes the whole budget: {comparison.budget:g}"
        f" times {search.spec.training.length}, with its schedule laid out for that length."
    )


def _draw(comparison: Comparison) -> str:
    """Draw a point for each run, a line for each seed and a bar for each mean; nothing without a score."""
    scale = 100 if is_share(comparison.metric) else 1
    tests = {key: scale * run.test for key, run in comparison.by_method_and_seed.items() if run.test is not None}
    if not tests:
        return ""
    figure = new_figure(3.6)
    axes = figure.add_subplot()
    clean(axes, ylabel=f"test {comparison.metric}{', %' if scale == 100 else ''}")  # noqa: PLR2004 - per cent
    places = {method.name: place for place, method in enumerate(comparison.methods)}
    for seed in comparison.seeds:
        points = [(place, tests[name, seed]) for name, place in places.items() if (name, seed) in tests]
        if points:
            axes.plot(*zip(*points, strict=True), color=MUTED, linewidth=0.9, alpha=0.55, zorder=2)
    _draw_means(axes, places, tests)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_xticks(range(len(places)), [_wrap(method.title) for method in comparison.methods])
    for label in axes.get_xticklabels():
        label.set_color(INK)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return to_svg(figure, "compare")


def _draw_means(axes: Any, places: Mapping[str, int], tests: Mapping[tuple[str, int], float]) -> None:  # noqa: ANN401 - matplotlib's axes
    """The points of each method, and their mean."""
    for name, place in places.items():
        values = [value for (method, _), value in tests.items() if method == name]
        colour = ACCENT if name == OWN else INK
        axes.scatter([place] * len(values), values, s=26, color=colour, linewidths=0, alpha=0.85, zorder=3)
        if values:
            mean = sum(values) / len(values)
            axes.plot([place - 0.16, place + 0.16], [mean, mean], color=colour, linewidth=2.2, zorder=4)


def _wrap(title: str) -> str:
    """A name on as few lines as it needs, which are about equally long."""
    wrapped = [textwrap.wrap(title, width, break_long_words=False) for width in range(1, _TITLE_WIDTH + 1)]
    return "\n".join(next(lines for lines in wrapped if len(lines) == len(wrapped[-1])))

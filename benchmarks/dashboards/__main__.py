"""`python -m benchmarks.dashboards DATA IMAGES`: draw both dashboards from what a real Prometheus answered.

`DATA` is the folder that `tests/node/test_monitoring.py` fills when AUTOHAS_DASHBOARD_DATA names it. One picture per dashboard, one small
plot per panel in the dashboard's order; single numbers are drawn over time too, because a picture has no "now".
"""

from __future__ import annotations

import argparse
import json
import math
import re
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

COLUMNS: Final = 5
DPI: Final = 78
NUM_COLORS: Final = 200
MAX_GAP_S: Final = 5
"""Longer without an answer (no pod ran): the line is broken."""
MAX_LEGEND: Final = 5
COLORS: Final = ("#2a6fdb", "#d9822b", "#2f9e6e", "#c0392b", "#7d4fc4", "#8a6d3b", "#d6589f", "#5f6b7a", "#9aa700", "#17a2b8")
STYLE: Final[dict[Any, Any]] = {
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#9aa5b1",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e8ed",
    "grid.linewidth": 0.6,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "legend.frameon": False,
    "legend.fontsize": 5.5,
}
Series = tuple[str, list[float], list[float]]


def main() -> None:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with panels.json")
    parser.add_argument("images", type=Path, help="folder for the pictures")
    given = parser.parse_args()
    document = json.loads((given.data / "panels.json").read_text(encoding="utf-8"))
    given.images.mkdir(parents=True, exist_ok=True)
    for title, targets in groupby(document["panels"], key=lambda target: target["dashboard"]):
        panels = [(name, list(group)) for name, group in groupby(targets, key=lambda target: target["panel"])]
        name = "search" if "search" in title else "fleet"
        path = given.images / f"dashboard-{name}.png"
        draw(title, panels, document["start"], path)
        print(f"{path}: {path.stat().st_size // 1024} KiB, {len(panels)} panels")


def draw(title: str, panels: list[tuple[str, list[dict[str, Any]]]], start_s: float, path: Path) -> None:
    """One picture with one plot per panel."""
    rows = math.ceil(len(panels) / COLUMNS)
    with rc_context(STYLE):
        figure = Figure(figsize=(16, 2.15 * rows + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        grid = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
        for axes in grid:
            axes.set_visible(False)
        for axes, (name, targets) in zip(grid, panels, strict=False):
            axes.set_visible(True)
            draw_panel(axes, name, targets, start_s)
        figure.suptitle(f"{title}: what Prometheus answered (seconds since the search was created)", fontsize=9, color="#52606d")
        figure.savefig(path, dpi=DPI)
    Image.open(path).convert("RGB").quantize(NUM_COLORS).save(path, optimize=True)  # half the size, and no eye sees it


def draw_panel(axes: Axes, name: str, targets: list[dict[str, Any]], start_s: float) -> None:
    """The kind of plot that Grafana would choose, roughly."""
    axes.set_title(name)
    kind = targets[0]["kind"]
    series = [one for target in targets for one in read(target, start_s)]
    if kind == "barchart":
        draw_bars(axes, targets)
    elif kind == "xychart":
        draw_against(axes, series)
    elif kind == "status-history":
        draw_history(axes, series)
    elif kind == "state-timeline" or (targets[0]["legend"] in ("{{phase}}", "{{stage}}") and kind == "stat"):
        draw_states(axes, series)
    else:
        draw_lines(axes, series)


def read(target: dict[str, Any], start_s: float) -> list[Series]:
    """The finite values of every series of one query: name, seconds, values."""
    found = []
    for one in target["series"]:
        points = [(at - start_s, float(value)) for at, value in one["values"] if math.isfinite(float(value))]
        if points:
            found.append((named(target["legend"], one["metric"]), [at for at, _ in points], [value for _, value in points]))
    return found


def named(legend: str, labels: dict[str, str]) -> str:
    """Grafana's legend template, filled in."""
    return "" if legend == "__auto" else re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend)


def draw_lines(axes: Axes, series: list[Series]) -> None:
    """A line per series; beyond some, the legend only counts them."""
    for index, (name, seconds, values) in enumerate(series):
        color, label = COLORS[index % len(COLORS)], name if index < MAX_LEGEND else None
        axes.plot(*broken(seconds, values), color=color, linewidth=1, label=label, marker="." if len(values) < 3 else None)
    if any(name for name, _, _ in series):
        rest = len(series) - MAX_LEGEND
        axes.legend(loc="best", title=f"and {rest} more" if rest > 0 else None, title_fontsize=5.5)


def broken(seconds: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """The same points, with a hole where nothing was answered for a while."""
    xs: list[float] = []
    ys: list[float] = []
    for index, (at, value) in enumerate(zip(seconds, values, strict=True)):
        if index and at - seconds[index - 1] > MAX_GAP_S:
            xs, ys = [*xs, at], [*ys, math.nan]
        xs, ys = [*xs, at], [*ys, value]
    return xs, ys


def draw_against(axes: Axes, series: list[Series]) -> None:
    """The second series over the first, joined by time."""
    (x_name, x_seconds, xs), (y_name, y_seconds, ys) = series[:2]
    across = dict(zip(map(round, x_seconds), xs, strict=True))
    points = [(across[round(at)], value) for at, value in zip(y_seconds, ys, strict=True) if round(at) in across]
    axes.plot(*zip(*points, strict=True), color=COLORS[0], linewidth=1, marker=".", markersize=3)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)


def draw_bars(axes: Axes, targets: list[dict[str, Any]]) -> None:
    """The latest effect of each change as a bar, the largest first, and its standard error as a line."""
    effects, errors = ({name: values[-1] for name, _, values in read(target, 0.0)} for target in targets)
    shown = sorted(effects, key=lambda name: effects[name], reverse=True)
    axes.barh(shown, [effects[name] for name in shown], xerr=[errors.get(name, 0) for name in shown], color=COLORS[0], ecolor=COLORS[1])
    axes.tick_params(axis="y", labelsize=5)
    axes.invert_yaxis()
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("effect, with its standard error")


def draw_states(axes: Axes, series: list[Series]) -> None:
    """A row per series; it is filled where the value is 1."""
    for row, (_, seconds, values) in enumerate(series):
        axes.broken_barh([(at, 1.05) for at, value in zip(seconds, values, strict=True) if value == 1], (row - 0.4, 0.8), color=COLORS[0])
    axes.set_yticks(range(len(series)), [name for name, _, _ in series], fontsize=min(5, 90 / max(1, len(series))))
    axes.invert_yaxis()


def draw_history(axes: Axes, series: list[Series]) -> None:
    """A row per choice; darker is likelier."""
    shown = sorted(series)
    for row, (_, seconds, values) in enumerate(shown):
        axes.scatter(seconds, [row] * len(seconds), c=values, cmap="Blues", vmin=0, vmax=1, marker="s", s=14, linewidths=0)
    axes.set_yticks(range(len(shown)), [name for name, _, _ in shown], fontsize=5)
    axes.set_ylim(-0.6, len(shown) - 0.4)


if __name__ == "__main__":
    main()

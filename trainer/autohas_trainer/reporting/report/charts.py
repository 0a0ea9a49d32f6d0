"""The figures of the report: each function draws records as one SVG. The caller draws no figure without data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from autohas_api.space.decisions import Decision
from autohas_api.wire.messages import Stage
from autohas_trainer.events import DEFAULT, CandidateRecord, PolicyRecord, StepRecord
from autohas_trainer.reporting.report.figure_style import ACCENT, BAND, HEAT_RGB, INK, LINE, MUTED, SECOND, clean, new_figure, to_svg
from autohas_trainer.reporting.sinks.rungs import share_text

__all__ = ["MAX_POLICY_PANELS", "controller_chart", "policy_chart", "race_chart", "story_chart"]

MAX_POLICY_PANELS: Final = 24
_COLUMNS: Final = 3
_HEAT_COLUMNS: Final = 150
_FEW_PER_CENT: Final = 1.0
_CHARACTER_SHARE: Final = 0.0085
"""Width of one letter of a stage's name, as a share of the width of the axes."""
_ROW_SHARE: Final = 0.075
"""Height of one row of stage names, as a share of the height of the axes."""

Floats = npt.NDArray[np.float64]


def story_chart(
    steps: Sequence[StepRecord], candidates: Sequence[CandidateRecord], winner: str, spans: Mapping[Stage, tuple[float, float]]
) -> str:
    """Draw score over cost: every comparison at its cost, the reward of the supernet between them, stages as bands."""
    figure = new_figure(3.5)
    axes = figure.add_subplot()
    clean(axes, ylabel="score, %", xlabel="cost so far, in trainings")
    rewarded = [s for s in steps if s.reward is not None]
    if rewarded:
        reward = np.array([s.reward for s in rewarded], dtype=float)
        axes.plot([s.cost for s in rewarded], 100 * _smooth(reward), color=SECOND, linewidth=1.8, label="mean reward of samples")
    first = {(c.name, c.fraction): c for c in reversed(candidates) if c.score is not None}  # the race repeats what the lanes measured
    drawn = sorted(first.values(), key=lambda c: c.cost)
    kinds = {"other candidates": (MUTED, 2), DEFAULT: (INK, 3), "winner": (ACCENT, 4)}
    for kind, (colour, order) in kinds.items():
        points = [(c.cost, 100 * (c.score or 0.0), 16 + 60 * c.fraction) for c in drawn if _kind(c.name, winner) == kind]
        if points:
            xs, ys, sizes = zip(*points, strict=True)
            axes.scatter(xs, ys, s=sizes, color=colour, alpha=0.6 if colour == MUTED else 1, linewidths=0, label=kind, zorder=order)
        if points and colour != MUTED:
            axes.plot(xs, ys, color=colour, linewidth=0.9, alpha=0.6, linestyle=(0, (1, 2)), zorder=order)
    axes.set_xlim(0, max(end for _, end in spans.values()) * 1.01)
    _bands(axes, spans)
    _limits(axes)
    _legend(axes)
    return to_svg(figure, "story")


def _kind(name: str, winner: str) -> str:
    return "winner" if name == winner else DEFAULT if name == DEFAULT else "other candidates"


def race_chart(candidates: Sequence[CandidateRecord], winner: str, eta: int) -> str:
    """Draw the selection score of every candidate at every rung; `eta` is the factor between the lengths of two."""
    figure = new_figure(3.6)
    axes = figure.add_subplot()
    clean(axes, ylabel="score on the selection split, %", xlabel="share of a full training (logarithmic)")
    curves: dict[str, dict[float, float]] = {}
    for record in candidates:
        if record.score is not None:
            curves.setdefault(record.name, {})[round(record.fraction, 4)] = 100 * record.score
    ends = []
    for name in sorted(curves, key=lambda n: (n == winner, n == DEFAULT)):
        xs, ys = list(curves[name]), list(curves[name].values())
        colour, width = (ACCENT, 2.6) if name == winner else (INK, 1.8) if name == DEFAULT else (MUTED, 0.9)
        alpha = 1.0 if name in (winner, DEFAULT) else 0.55
        style = (0, (4, 2)) if name == DEFAULT and name != winner else "-"
        axes.plot(xs, ys, color=colour, linewidth=width, alpha=alpha, linestyle=style, zorder=3 if alpha == 1 else 2)
        axes.scatter(
            xs, ys, color=colour, s=18 if alpha == 1 else 10, alpha=alpha, linewidths=0, zorder=4 if alpha == 1 else 2, clip_on=False
        )
        if name in (winner, DEFAULT) or xs[-1] >= 1:
            ends.append((xs[-1], ys[-1], name, colour))
    axes.set_xscale("log")
    fractions = sorted({x for curve in curves.values() for x in curve})
    axes.set_xticks(fractions, [share_text(f, eta) for f in fractions])
    axes.minorticks_off()
    axes.set_xlim(fractions[0] * 0.93, fractions[-1] * 1.02)
    _limits(axes)
    _end_labels(axes, ends)
    return to_svg(figure, "race")


def controller_chart(steps: Sequence[StepRecord], policies: Sequence[PolicyRecord]) -> str:
    """Draw the reward of every sample with its mean, where there are rewards, above the entropy of the controller."""
    rewarded = [s for s in steps if s.reward is not None]
    if not rewarded:
        figure = new_figure(2.2)
        _entropy(figure.subplots(), policies)
        return to_svg(figure, "controller")
    figure = new_figure(4.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    clean(upper, ylabel="reward, %")
    xs, ys = [s.step for s in rewarded], np.array([s.reward for s in rewarded], dtype=float)
    upper.scatter(xs, 100 * ys, s=5, color=MUTED, alpha=0.45, linewidths=0, label="one sample on one batch", rasterized=len(xs) > 2000)  # noqa: PLR2004
    upper.plot(xs, 100 * _smooth(ys), color=SECOND, linewidth=2, label="moving mean")
    _limits(upper)
    _legend(upper)
    _entropy(lower, policies)
    return to_svg(figure, "controller")


def _entropy(axes: Axes, policies: Sequence[PolicyRecord]) -> None:
    """Draw the normalised entropy of the whole policy and of each decision over the steps."""
    clean(axes, ylabel="entropy", xlabel="step of the search")
    for name in policies[0].entropy:
        axes.plot([p.step for p in policies], [p.entropy.get(name, np.nan) for p in policies], color=MUTED, linewidth=0.7, alpha=0.5)
    axes.plot([p.step for p in policies], [p.normalized_entropy for p in policies], color=ACCENT, linewidth=2.2, label="whole policy")
    axes.plot([], [], color=MUTED, linewidth=0.7, alpha=0.7, label="single decisions")
    axes.set_ylim(0, 1.04)
    axes.set_yticks([0, 0.5, 1], ["0 decided", "0.5", "1 uniform"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)


def policy_chart(policies: Sequence[PolicyRecord], decisions: Sequence[Decision], chosen: Mapping[str, str]) -> str:
    """Draw one heat map per decision: rows are choices, columns are steps, opacity is the probability."""
    shown = [d for d in decisions if d.name in policies[0].probabilities][:MAX_POLICY_PANELS]
    num_rows = math.ceil(len(shown) / _COLUMNS)
    heights = [max(len(d.choices) for d in shown[_COLUMNS * row : _COLUMNS * (row + 1)]) for row in range(num_rows)]
    figure = new_figure(0.3 + sum(0.42 + 0.17 * h for h in heights))
    grid = figure.add_gridspec(num_rows, _COLUMNS, height_ratios=[0.9 + h for h in heights])
    picked = [policies[i] for i in np.linspace(0, len(policies) - 1, min(len(policies), _HEAT_COLUMNS)).round().astype(int)]
    for index, decision in enumerate(shown):
        row, column = divmod(index, _COLUMNS)
        axes = figure.add_subplot(grid[row, column])
        _heat(axes, picked, decision, chosen[decision.name])
        is_lowest = index + _COLUMNS >= len(shown)
        axes.set_xticks([picked[0].step, picked[-1].step], [str(picked[0].step), str(picked[-1].step)] if is_lowest else ["", ""])
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
    return to_svg(figure, "policy")


def _heat(axes: Axes, policies: Sequence[PolicyRecord], decision: Decision, chosen: str) -> None:
    rows = np.array([p.probabilities[decision.name] for p in policies]).T
    image = np.empty((*rows.shape, 4))
    image[..., :3] = HEAT_RGB
    image[..., 3] = rows.clip(0, 1)
    span = (policies[0].step, policies[-1].step + (policies[-1].step == policies[0].step), len(rows) - 0.5, -0.5)
    axes.imshow(image, aspect="auto", interpolation="none", extent=span)
    axes.set_title(decision.name, loc="left", color=INK, pad=3, fontsize=8.5)
    axes.set_yticks(range(len(decision.choices)), decision.choices)
    for label, choice in zip(axes.get_yticklabels(), decision.choices, strict=True):
        is_chosen = choice == chosen
        label.set_color(ACCENT if is_chosen else MUTED)
        label.set_fontweight("bold" if is_chosen else "normal")
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED, axis="x")
    axes.tick_params(length=0, labelsize=8, axis="y")
    for spine in axes.spines.values():
        spine.set_color(LINE)
        spine.set_linewidth(0.6)


def _smooth(values: Floats) -> Floats:
    """Return the centred moving mean; at both ends, the mean of the values within the window."""
    width = max(1, len(values) // 25) | 1
    kernel = np.ones(width)
    total: Floats = np.convolve(values, kernel, mode="same") / np.convolve(np.ones(len(values)), kernel, mode="same")
    return total


def _bands(axes: Axes, spans: Mapping[Stage, tuple[float, float]]) -> None:
    """Draw the stages as bands with their names above; a name that would touch the previous one stands higher, with a line to its band."""
    whole = max(end for _, end in spans.values())
    ends: list[float] = []  # where the last name of each row ends
    for index, (stage, (begin, end)) in enumerate(spans.items()):
        if index % 2 == 0:
            axes.axvspan(begin, end, color=BAND, linewidth=0, zorder=0)
        half = whole * _CHARACTER_SHARE * (len(stage) + 1) / 2
        centre = min(max((begin + end) / 2, half), whole - half)
        row = next((row for row, taken in enumerate(ends) if centre - half >= taken), len(ends))
        ends[row : row + 1] = [centre + half]
        height = 1.02 + _ROW_SHARE * row
        transform = axes.get_xaxis_transform()
        axes.text(centre, height, stage, color=MUTED, ha="center", va="bottom", fontsize=8, transform=transform)
        if row:
            middle = (begin + end) / 2
            line = Line2D([middle, middle], [1.0, height], color=LINE, linewidth=0.6, transform=transform, clip_on=False)
            axes.add_artist(line)


def _limits(axes: Axes) -> None:
    """Set the limits of the y axis with a margin; a small range gets tick labels with one decimal."""
    low, high = axes.dataLim.intervaly
    room = max(0.06 * (high - low), 0.05)
    axes.set_ylim(max(low - room, -room) if low >= 0 else low - room, high + room)
    decimals = 1 if high - low < 5 * _FEW_PER_CENT else 0
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.{decimals}f}"))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _legend(axes: Axes) -> None:
    legend = axes.legend(loc="best", frameon=False, fontsize=8, handlelength=1.4, labelcolor=MUTED)
    legend.set_zorder(5)


def _end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Draw names at the right ends of curves, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap, last = 0.06 * (high - low), -math.inf
    for x, y, name, colour in sorted(ends, key=lambda end: end[1]):
        place = max(y, last + gap)
        last = place
        text = f"{name}  {y:.1f}"
        axes.annotate(
            text, (x, y), xytext=(8, _points(axes, place - y)), textcoords="offset points", color=colour, va="center", annotation_clip=False
        )


def _points(axes: Axes, distance: float) -> float:
    """Convert a distance on the y axis to points of the page (axes take about 80 % of the figure's height)."""
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    height = figure.get_figheight() if figure is not None else 1.0
    return 72 * 0.8 * height * distance / (high - low)

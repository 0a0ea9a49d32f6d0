"""The figure of the report about effects: a bar with its error bar for each single change to the default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autohas_api.wire.messages import Effect
from autohas_trainer.reporting.report.figure_style import ACCENT, INK, LINE, MUTED, clean, new_figure, to_svg
from autohas_trainer.reporting.sinks.effect_text import EFFECT_UNIT, effect_text

__all__ = ["MAX_BARS", "effects_chart"]

MAX_BARS: Final = 24
_ROW_INCHES: Final = 0.27
_LONGEST_LOSS: Final = 3
"""Length at which a bar to the left is cut off, in lengths of the longest to the right: one rate far too high hides all others."""


def effects_chart(effects: Sequence[Effect], names: Sequence[str]) -> str:
    """Draw the effects from top to bottom; `names` label them, one each. An error bar is one standard error to both sides."""
    shown = effects[:MAX_BARS]
    figure = new_figure(0.75 + _ROW_INCHES * len(shown))
    axes = figure.add_subplot()
    clean(axes, xlabel=f"difference to the default, {EFFECT_UNIT}")
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    for row, effect in enumerate(shown):
        size, error = 100 * effect.effect, 100 * effect.standard_error
        axes.barh(row, size, height=0.62, color=ACCENT if size > 0 else MUTED, alpha=0.9 if size > 0 else 0.55, linewidth=0, zorder=2)
        axes.errorbar(size, row, xerr=error, color=INK, linewidth=1.1, capsize=3, zorder=3)
    low, high = _limits(shown)
    for row, effect in enumerate(shown):
        axes.annotate(
            effect_text(effect),
            (high, row),
            xytext=(8, 0),
            textcoords="offset points",
            color=INK if effect.effect > 0 else MUTED,
            va="center",
            annotation_clip=False,
        )
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axes.set_xlim(low, high)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_yticks(range(len(shown)), names[: len(shown)])
    for label in axes.get_yticklabels():
        label.set_color(INK)
    return to_svg(figure, "effects")


def _limits(effects: Sequence[Effect]) -> tuple[float, float]:
    """Both ends of the axis in percent: every bar with its error, but for the longest losses."""
    low = min(0.0, *(100 * (e.effect - e.standard_error) for e in effects))
    high = max(0.0, *(100 * (e.effect + e.standard_error) for e in effects))
    if high > 0:
        low = max(low, -_LONGEST_LOSS * high)
    margin = 0.03 * ((high - low) or 1.0)
    return low - margin, high + margin

"""The look of the report's figures: SVG whose colours are CSS variables, so one picture serves a light and a dark page.

matplotlib knows no CSS. Figures are drawn in stand-in colours that are replaced by variables in the SVG text.
"""

from __future__ import annotations

import io
import re
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["ACCENT", "BAND", "HEAT_RGB", "INK", "LINE", "MUTED", "PAPER", "SECOND", "clean", "new_figure", "to_svg"]

INK: Final = "#010101"
MUTED: Final = "#020202"
LINE: Final = "#030303"
ACCENT: Final = "#040404"
SECOND: Final = "#050505"
BAND: Final = "#060606"
PAPER: Final = "#070707"
_VARIABLES: Final = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
    BAND: "var(--band)",
    PAPER: "var(--paper)",
}
HEAT_RGB: Final = (0.18, 0.48, 0.80)
"""Colour of heat maps, which are bitmaps that CSS cannot colour: a blue for light and dark pages; opacity is the value."""
_WIDTH_INCHES: Final = 9.2
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.titlesize": 8.5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.solid_capstyle": "round",
}


def new_figure(height: float) -> Figure:
    """Return an empty figure of the page's width; `height` in inches."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
        FigureCanvasSVG(figure)
    return figure


def clean(axes: Axes, *, ylabel: str = "", xlabel: str = "") -> None:
    """Reduce the axes to a bottom line, a horizontal grid and labels."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", color=LINE, labelcolor=MUTED, labelsize=8.5)
    axes.tick_params(axis="y", color=LINE, labelcolor=MUTED, labelsize=8.5, length=0)
    axes.set_ylabel(ylabel, color=MUTED)
    axes.set_xlabel(xlabel, color=MUTED)


def to_svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element that scales with the page and takes its font and colours. Equal figures have equal text."""
    buffer = io.StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" xmlns:xlink="http://www.w3.org/1999/xlink">', text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"(font:[^;\"]*?px) [^;\"]*", r"\1 inherit-family", text).replace(" inherit-family", " var(--font)")
    text = re.sub(r'\bid="(?!p[0-9a-f]{10}|m[0-9a-f]{10}|image)[^"]*"', "", text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    return text

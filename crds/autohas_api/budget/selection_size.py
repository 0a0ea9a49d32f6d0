"""How small a difference of two candidates the selection split shows. Pure."""

from __future__ import annotations

import math
from typing import Final

from autohas_api.base.objective_metrics import is_share
from autohas_api.spec.search import Spec

__all__ = ["DEVIATION", "USUAL_DIFFERENCE", "small_selection", "smallest_difference", "visible_difference"]

DEVIATION: Final = math.sqrt(0.16 * 0.52)
"""Of the paired difference of two candidates' losses per example, in units of a constant answer's loss: 0.29, the geometric mean of the
0.16 to 0.52 that were measured (UCI protein and Fashion-MNIST, mlp-small, at 1/9 and 1/3)."""
USUAL_DIFFERENCE: Final = 0.05
"""Ours: candidates at 1/9 had standard deviations of 0.03 to 0.04 of a constant answer's loss, so two of them differ by about as much."""
_SIGMAS: Final = 2
_LOSS: Final = "of the best constant answer's loss"
_UNITS: Final = {
    "rmse": "of R²",
    "r2": "of R²",
    "mae": "of the best constant answer's error",
}
"""Units of a metric's quality where it is neither a share nor a loss; a custom metric is compared by the loss before the end."""


def smallest_difference(num_selection: int) -> float:
    """The quality difference that is two standard errors of a paired comparison on `num_selection` examples."""
    return _SIGMAS * DEVIATION / math.sqrt(num_selection)


def visible_difference(metric: str, num_selection: int) -> str:
    """One sentence: the smallest difference that a comparison sees, and the number of examples that would see half of it."""
    smallest = _quality_text(metric, smallest_difference(num_selection))
    return f"{num_selection:,} examples show differences from about {smallest} on; {4 * num_selection:,} would show half of that"


def small_selection(spec: Spec, num_selection: int) -> str | None:
    """A warning if the selection split shows only differences that are larger than usual; None otherwise."""
    if smallest_difference(num_selection) <= USUAL_DIFFERENCE:
        return None
    metric = spec.objective.metric_name
    return (
        f"the selection split is too small to tell most candidates apart: its {visible_difference(metric, num_selection)}, and two"
        f" candidates usually differ by about {_quality_text(metric, USUAL_DIFFERENCE)}: raise task.splits.selection"
        f" ({spec.task.splits.selection}), or give more data"
    )


def _quality_text(metric: str, difference: float) -> str:
    if is_share(metric):
        return f"{100 * difference:.2g} points of {metric}"
    return f"{difference:.2g} {_UNITS.get(metric, _LOSS)}"

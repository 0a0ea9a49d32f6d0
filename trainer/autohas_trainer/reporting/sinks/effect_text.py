"""Effects of single changes as text, for the console, the log and the report."""

from __future__ import annotations

from collections.abc import Mapping

from autohas_api.space.rates import value_text
from autohas_api.spec.search import Spec
from autohas_api.wire.messages import Effect

__all__ = ["change_text", "points_text", "signed_points"]


def change_text(spec: Spec, default: Mapping[str, str], effect: Effect) -> str:
    """The value that the decision was changed to; of learning_rate, the rate that the optimizer got."""
    return value_text(spec, {**default, effect.decision: effect.value}, effect.decision)


def signed_points(value: float) -> str:
    """A difference of the objective in hundredths, with its sign."""
    return f"{100 * value:+.2f}"


def points_text(effect: Effect) -> str:
    """The effect with its standard error, in hundredths of the objective."""
    return f"{signed_points(effect.effect)} ± {100 * effect.standard_error:.2f} points"

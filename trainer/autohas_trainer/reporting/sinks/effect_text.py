"""Effects of single changes as text, for the console, the log and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from autohas_api.space.rates import value_text
from autohas_api.spec.search import Spec
from autohas_api.wire.messages import Effect

__all__ = ["EFFECT_UNIT", "change_text", "effect_rung", "effect_text", "signed_percent"]

EFFECT_UNIT: Final = "in % of the loss of a constant answer"
"""Before the end of a training, candidates are compared by their loss, whatever the metric is."""

_NO_SIZE: Final = -1.0


def change_text(spec: Spec, default: Mapping[str, str], effect: Effect) -> str:
    """The value that the decision was changed to; of learning_rate, the rate that the optimizer got."""
    return value_text(spec, {**default, effect.decision: effect.value}, effect.decision)


def effect_rung(spec: Spec) -> str:
    """The length of training after which effects are measured."""
    return "1/27 of the longest training" if spec.budget.is_for_model else "1/9 of a training"


def signed_percent(value: float) -> str:
    """A difference in hundredths, with its sign."""
    return f"{100 * value:+.2f}"


def effect_text(effect: Effect) -> str:
    """The effect with its standard error, in hundredths; a loss of more than a constant answer's has no size worth reading."""
    if effect.effect < _NO_SIZE:
        return f"below {signed_percent(_NO_SIZE)} %, worse than a constant answer"
    return f"{signed_percent(effect.effect)} ± {100 * effect.standard_error:.2f} %"

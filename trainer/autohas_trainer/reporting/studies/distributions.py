"""Decisions of a search as Optuna's distributions. Pure.

A decision whose choices are all numbers has an axis of numbers, also where its choices are few: its default or an initial point may lie
between two of them. Words are categorical. A decision with one value is no parameter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autohas_api.space.decisions import Decision, Space

__all__ = ["distributions_of", "params_of"]

_WHOLE: Final = re.compile(r"-?\d{1,15}")
_LOG_SPAN: Final = 8
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


def distributions_of(space: Space | None, samples: Iterable[Mapping[str, str]]) -> dict[str, BaseDistribution]:
    """One distribution for each decision with more than one value, in the space's order.

    Args:
        space: All decisions; None where only a history is known, whose `samples` then name the decisions.
        samples: Configurations of the search; each of their values lies in its distribution.
    """
    values: dict[str, dict[str, None]] = {} if space is None else {d.name: dict.fromkeys((*d.choices, d.default)) for d in space.decisions}
    for sample in samples:
        for name, value in sample.items():
            values.setdefault(name, {})[value] = None
    decisions = {} if space is None else {d.name: d for d in space.decisions}
    return {
        name: _distribution(tuple(texts), decisions.get(name))
        for name, texts in values.items()
        if len(texts) > 1 and (name not in decisions or decisions[name].is_searched)
    }


def params_of(
    values: Mapping[str, str], distributions: Mapping[str, BaseDistribution], space: Space | None
) -> dict[str, str | int | float]:
    """The parameters of one configuration; a decision that is inactive in it has none, as a conditional parameter of Optuna."""
    inactive = set() if space is None else {d.name for d in space.decisions if not space.is_active(d, values)}
    return {
        name: _value(values[name], distribution) for name, distribution in distributions.items() if name in values and name not in inactive
    }


def _distribution(texts: tuple[str, ...], decision: Decision | None) -> BaseDistribution:
    numbers = [number for text in texts if (number := _number(text)) is not None]
    if len(numbers) < len(texts) or len(set(numbers)) == 1:
        return CategoricalDistribution(choices=texts)
    bounds = decision.range if decision is not None else None
    low, high = min(numbers), max(numbers)
    if bounds is not None:
        low, high = min(low, bounds.minimum), max(high, bounds.maximum)
    is_log = low > 0 and (high / low >= _LOG_SPAN if bounds is None else bounds.is_log)
    if bounds is None and all(_WHOLE.fullmatch(text) for text in texts):
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(low, high, log=is_log)


def _number(text: str) -> float | None:
    """The number that a text writes; None for words, infinities and NaN."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _value(text: str, distribution: BaseDistribution) -> str | int | float:
    if isinstance(distribution, CategoricalDistribution):
        return text
    return int(text) if isinstance(distribution, IntDistribution) else float(text)

"""The metric that own training measures: its value, and what examples, or groups of examples, contribute to it.

Where `evaluate` gives one number, two candidates are compared by groups of examples, see `tasks.jackknife`. Ours: the metric of each group
by itself, which costs one more pass over the selection split where the jackknife costs twenty; where a group has no finite metric (an area
under a curve needs both classes), the metric without each group, which has the same form.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from autohas_trainer.data import SelectionBatch, count_chunks
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.tasks import Floats
from autohas_trainer.tasks.jackknife import NUM_GROUPS, contribute_groups, contribute_without_groups
from autohas_trainer.tasks.metric_numbers import read_metric_numbers

__all__ = ["compare_by_groups", "measure_groups", "read_metric"]

_UNDEFINED: Final = (ValueError, ArithmeticError)
"""What a metric may raise that is not defined for a group of examples: scikit-learn's error, a division by 0."""

Measure = Callable[[Iterable[SelectionBatch]], float]
"""Batches to the metric over them."""


def read_metric(measured: Mapping[str, Any], name: str, count: int, who: str) -> tuple[float, Floats | None]:
    """Return the value of a metric over `count` examples and its contributions (N,), if it has them.

    Raises:
        ConfigurationError: it is not there, has another shape, or is not finite; `who` gave it.
    """
    if name not in measured:
        given = ", ".join(map(str, measured)) or "nothing"
        raise ConfigurationError(f"{who} gave {given}, but the objective's metric is {name}: return it under this name")
    numbers = read_metric_numbers(measured[name], count, who, name)
    return float(numbers.mean()), numbers.numpy() if numbers.ndim else None


def measure_groups(num_examples: int, chunk: int) -> tuple[int, list[int]]:
    """Return the size of a batch, at most `chunk`, and how many batches each of at most twenty groups has."""
    size = min(chunk, math.ceil(num_examples / NUM_GROUPS))
    number = count_chunks(num_examples, size)
    groups = min(NUM_GROUPS, number)
    return size, [number * (group + 1) // groups - number * group // groups for group in range(groups)]


def compare_by_groups(
    value: float, measure: Measure, begin_pass: Callable[[], Iterator[SelectionBatch]], lengths: Sequence[int]
) -> Floats | None:
    """Return what each group of batches contributes to a metric that is one number.

    None where neither a group nor the rest without it has a finite metric everywhere: then the larger metric wins, by however little.

    Args:
        value: The metric over all batches.
        measure: Its value over some.
        begin_pass: Begins a pass over all batches.
        lengths: Batches of each group.
    """
    if len(lengths) < 2:  # noqa: PLR2004 - one group has no deviation
        return None
    metrics = _measure_each(measure, begin_pass(), lengths)
    if metrics is not None:
        return contribute_groups(value, metrics)
    ends = list(itertools.accumulate(lengths))
    without = [_measure_defined(measure, _leave_out(begin_pass(), end - length, end)) for length, end in zip(lengths, ends, strict=True)]
    defined = [metric for metric in without if metric is not None]
    return contribute_without_groups(value, defined) if len(defined) == len(lengths) else None


def _measure_each(measure: Measure, batches: Iterator[SelectionBatch], lengths: Sequence[int]) -> list[float] | None:
    """Return the metric of each group; None once one has none."""
    metrics: list[float] = []
    for length in lengths:
        group = itertools.islice(batches, length)
        metric = _measure_defined(measure, group)
        deque(group, maxlen=0)  # those that the code did not ask for
        if metric is None:
            return None
        metrics.append(metric)
    return metrics


def _measure_defined(measure: Measure, batches: Iterable[SelectionBatch]) -> float | None:
    try:
        metric = measure(batches)
    except _UNDEFINED:
        return None
    return metric if math.isfinite(metric) else None


def _leave_out(batches: Iterator[SelectionBatch], begin: int, end: int) -> Iterator[SelectionBatch]:
    return (batch for number, batch in enumerate(batches) if not begin <= number < end)

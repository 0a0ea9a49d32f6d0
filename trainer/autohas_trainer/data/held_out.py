"""Test data for sources that bring none: a share of the training rows, the same for every seed.

Of each class alike, whole groups where rows have groups, the latest rows where they have an order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.raw import Ints, RawData
from autohas_trainer.seeding import stream

__all__ = ["first_of_latest", "with_held_out_test"]


def first_of_latest(order_N: Ints, fraction: float) -> int:
    """Return the position from which on about `fraction` of the rows lie: rows of one position stay together."""
    later = np.sort(order_N)
    return int(later[len(later) - max(1, round(len(later) * fraction))])


def with_held_out_test(raw: RawData, fraction: float, source: str) -> RawData:
    """Return the data with `fraction` of its rows as test; `source` keys the draw."""
    if raw.order_N is not None:
        return raw.split(raw.order_N >= first_of_latest(raw.order_N, fraction))
    if len(np.unique(raw.sources_N)) < len(raw.sources_N):
        return raw.split(_draw_groups(raw, fraction, source))
    classes = raw.labels if raw.labels is not None else np.zeros(len(raw.targets_N), dtype=np.int64)
    is_test = np.zeros(len(classes), dtype=bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        is_test[stream(source, "test", int(label)).permutation(rows)[: round(len(rows) * fraction)]] = True
    return raw.split(is_test)


def _draw_groups(raw: RawData, fraction: float, source: str) -> npt.NDArray[np.bool_]:
    """Return which rows are test: whole groups; in a classification, groups are classed by their first row."""
    groups, first = np.unique(raw.sources_N, return_index=True)
    classes = raw.labels[first] if raw.labels is not None else np.zeros(len(groups), dtype=np.int64)
    chosen: list[Ints] = []
    for label in np.unique(classes):
        of_class = groups[classes == label]
        chosen.append(stream(source, "test", int(label)).permutation(of_class)[: round(len(of_class) * fraction)])
    return np.isin(raw.sources_N, np.concatenate(chosen))

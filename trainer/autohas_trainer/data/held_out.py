"""Test data for sources that bring none: a share of the training rows, of each class alike, the same for every seed."""

from __future__ import annotations

import numpy as np

from autohas_trainer.data.raw import RawData
from autohas_trainer.seeding import stream

__all__ = ["with_held_out_test"]


def with_held_out_test(raw: RawData, fraction: float, source: str) -> RawData:
    """Return the data with `fraction` of its rows as test; `source` keys the draw."""
    classes = raw.labels if raw.labels is not None else np.zeros(len(raw.targets_N), dtype=np.int64)
    is_test = np.zeros(len(classes), dtype=bool)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        is_test[stream(source, "test", int(label)).permutation(rows)[: round(len(rows) * fraction)]] = True
    return raw.split(is_test)

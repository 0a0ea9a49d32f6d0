"""The figures of the ranking benchmark, in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.ranking.__main__ import partial


def test_the_partial_correlation_is_that_of_what_size_leaves() -> None:
    """Ranks with correlations 0.8 (score, truth), 0.8 (score, size) and 0.4 (truth, size): (0.8 - 0.32) / sqrt(0.36 * 0.84)."""
    score, truth, size = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4]), np.array([1.0, 2, 4, 3])
    expected = (0.8 - 0.8 * 0.4) / math.sqrt((1 - 0.8**2) * (1 - 0.4**2))

    assert partial(score, truth, size) == pytest.approx(expected)

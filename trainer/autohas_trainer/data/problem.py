"""A task's raw examples, before anything is carved or normalised. Sources (`digits`, `idx`) make it, `Splits` consumes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ints", "Problem"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Training data, from which train, reward and selection are carved, and test data.

    Attributes:
        name: How errors call it.
        inputs: Training inputs (N, C, ...), not normalised.
        targets_N: Class of each, int64 in [0, num_classes), or, in a regression, its number, float32.
        sources_N: Which original each was made from; examples of one source never land in two splits.
        test_inputs: Test inputs, made of other sources.
        test_targets_N: Target of each.
        num_classes: At least 2; None in a regression.
    """

    name: str
    inputs: Floats
    targets_N: Ints | Floats
    sources_N: Ints
    test_inputs: Floats
    test_targets_N: Ints | Floats
    num_classes: int | None

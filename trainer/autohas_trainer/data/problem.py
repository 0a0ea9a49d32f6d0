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
        inputs_NCHW: Training inputs, unnormalised.
        labels_N: Class of each, in [0, num_classes).
        sources_N: Which original each was made from; examples of one source never land in two splits.
        test_inputs_NCHW: Test inputs, made of other sources.
        test_labels_N: Class of each.
        num_classes: At least 2.
    """

    name: str
    inputs_NCHW: Floats
    labels_N: Ints
    sources_N: Ints
    test_inputs_NCHW: Floats
    test_labels_N: Ints
    num_classes: int

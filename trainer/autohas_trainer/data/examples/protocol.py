"""Data as a function of the step: `Examples.take` has no state that a result depends on, so nothing of it is in a checkpoint.

A data set whose inputs are one array in memory needs none of this: `RawData.inputs` is the array, and `Resident` takes the batches. Other
data give `RawData` a `Source`: it says what the examples are, and opens them once the training rows are known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Draw", "Examples", "Moments", "Rows", "Source", "Taken", "Values"]

Rows = Tensor
"""Row numbers (B,), int64, on `Examples.rows_device`."""

Moments = tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]
"""Mean and deviation (C,) of each channel over the train split, in the type in which they are applied."""


Values = tuple[tuple[str, str], ...]
"""Custom hyperparameters of a candidate: name and value of each."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Names a training batch: what is random about its example at `position` is keyed by (seed, "augment", replica, step, position).

    `values` are what custom code that changes examples gets; None: it does not run, for batches of which only the shape matters.
    """

    seed: int
    replica: int
    step: int
    values: Values | None = None


class Taken(NamedTuple):
    """One batch on the device: inputs (B, ...) float32 normalised, or int64; targets (B, ...)."""

    inputs: Tensor
    targets: Tensor


class Examples(Protocol):
    """The training data, or the test data, of one task."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the inputs: float32, or int64."""

    @property
    def rows_device(self) -> torch.device:
        """Where row numbers lie: on the device for what is resident there, so that no step copies them."""

    def __len__(self) -> int:
        """Number of examples."""

    def take(self, rows_B: Rows, draw: Draw | None = None, ahead: Iterable[tuple[Rows, Draw | None]] = ()) -> Taken:
        """Return a batch, which is a function of `rows_B` and `draw` alone.

        Args:
            rows_B: Which examples, in this order.
            draw: The training batch that this is; None: examples that are evaluated, and nothing is random.
            ahead: What will probably be taken next, without an end: an implementation that waits for files reads the first few of them
                meanwhile. The batches do not depend on it.

        Raises:
            DataError: An example cannot be read; names it.
        """

    def close(self) -> None:
        """End processes that read; a later `take` starts them again."""


class Source(Protocol):
    """Inputs that are not one array in memory, in the place of `RawData.inputs`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...) of the inputs as a network gets them."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the inputs as a network gets them: float32, or int64."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, rows: npt.NDArray[Any]) -> Source:
        """Return some of the examples: row numbers, or a mask (N,)."""

    def digest(self) -> str:
        """Return what identifies the examples: a resume refuses others."""

    def moments(self, train_rows: npt.NDArray[np.int64]) -> Moments | None:
        """Return mean and deviation per channel by the training rows; None: inputs are used as they are.

        Raises:
            DataError: An example cannot be read.
        """

    def open(self, targets: Tensor, moments: Moments | None, device: torch.device) -> Examples:
        """Return the examples for batches on `device`; `targets` (N, ...) are those of `RawData`, standardised, on the device."""

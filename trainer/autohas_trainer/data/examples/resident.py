"""Examples in the device's memory: a batch is one `index_select`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autohas_trainer.data.examples.protocol import Draw, Moments, Rows, Taken

__all__ = ["Resident", "network_dtype", "per_channel"]

_MAX_CONVERTED: Final = 1 << 30
"""Bytes. Ours: up to this size inputs are held as the network gets them; larger ones in their own type, which for images of bytes is a
quarter, and each batch is converted. Both give the same bits; the conversion costs some microseconds per step."""


class Resident:
    """Inputs and targets on the device."""

    def __init__(  # noqa: PLR0913 - what resident examples are made of
        self,
        inputs: npt.NDArray[Any],
        targets: Tensor,
        *,
        moments: Moments | None,
        divide_by: float | None,
        device: torch.device,
        max_converted: int = _MAX_CONVERTED,
    ) -> None:
        """Move everything to the device; the array is not changed.

        Args:
            inputs: (N, C, ...); NaN is a missing value, which becomes the mean.
            targets: (N, ...), on the device.
            moments: Mean and deviation of each channel, by which inputs are standardised; None: they are used as they are.
            divide_by: What integers are divided by, in float32, before that; None: integers are no measurements and stay integers.
            device: Where batches lie.
            max_converted: Bytes of converted inputs up to which they are converted at once.
        """
        self.shape: tuple[int, ...] = tuple(inputs.shape[1:])
        self.dtype = network_dtype(inputs.dtype, divide_by)
        self.rows_device = device
        self._targets = targets
        self._divisor = None if divide_by is None else np.float32(divide_by).item()
        self._moments = None if moments is None else tuple(torch.tensor(per_channel(part, inputs.ndim)) for part in moments)
        self._is_converted = inputs.size * self.dtype.itemsize <= max_converted
        if self._is_converted:
            self._inputs = self._convert(torch.tensor(inputs), self._moments).to(device)
        else:
            self._inputs = torch.from_numpy(np.ascontiguousarray(inputs)).to(device)
            self._moments = None if self._moments is None else tuple(part.to(device) for part in self._moments)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._inputs)

    def take(self, rows_B: Rows, draw: Draw | None = None, ahead: Iterable[tuple[Rows, Draw | None]] = ()) -> Taken:  # noqa: ARG002 - nothing is random here, and nothing waits
        """Return a batch, see `Examples.take`."""
        inputs = self._inputs.index_select(0, rows_B)
        if not self._is_converted:
            inputs = self._convert(inputs, self._moments)
        return Taken(inputs, self._targets.index_select(0, rows_B))

    def close(self) -> None:
        """Nothing is open."""

    def first_not_finite(self) -> tuple[int, ...] | None:
        """Return the index of the first input that is not finite as the network would get it; None where there is none."""
        if not self.dtype.is_floating_point or not self._inputs.is_floating_point():
            return None
        is_finite = self._inputs.isfinite()
        if bool(is_finite.all()):
            return None
        first = int((~is_finite).reshape(-1).to(torch.uint8).argmax())
        return tuple(int(index) for index in np.unravel_index(first, tuple(self._inputs.shape)))

    def _convert(self, inputs: Tensor, moments: tuple[Tensor, ...] | None) -> Tensor:
        """Return fresh inputs as the network gets them, element by element: one at a time and all at once give the same bits."""
        if self._divisor is not None:
            inputs = inputs.to(torch.float32).div_(self._divisor)
        if moments is None:
            return inputs.to(self.dtype)
        mean, deviation = moments
        return inputs.sub_(mean).div_(deviation).masked_fill_(inputs.isnan(), 0.0).to(torch.float32)


def network_dtype(dtype: np.dtype[Any], divide_by: float | None) -> torch.dtype:
    """Return the type in which a network gets inputs that are stored as `dtype`."""
    return torch.int64 if np.issubdtype(dtype, np.integer) and divide_by is None else torch.float32


def per_channel(values_C: npt.NDArray[Any], num_dimensions: int) -> npt.NDArray[Any]:
    """Return values that broadcast over inputs (N, C, ...)."""
    return values_C.reshape(-1, *[1] * (num_dimensions - 2))

"""Mean and deviation by the training examples: of each channel of the inputs, and of a regression's target."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.examples.protocol import Moments
from autohas_trainer.data.examples.resident import per_channel
from autohas_trainer.data.raw import Array, Floats, Ints, RawData
from autohas_trainer.errors import DataError

__all__ = ["byte_moments", "input_moments", "target_moments"]

_LEVELS: Final = 256
_MAX_FLOATS: Final = 1 << 30
"""Bytes: images of bytes that would be larger as float32 are counted by level, which gives the same moments without a float copy."""


def input_moments(raw: RawData, train: Ints) -> Moments | None:
    """Return mean and deviation (C,) over the train split only; None where inputs are used as they are.

    Raises:
        DataError: The training inputs are constant or not finite, or cannot be read.
    """
    if raw.scaled_C == ():
        return None
    if not isinstance(raw.inputs, np.ndarray):
        return raw.inputs.moments(train)
    if raw.divide_by is not None and raw.inputs.size * 4 > _MAX_FLOATS:
        return byte_moments(count_levels(raw.inputs, train), raw.divide_by, raw.name)
    return _array_moments(raw, raw.as_numbers(raw.inputs[train]))  # a copy, reused in place: a whole MNIST is 190 MB


def _array_moments(raw: RawData, inputs: Floats) -> Moments:
    is_present = None if raw.scaled_C is None else ~np.isnan(inputs)
    mean_C = _mean_per_channel(inputs, is_present).astype(inputs.dtype)
    inputs -= per_channel(mean_C, inputs.ndim)
    np.square(inputs, out=inputs)
    deviation_C = np.sqrt(_mean_per_channel(inputs, is_present)).astype(inputs.dtype)
    _check(deviation_C, raw.name)
    if raw.scaled_C is not None:
        unscaled_C = ~np.array(raw.scaled_C)
        mean_C[unscaled_C], deviation_C[unscaled_C] = 0, 1
    return mean_C, deviation_C


def count_levels(images: Array, rows: Ints) -> npt.NDArray[np.int64]:
    """Return how often each level (C, 256) occurs in rows of images (N, C, H, W) of bytes."""
    counts = np.zeros((images.shape[1], _LEVELS), dtype=np.int64)
    for row in rows:
        for channel, pixels in enumerate(images[row]):
            counts[channel] += np.bincount(pixels.reshape(-1), minlength=_LEVELS)
    return counts


def byte_moments(counts_CL: npt.NDArray[np.int64], divide_by: float, name: str) -> Moments:
    """Return the moments of images of bytes from how often each level occurs, float32.

    Each level takes the roundings that float32 pixels would take; only the sums, in float64, are taken in another order.

    Raises:
        DataError: Every pixel is the same; `name` speaks in the error.
    """
    levels_L = np.arange(_LEVELS, dtype=np.float32) / np.float32(divide_by)
    total_C = counts_CL.sum(axis=1)
    mean_C = ((counts_CL @ levels_L.astype(np.float64)) / total_C).astype(np.float32)
    squares_CL = np.square(levels_L[None] - mean_C[:, None]).astype(np.float64)
    deviation_C = np.sqrt((counts_CL * squares_CL).sum(axis=1) / total_C).astype(np.float32)
    _check(deviation_C, name)
    return mean_C, deviation_C


def _check(deviation_C: Floats, name: str) -> None:
    """Refuse inputs that say nothing, and replace a deviation of 0 by 1.

    Raises:
        DataError: The training inputs are constant or not finite.
    """
    if not np.isfinite(deviation_C).all() or not deviation_C.any():
        message = f"{name}: the training inputs are constant or not finite (deviation per channel {deviation_C.tolist()[:16]})"
        raise DataError(message)
    deviation_C[deviation_C == 0] = 1  # a channel that is constant over the train split says nothing, and divides by nothing


def _mean_per_channel(inputs: Floats, is_present: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float64]:
    """Return the mean (C,) of inputs (N, C, ...) where they are known (None: all are); 0 where none is."""
    axes = (0, *range(2, inputs.ndim))
    if is_present is None:
        return np.asarray(inputs.mean(axis=axes, dtype=np.float64))
    return np.asarray(inputs.sum(axis=axes, where=is_present, dtype=np.float64) / np.maximum(is_present.sum(axis=axes), 1))


def target_moments(raw_data: RawData, train_targets_N: Ints | Floats) -> tuple[float, float]:
    """Return mean and deviation of a regression's training targets, of all numbers together where there are several; (0, 1) for classes.

    Raises:
        DataError: There is nothing to tell apart: one class only, or one number only.
    """
    if raw_data.num_classes is not None:
        if raw_data.labels is not None and len(np.unique(train_targets_N)) == 1:
            only = raw_data.class_name(int(train_targets_N[0]))
            message = f"{raw_data.name}: all {len(train_targets_N)} training examples are of class {only}; two are needed"
            raise DataError(message)
        return 0.0, 1.0
    if train_targets_N.ndim > 1:  # several numbers, of which some may not be given
        mean, deviation = float(np.nanmean(train_targets_N)), float(np.nanstd(train_targets_N))
    else:
        mean, deviation = float(train_targets_N.mean(dtype=np.float64)), float(train_targets_N.std(dtype=np.float64))
    if not (np.isfinite(deviation) and deviation > 0):
        message = f"{raw_data.name}: the training targets are constant or not finite (deviation {deviation}); there is nothing to learn"
        raise DataError(message)
    return mean, deviation

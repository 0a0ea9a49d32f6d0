"""Examples in memory: stored in their own type or converted at once, the batches have the same bits."""

import numpy as np
import pytest
import torch

from autohas_trainer.data.examples import Draw, Resident
from autohas_trainer.data.examples.protocol import Moments
from autohas_trainer.data.moments import byte_moments, count_levels, input_moments
from autohas_trainer.data.raw import Array, RawData

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 3, 5, 7), dtype=np.uint8)
TARGETS = torch.arange(50)


def images(inputs: Array = IMAGES) -> RawData:
    """Images of bytes, as a source gives them."""
    targets_N = np.arange(len(inputs)) % 2
    return RawData(
        name="made up",
        inputs=inputs,
        targets_N=targets_N,
        sources_N=np.arange(len(inputs)),
        test_inputs=inputs[:5],
        test_targets_N=targets_N[:5],
        num_classes=2,
        divide_by=255,
    )


def resident(inputs: Array, moments: Moments | None, divide_by: float | None, *, is_converted: bool) -> Resident:
    """The examples, converted at once or not at all."""
    most = 1 << 30 if is_converted else 0
    return Resident(inputs, TARGETS, moments=moments, divide_by=divide_by, device=CPU, max_converted=most)


@pytest.mark.parametrize(
    ("inputs", "divide_by"),
    [
        (IMAGES, 255),
        (RNG.integers(0, 9, (50, 12), dtype=np.int32), None),
        (RNG.integers(0, 9, (50, 12), dtype=np.uint8), None),
        (RNG.standard_normal((50, 12)).astype(np.float16), None),
        (RNG.standard_normal((50, 3)).astype(np.float32), None),
    ],
)
def test_the_stored_type_does_not_change_a_bit_of_a_batch(inputs: Array, divide_by: float | None) -> None:
    """A large data set keeps its bytes, int32 or float16 in memory, and gives the batches that it would give as float32 or int64."""
    moments = input_moments(images(), np.arange(40)) if divide_by else None
    at_once, native = (resident(inputs, moments, divide_by, is_converted=flag) for flag in (True, False))
    rows_B = torch.tensor([7, 3, 49, 3])
    one, other = at_once.take(rows_B), native.take(rows_B, Draw(0, 0, 3))
    assert torch.equal(one.inputs, other.inputs)
    assert one.inputs.dtype == other.inputs.dtype == native.dtype
    assert native.dtype == (torch.int64 if np.issubdtype(inputs.dtype, np.integer) and divide_by is None else torch.float32)
    assert other.targets.tolist() == [7, 3, 49, 3]
    assert torch.equal(one.inputs, native.take(rows_B).inputs)  # taking a batch does not change what is stored


def test_pixels_are_standardised_as_float32_arrays_are() -> None:
    """By hand in numpy: bytes over 255 in float32, minus the mean, over the deviation of each channel."""
    mean_C, deviation_C = input_moments(images(), np.arange(40)) or (np.empty(0), np.empty(0))
    numbers = IMAGES.astype(np.float32) / np.float32(255)
    expected = (numbers - mean_C[:, None, None]) / deviation_C[:, None, None]
    taken = resident(IMAGES, (mean_C, deviation_C), 255, is_converted=False).take(torch.arange(50)).inputs
    assert np.array_equal(taken.numpy(), expected)
    assert taken[:40].mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_moments_by_counts_of_levels_are_those_of_the_pixels(seed: int) -> None:
    """Images too large for a float copy are counted by level; mean and deviation are equal to the last bit."""
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8) // (seed + 1)
    train = np.arange(0, 60, 2)
    moments = input_moments(images(pixels), train)
    counted = byte_moments(count_levels(pixels, train), 255, "made up")
    assert moments is not None
    assert [part.tolist() for part in moments] == [part.tolist() for part in counted]
    assert counted[0].dtype == counted[1].dtype == np.float32

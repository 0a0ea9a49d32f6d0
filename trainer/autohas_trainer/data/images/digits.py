"""Data `digits`: scikit-learn's 1,797 handwritten digits of 8x8 px, as they are or as a harder task made from them.

Both variants use one fixed quarter of the originals for test, whatever the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autohas_trainer.data.arguments import refuse_unknown_arguments
from autohas_trainer.data.raw import Floats, Ints, RawData
from autohas_trainer.errors import ConfigurationError
from autohas_trainer.seeding import stream

__all__ = ["digits"]

_NUM_CLASSES: Final = 10
_TEST_SHARE: Final = 0.25
_VARIANTS: Final = ("original", "shifted")

_CANVAS_PX: Final = 20
_NUM_TRAINING: Final = 5000
"""With reward and selection at 0.1 each, 4,000 remain to train."""
_NUM_TEST: Final = 4000
_NUM_DISTRACTORS: Final = 2
_LENDER_STRIDE: Final = 10
_FRAGMENT_PX: Final = 3
_MAX_ANGLE: Final = 0.2  # radians
_MAX_SHEAR: Final = 0.2
_SIZE_PX: Final = (11.0, 14.0)
_DIGIT_REACH: Final = 0.2
_FRAGMENT_REACH: Final = 0.8
_NOISE: Final = 0.1
"""Standard deviation; ink is 1, paper is 0."""


def digits(arguments: Mapping[str, str]) -> RawData:
    """Return the digits.

    Args:
        arguments: `variant`: `original` (default), 8x8 px, 1,347 training and 450 test images; or `shifted`, 20x20 px: each image is a
            digit under a random affine map with two fragments of other digits and noise, 5,000 training and 4,000 test images.

    Raises:
        ConfigurationError: An argument is unknown or its value is not one of the variants.
    """
    refuse_unknown_arguments(arguments, ("variant",), "digits")
    variant = arguments.get("variant", "original")
    if variant not in _VARIANTS:
        message = f"task.data.arguments.variant of digits must be one of {', '.join(_VARIANTS)}, not {variant!r}"
        raise ConfigurationError(message)
    from sklearn.datasets import load_digits  # noqa: PLC0415 - seconds long, and searches on other data do without

    loaded = load_digits()
    images_NHW = (loaded.images / 16).astype(np.float32)
    labels_N = loaded.target.astype(np.int64)
    training, test = _halves(labels_N)
    if variant == "shifted":
        return _make_shifted(images_NHW, labels_N, training, test)
    return RawData(
        name="digits (original)",
        inputs=images_NHW[training, None],
        targets_N=labels_N[training],
        sources_N=np.arange(len(training)),
        test_inputs=images_NHW[test, None],
        test_targets_N=labels_N[test],
        num_classes=_NUM_CLASSES,
        preprocessing={"kind": "pixels", "divideBy": 16},
    )


def _halves(labels_N: Ints) -> tuple[Ints, Ints]:
    """Return the rows of training and of test originals: a stratified quarter, the same for every seed."""
    test = []
    for label in range(_NUM_CLASSES):
        rows = np.flatnonzero(labels_N == label)
        test.append(stream("digits", "test", label).permutation(rows)[: round(len(rows) * _TEST_SHARE)])
    is_test = np.zeros(len(labels_N), dtype=bool)
    is_test[np.concatenate(test)] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _make_shifted(images_NHW: Floats, labels_N: Ints, training: Ints, test: Ints) -> RawData:
    """Make the harder task; each side has its own digits and, apart from those, its own lenders of fragments."""
    inputs_NCHW, sources_N = _scenes(images_NHW, *_divide(training), _NUM_TRAINING)
    test_inputs, test_sources_N = _scenes(images_NHW, *_divide(test), _NUM_TEST)
    return RawData(
        name="digits (shifted)",
        inputs=inputs_NCHW,
        targets_N=labels_N[sources_N],
        sources_N=sources_N,
        test_inputs=test_inputs,
        test_targets_N=labels_N[test_sources_N],
        num_classes=_NUM_CLASSES,
        preprocessing={"kind": "pixels", "divideBy": 1},
    )


def _divide(rows: Ints) -> tuple[Ints, Ints]:
    """Return the originals that become scenes, and those that only lend fragments: no fragment ties two splits together."""
    lends = np.arange(len(rows)) % _LENDER_STRIDE == 0
    scenes: Ints = rows[~lends]
    lenders: Ints = rows[lends]
    return scenes, lenders


def _scenes(images_NHW: Floats, digit_rows: Ints, fragment_rows: Ints, number: int) -> tuple[Floats, Ints]:
    """Return `number` scenes (N, 1, 20, 20) and the original of each; originals take turns."""
    rng = stream("digits", "shifted", number, int(digit_rows[0]))
    sources_N: Ints = digit_rows[rng.permutation(number) % len(digit_rows)]
    scene_NCHW = _place(images_NHW[sources_N], rng, reach=_DIGIT_REACH)
    for _ in range(_NUM_DISTRACTORS):
        fragments_NHW = _fragments(images_NHW[fragment_rows[rng.integers(len(fragment_rows), size=number)]], rng)
        scene_NCHW = torch.maximum(scene_NCHW, _place(fragments_NHW, rng, reach=_FRAGMENT_REACH))
    noise_NCHW = torch.from_numpy(rng.standard_normal(scene_NCHW.shape, dtype=np.float32))
    scenes: Floats = (scene_NCHW + _NOISE * noise_NCHW).numpy()
    return scenes, sources_N


def _fragments(images_NHW: Floats, rng: np.random.Generator) -> Floats:
    """Keep a random 3x3 window of each 8x8 image, the rest black."""
    corner_N2 = rng.integers(0, 9 - _FRAGMENT_PX, size=(len(images_NHW), 2))
    offset_N2P = np.arange(8)[None, None, :] - corner_N2[:, :, None]
    inside_N2P = (offset_N2P >= 0) & (offset_N2P < _FRAGMENT_PX)
    return images_NHW * (inside_N2P[:, 0, :, None] & inside_N2P[:, 1, None, :])


def _place(images_NHW: Floats, rng: np.random.Generator, reach: float) -> Tensor:
    """Draw each image on the canvas under a random rotation, size, shear and shift; (N, 1, 20, 20).

    Args:
        images_NHW: 8x8 px originals.
        rng: Draws the maps.
        reach: Largest shift of the centre, as a share of half the canvas.
    """
    number = len(images_NHW)
    angle_N = rng.uniform(-_MAX_ANGLE, _MAX_ANGLE, number)
    shear_N = rng.uniform(-_MAX_SHEAR, _MAX_SHEAR, number)
    zoom_N = _CANVAS_PX / rng.uniform(*_SIZE_PX, number)  # canvas coordinates → original coordinates
    shift_N2 = rng.uniform(-reach, reach, (number, 2))
    cos_N, sin_N = np.cos(angle_N), np.sin(angle_N)
    linear_N22 = zoom_N[:, None, None] * np.stack(
        [np.stack([cos_N + shear_N * sin_N, shear_N * cos_N - sin_N], -1), np.stack([sin_N, cos_N], -1)], axis=1
    )
    constant_N2 = -np.einsum("nij,nj->ni", linear_N22, shift_N2)
    theta_N23 = torch.from_numpy(np.concatenate([linear_N22, constant_N2[:, :, None]], axis=2).astype(np.float32))
    grid = functional.affine_grid(theta_N23, [number, 1, _CANVAS_PX, _CANVAS_PX], align_corners=False)
    return functional.grid_sample(torch.from_numpy(images_NHW[:, None]), grid, align_corners=False)

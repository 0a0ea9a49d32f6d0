"""Data `digits`: scikit-learn's 1,797 handwritten digits of 8×8 px, as they are or as a harder task made from them.

Both variants use one fixed quarter of the originals for test, whatever the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional

from autohas_trainer.data.problem import Floats, Ints, Problem
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
_NOISE: Final = 0.15


def digits(arguments: Mapping[str, str]) -> Problem:
    """Return the digits.

    Args:
        arguments: `variant`: `original` (default), 8×8 px, 1,347 training and 450 test images; or `shifted`, 20×20 px: each image is a
            digit under a random affine map with two fragments of other digits and noise, 5,000 training and 4,000 test images.

    Raises:
        ConfigurationError: An argument is unknown or its value is not one of the variants.
    """
    unknown = sorted(arguments.keys() - {"variant"})
    if unknown:
        message = f"task.data.arguments.{unknown[0]} is unknown to digits; it takes only variant"
        raise ConfigurationError(message)
    variant = arguments.get("variant", "original")
    if variant not in _VARIANTS:
        message = f"task.data.arguments.variant of digits must be one of {', '.join(_VARIANTS)}, not {variant!r}"
        raise ConfigurationError(message)
    loaded = load_digits()
    images_NHW = (loaded.images / 16).astype(np.float32)
    labels_N = loaded.target.astype(np.int64)
    training, test = _halves(labels_N)
    if variant == "shifted":
        return _shifted(images_NHW, labels_N, training, test)
    return Problem(
        name="digits (original)",
        inputs_NCHW=images_NHW[training, None],
        labels_N=labels_N[training],
        sources_N=np.arange(len(training)),
        test_inputs_NCHW=images_NHW[test, None],
        test_labels_N=labels_N[test],
        num_classes=_NUM_CLASSES,
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


def _shifted(images_NHW: Floats, labels_N: Ints, training: Ints, test: Ints) -> Problem:
    """Make the harder task; every image is drawn from a source of its own side only, distractors included."""
    inputs_NCHW, sources_N = _scenes(images_NHW[training], _NUM_TRAINING, "training")
    test_inputs_NCHW, test_sources_N = _scenes(images_NHW[test], _NUM_TEST, "test")
    return Problem(
        name="digits (shifted)",
        inputs_NCHW=inputs_NCHW,
        labels_N=labels_N[training][sources_N],
        sources_N=sources_N,
        test_inputs_NCHW=test_inputs_NCHW,
        test_labels_N=labels_N[test][test_sources_N],
        num_classes=_NUM_CLASSES,
    )

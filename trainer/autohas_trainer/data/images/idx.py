"""Data `idx`: a folder with MNIST's four files, each plain or gzipped (MNIST, Fashion-MNIST and their kin)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from autohas_trainer.data.arguments import refuse_unknown_arguments
from autohas_trainer.data.examples import Source
from autohas_trainer.data.examples.reading_processes import ReadingProcesses
from autohas_trainer.data.files.paths import relative_to
from autohas_trainer.data.images.idx_file import read_idx
from autohas_trainer.data.images.reading import AS_FITS, WHITE_LEVEL, ImageReading
from autohas_trainer.data.raw import Array, Ints, RawData
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["idx"]

_LIMITS: Final = ("trainLimit", "testLimit")


def idx(folder: Path, arguments: Mapping[str, str], reading: ImageReading = AS_FITS) -> RawData:
    """Return the images (1 channel, bytes) and labels of `folder`.

    Args:
        folder: Holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or
            with .gz; where both exist the plain one is read.
        arguments: `trainLimit`, `testLimit`: read only that number of rows from the start (the published files are shuffled).
        reading: How images that make gradients are augmented, and how many processes do it.

    Raises:
        ConfigurationError: An argument is unknown or not a positive integer.
        DataError: A file is missing or damaged, or the four do not fit together.
    """
    limits = _read_limits(arguments)
    if not folder.is_dir():
        message = f"{folder} is not a folder{relative_to(folder)}; mount the volume with the IDX files there"
        raise DataError(message)
    inputs_NCHW, labels_N = _read_pair(folder, "train", limits.get("trainLimit"))
    test_inputs_NCHW, test_targets_N = _read_pair(folder, "t10k", limits.get("testLimit"))
    num_classes = int(labels_N.max()) + 1
    _check_labels(folder, labels_N, num_classes)
    _check_fit(folder, inputs_NCHW.shape[2:], test_inputs_NCHW.shape[2:], test_targets_N, num_classes)
    name = f"idx ({folder})"
    inputs, test_inputs = (_per_batch(name, images_NCHW, reading) for images_NCHW in (inputs_NCHW, test_inputs_NCHW))
    return RawData(
        name=name,
        inputs=inputs,
        targets_N=labels_N,
        sources_N=np.arange(len(labels_N)),
        test_inputs=test_inputs,
        test_targets_N=test_targets_N,
        num_classes=num_classes,
        divide_by=WHITE_LEVEL,
        notes=tuple(reading.notes(is_per_batch=reading.changes_examples)),
        preprocessing={"kind": "pixels", "divideBy": WHITE_LEVEL},
    )


def _per_batch(name: str, images_NCHW: npt.NDArray[np.uint8], reading: ImageReading) -> Array | Source:
    """Return the images, to be augmented per batch if the search says so."""
    if not reading.changes_examples:
        return images_NCHW
    # Pillow is imported here, since only augmentation needs it
    from autohas_trainer.data.images.image_file import ImageOptions  # noqa: PLC0415
    from autohas_trainer.data.images.image_reader import BatchReader  # noqa: PLC0415
    from autohas_trainer.data.images.per_batch import ImageSource  # noqa: PLC0415

    size = images_NCHW.shape[2], images_NCHW.shape[3]
    reader = BatchReader(ImageOptions(size=size, mode="L", background="white"), size, reading.of_examples, reading.transform)
    return ImageSource(name, images_NCHW, reader, ReadingProcesses(reader, reading.workers))


def _check_fit(folder: Path, size: tuple[int, ...], test_size: tuple[int, ...], test_targets_N: Ints, num_classes: int) -> None:
    """Refuse test files that are not of the same set as the training files, and labels that cannot be classes."""
    if size != test_size:
        message = (
            f"{folder}: training images are {size[0]}x{size[1]} px but test images are {test_size[0]}x{test_size[1]} px; "
            "they are not of one set"
        )
        raise DataError(message)
    strangers = np.flatnonzero(test_targets_N >= num_classes)
    if len(strangers):
        row, file = int(strangers[0]), _find_file(folder, "t10k-labels-idx1-ubyte")
        message = f"{file}: row {row} has label {test_targets_N[row]}, training has 0 to {num_classes - 1}; they are not of one set"
        raise DataError(message)


def _check_labels(folder: Path, labels_N: Ints, num_classes: int) -> None:
    """Refuse a stray label: more than half of the classes up to it would have no example (some sets leave out class 0)."""
    num_present = len(np.unique(labels_N))
    if 2 * num_present < num_classes:
        row, file = int(labels_N.argmax()), _find_file(folder, "train-labels-idx1-ubyte")
        message = f"{file}: row {row} has label {labels_N[row]}, but only {num_present} labels occur; classes count from 0, fix the row"
        raise DataError(message)


def _read_limits(arguments: Mapping[str, str]) -> dict[str, int]:
    """Return the limits as numbers."""
    refuse_unknown_arguments(arguments, _LIMITS, "idx")
    for name, text in arguments.items():
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            message = f"task.data.arguments.{name} must be a positive integer, not {text!r}"
            raise ConfigurationError(message)
    return {name: int(text) for name, text in arguments.items()}


def _find_file(folder: Path, name: str) -> Path:
    """Return the file, plain before gzipped."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    message = f"{folder / name} is missing, and so is {name}.gz; put one of them there"
    raise DataError(message)


def _read_pair(folder: Path, prefix: str, limit: int | None) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Return images (N, 1, H, W) of bytes and their labels, the first `limit` of them."""
    image_file, label_file = _find_file(folder, f"{prefix}-images-idx3-ubyte"), _find_file(folder, f"{prefix}-labels-idx1-ubyte")
    images_NHW: npt.NDArray[np.uint8] = read_idx(image_file, 3)
    labels_N = read_idx(label_file, 1)
    if len(images_NHW) != len(labels_N):
        message = f"{image_file} has {len(images_NHW)} images but {label_file} has {len(labels_N)} labels; they are not of one set"
        raise DataError(message)
    if limit is not None and limit > len(labels_N):
        argument = "trainLimit" if prefix == "train" else "testLimit"
        message = f"{image_file} has {len(images_NHW)} images, fewer than task.data.arguments.{argument} {limit}; lower it"
        raise DataError(message)
    return images_NHW[:limit, None], labels_N[:limit].astype(np.int64)

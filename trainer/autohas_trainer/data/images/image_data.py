"""Labelled images in one form, whatever stores them: in memory, or read per batch. Called by `image-folder` and `image-parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from autohas_trainer.data.examples.protocol import Source
from autohas_trainer.data.examples.reading_processes import ReadingProcesses
from autohas_trainer.data.images.image_file import Bytes, ImageOptions, ImageReader
from autohas_trainer.data.images.image_reader import BatchReader
from autohas_trainer.data.images.per_batch import ImageSource
from autohas_trainer.data.images.reading import WHITE_LEVEL, ImageReading
from autohas_trainer.data.images.stored import StoredImages
from autohas_trainer.data.raw import Ints, Place, RawData

__all__ = ["IMAGE_ARGUMENTS", "LabelledImages", "image_data", "read_image_options"]

IMAGE_ARGUMENTS: Final = ("size", "grayscale", "background", "fit")
_MAX_SHOWN: Final = 10


def read_image_options(arguments: Mapping[str, str]) -> ImageOptions:
    """Read arguments that acceptance has passed.

    `size`: "32" or "24x32" (height x width, px), to which images are resized; without it all must be of one size. `grayscale`: `true` or
    `false` (default). `background`: `white` (default), `black` or `#rrggbb`, on which transparent parts are laid. `fit`: `stretch`
    (default) or `crop`, which keeps the aspect and cuts the centre.
    """
    size = arguments.get("size")
    height, _, width = (size or "").partition("x")
    return ImageOptions(
        size=None if size is None else (int(height), int(width or height)),
        mode="L" if arguments.get("grayscale") == "true" else "RGB",
        background=arguments.get("background", "white"),
        fit=arguments.get("fit", "stretch"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The images of a split with the class (N,) of each, and where each lies."""

    images: StoredImages
    labels_N: Ints
    place: Place


def image_data(
    name: str, splits: tuple[LabelledImages, LabelledImages], classes: Sequence[str], options: ImageOptions, reading: ImageReading
) -> RawData:
    """Return images (N, C, H, W) as bytes, or to be read per batch, and their classes.

    Args:
        name: How errors call the data.
        splits: Training images, at least one, and test images, perhaps none.
        classes: Names of the classes in the order of their numbers.
        options: The form of the images.
        reading: Where the images lie between steps, and what is done to those that make gradients.

    Raises:
        DataError: An image cannot be read, or would lose something; names its place.
    """
    train, test = splits
    reader = ImageReader(options=options)
    size = options.size or reader.size_of(train.images[0].load())
    sources = _make_sources(name, (train.images, test.images), size, reader, reading)
    is_per_batch = reading.changes_examples or not isinstance(sources[0].pictures, np.ndarray)
    inputs: list[Bytes | Source] = [source if is_per_batch else source.array for source in sources]
    return RawData(
        name=name,
        inputs=inputs[0],
        targets_N=train.labels_N,
        sources_N=np.arange(len(train.images)),
        test_inputs=inputs[1],
        test_targets_N=test.labels_N,
        num_classes=len(classes),
        divide_by=WHITE_LEVEL,
        place=train.place,
        test_place=test.place,
        classes=tuple(classes),
        summary=_summary(classes, train.labels_N, size, options.channels),
        notes=(*reader.notes(), *reading.notes(is_per_batch=is_per_batch)),
        preprocessing=_record(options, size),
        notes_of_reading=lambda: _notes_of_reading(sources[0], options, reading),
    )


def _make_sources(
    name: str, stored: Sequence[StoredImages], size: tuple[int, int], reader: ImageReader, reading: ImageReading
) -> list[ImageSource]:
    """Return a source for each split, of pixels in memory or of images that stay where they are stored; they share the processes.

    Raises:
        DataError: As `image_data`.
    """
    are_read_per_batch = reading.reads_files(sum(map(len, stored)), size, reader.options.channels, name)
    if are_read_per_batch:
        for images in stored:
            images.check_access()
    batches = BatchReader(reader.options, size, reading.of_examples, reading.transform)
    processes = ReadingProcesses(batches, reading.workers)
    return [ImageSource(name, images if are_read_per_batch else _read(images, size, reader), batches, processes) for images in stored]


def _notes_of_reading(source: ImageSource, options: ImageOptions, reading: ImageReading) -> list[str]:
    """Return the notes about the training images that were measured."""
    notes = ImageReader(options=options, counts=source.counts).notes("training images that were measured")
    is_cropped = reading.augmentation is not None and reading.augmentation.random_resized_crop is not None
    if is_cropped and source.counts["stretched"]:
        notes.append(
            "randomResizedCrop keeps the aspect of a training image within 3/4 to 4/3, and fit: stretch, the default, does not keep that of"
            " an image that is evaluated; task.data.arguments.fit: crop does"
        )
    return notes


def _record(options: ImageOptions, size: tuple[int, int]) -> dict[str, Any]:
    """Return what preprocessing.json says about the images."""
    return {
        "kind": "images",
        "height": size[0],
        "width": size[1],
        "mode": options.mode,
        "background": list(options.colour),
        "resize": "bilinear" if options.size is not None else None,
        "divideBy": WHITE_LEVEL,
        **({} if options.fit == "stretch" else {"fit": options.fit}),
    }


def _summary(classes: Sequence[str], labels_N: Ints, size: tuple[int, int], channels: int) -> tuple[str, ...]:
    """Return how many images each class has, and their form."""
    counts = np.bincount(labels_N, minlength=len(classes))
    listed = ", ".join(f"{name} {count:,}" for name, count in zip(classes[:_MAX_SHOWN], counts, strict=False))
    more = f" and {len(classes) - _MAX_SHOWN} more" if len(classes) > _MAX_SHOWN else ""
    return (f"{len(classes)} classes: {listed}{more}", f"images: {size[0]}x{size[1]} px, {channels} channel{'' if channels == 1 else 's'}")


def _read(stored: StoredImages, size: tuple[int, int], reader: ImageReader) -> Bytes:
    """Return images (N, C, H, W) of bytes."""
    images = np.empty((len(stored), reader.options.channels, *size), dtype=np.uint8)
    for row in range(len(stored)):
        pixels = reader.read(stored[row].load(), size)
        images[row] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # noqa: PLR2004 - grey has no channels
    return images

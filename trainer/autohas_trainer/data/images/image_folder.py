"""Data `image-folder`: train/CLASS/*.png and perhaps test/CLASS/*.png, or the classes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from autohas_trainer.data.arguments import refuse_unknown_arguments
from autohas_trainer.data.examples.reading_processes import ReadingProcesses
from autohas_trainer.data.held_out import with_held_out_test
from autohas_trainer.data.images.image_file import Bytes, ImageOptions, ImageReader
from autohas_trainer.data.images.image_layout import find_images
from autohas_trainer.data.images.image_reader import BatchReader
from autohas_trainer.data.images.per_batch import ImageSource
from autohas_trainer.data.images.reading import AS_FITS, WHITE_LEVEL, ImageReading
from autohas_trainer.data.raw import RawData

__all__ = ["image_folder"]

_ARGUMENTS: Final = ("size", "grayscale", "background", "fit", "testFolder", "testFraction")
_MAX_SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The arguments, read."""

    image: ImageOptions
    test_folder: str | None
    test_fraction: float
    may_divide: bool

    @classmethod
    def read(cls, arguments: Mapping[str, str]) -> _Options:
        """Read arguments that acceptance has passed."""
        refuse_unknown_arguments(arguments, _ARGUMENTS, "image-folder")
        size = arguments.get("size")
        height, _, width = (size or "").partition("x")
        image = ImageOptions(
            size=None if size is None else (int(height), int(width or height)),
            mode="L" if arguments.get("grayscale") == "true" else "RGB",
            background=arguments.get("background", "white"),
            fit=arguments.get("fit", "stretch"),
        )
        return cls(
            image=image,
            test_folder=arguments.get("testFolder"),
            test_fraction=float(arguments.get("testFraction", "0.2")),
            may_divide="testFraction" in arguments,
        )


def image_folder(folder: Path, arguments: Mapping[str, str], reading: ImageReading = AS_FITS) -> RawData:
    """Return the images of `folder` (N, C, H, W) as bytes, or to be read per batch, and their classes, in order of the class folders.

    Args:
        folder: Holds train/ with one folder of images per class (PNG, JPEG, WebP, BMP, GIF or TIFF; 8 bits, one frame), and test/ of the
            same shape; or the class folders themselves. Without test images `testFraction` of the training images become the test, the
            same for every seed.
        arguments: `size`: "32" or "24x32" (height x width, px), to which images are resized; without it all must be of one size.
            `grayscale`: `true` or `false` (default). `background`: `white` (default), `black` or `#rrggbb`, on which transparent parts are
            laid. `fit`: `stretch` (default) or `crop`, which keeps the aspect and cuts the centre. `testFolder`: the folder of the test
            images, default `test`. `testFraction`: default 0.2.
        reading: Where the images lie between steps, and what is done to those that make gradients.

    Raises:
        ConfigurationError: An argument is unknown.
        DataError: A folder is missing or empty, a file is no sound image, or would lose something; names it.
    """
    options = _Options.read(arguments)
    layout = find_images(folder, options.test_folder, may_divide=options.may_divide)
    reader = ImageReader(options=options.image)
    size = options.image.size or reader.size_of(layout.files[0])
    name = f"image-folder ({folder})"
    batches = BatchReader(options.image, size, reading.of_examples, reading.transform)
    are_files = reading.reads_files(len(layout.files) + len(layout.test_files), size, options.image.channels, str(folder))
    processes = ReadingProcesses(batches, reading.workers)
    sources = [
        ImageSource(name, [str(file) for file in files] if are_files else _read(files, size, reader), batches, processes)
        for files in (layout.files, layout.test_files)
    ]
    is_per_batch = are_files or reading.changes_examples
    inputs, test_inputs = (source if is_per_batch else source.array for source in sources)
    raw = RawData(
        name=name,
        inputs=inputs,
        targets_N=np.array(layout.labels, dtype=np.int64),
        sources_N=np.arange(len(layout.files)),
        test_inputs=test_inputs,
        test_targets_N=np.array(layout.test_labels, dtype=np.int64),
        num_classes=len(layout.classes),
        divide_by=WHITE_LEVEL,
        place=lambda row: str(layout.files[row]),
        test_place=lambda row: str(layout.test_files[row]),
        classes=tuple(layout.classes),
        summary=_summary(layout.classes, layout.labels, size, options.image.channels),
        preprocessing=_record(options.image, size),
        notes_of_reading=lambda: _notes_of_reading(sources[0], options.image, reading),
    )
    raw = replace(raw, notes=(*layout.notes, *reader.notes(), *reading.notes(is_per_batch=is_per_batch)))
    return raw if layout.test_files else with_held_out_test(raw, options.test_fraction, "image-folder")


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


def _summary(classes: list[str], labels: list[int], size: tuple[int, int], channels: int) -> tuple[str, ...]:
    """Return how many images each class has, and their form."""
    counts = np.bincount(labels, minlength=len(classes))
    listed = ", ".join(f"{name} {count:,}" for name, count in zip(classes[:_MAX_SHOWN], counts, strict=False))
    more = f" and {len(classes) - _MAX_SHOWN} more" if len(classes) > _MAX_SHOWN else ""
    return (f"{len(classes)} classes: {listed}{more}", f"images: {size[0]}x{size[1]} px, {channels} channel{'' if channels == 1 else 's'}")


def _read(files: list[Path], size: tuple[int, int], reader: ImageReader) -> Bytes:
    """Return images (N, C, H, W) of bytes."""
    images = np.empty((len(files), reader.options.channels, *size), dtype=np.uint8)
    for index, file in enumerate(files):
        pixels = reader.read(file, size)
        images[index] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # noqa: PLR2004 - grey has no channels
    return images

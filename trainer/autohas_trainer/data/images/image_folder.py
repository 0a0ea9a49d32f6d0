"""Data `image-folder`: train/CLASS/*.png and perhaps test/CLASS/*.png, or the classes alone, read whole into memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from autohas_trainer.data.held_out import with_held_out_test
from autohas_trainer.data.images.image_file import Bytes, ImageOptions, ImageReader
from autohas_trainer.data.images.image_layout import find_images
from autohas_trainer.data.raw import RawData
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["image_folder"]

_ARGUMENTS: Final = ("size", "grayscale", "background", "testFolder", "testFraction")
_MAX_GIB: Final = 8
"""Of float32 in memory."""
_WHITE_LEVEL: Final = 255
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
        unknown = sorted(arguments.keys() - set(_ARGUMENTS))
        if unknown:
            message = f"task.data.arguments.{unknown[0]} is unknown to image-folder; it takes {', '.join(_ARGUMENTS)}"
            raise ConfigurationError(message)
        size = arguments.get("size")
        height, _, width = (size or "").partition("x")
        image = ImageOptions(
            size=None if size is None else (int(height), int(width or height)),
            mode="L" if arguments.get("grayscale") == "true" else "RGB",
            background=arguments.get("background", "white"),
        )
        return cls(
            image=image,
            test_folder=arguments.get("testFolder"),
            test_fraction=float(arguments.get("testFraction", "0.2")),
            may_divide="testFraction" in arguments,
        )


def image_folder(folder: Path, arguments: Mapping[str, str]) -> RawData:
    """Return the images of `folder` (N, C, H, W) as bytes and their classes, in alphabetical order of the class folders.

    Args:
        folder: Holds train/ with one folder of images per class (PNG, JPEG, WebP, BMP, GIF or TIFF; 8 bits, one frame), and test/ of the
            same shape; or the class folders themselves. Without test images `testFraction` of the training images become the test, the
            same for every seed.
        arguments: `size`: "32" or "24x32" (height x width, px), to which images are resized; without it all must be of one size.
            `grayscale`: `true` or `false` (default). `background`: `white` (default), `black` or `#rrggbb`, on which transparent parts are
            laid. `testFolder`: the folder of the test images, default `test`. `testFraction`: default 0.2.

    Raises:
        ConfigurationError: An argument is unknown.
        DataError: A folder is missing or empty, a file is no sound image, or would lose something; names it.
    """
    options = _Options.read(arguments)
    layout = find_images(folder, options.test_folder, may_divide=options.may_divide)
    reader = ImageReader(options=options.image)
    size = options.image.size or reader.size_of(layout.files[0])
    _check_memory(folder, len(layout.files) + len(layout.test_files), size, options.image.channels)
    raw = RawData(
        name=f"image-folder ({folder})",
        inputs=_read(layout.files, size, reader),
        targets_N=np.array(layout.labels, dtype=np.int64),
        sources_N=np.arange(len(layout.files)),
        test_inputs=_read(layout.test_files, size, reader),
        test_targets_N=np.array(layout.test_labels, dtype=np.int64),
        num_classes=len(layout.classes),
        divide_by=_WHITE_LEVEL,
        place=lambda row: str(layout.files[row]),
        test_place=lambda row: str(layout.test_files[row]),
        classes=tuple(layout.classes),
        summary=_summary(layout.classes, layout.labels, size, options.image.channels),
        preprocessing={
            "kind": "images",
            "height": size[0],
            "width": size[1],
            "mode": options.image.mode,
            "background": list(options.image.colour),
            "resize": "bilinear" if options.image.size is not None else None,
            "divideBy": _WHITE_LEVEL,
        },
    )
    raw = replace(raw, notes=(*layout.notes, *reader.notes()))
    return raw if layout.test_files else with_held_out_test(raw, options.test_fraction, "image-folder")


def _summary(classes: list[str], labels: list[int], size: tuple[int, int], channels: int) -> tuple[str, ...]:
    """Return how many images each class has, and their form."""
    counts = np.bincount(labels, minlength=len(classes))
    listed = ", ".join(f"{name} {count:,}" for name, count in zip(classes[:_MAX_SHOWN], counts, strict=False))
    more = f" and {len(classes) - _MAX_SHOWN} more" if len(classes) > _MAX_SHOWN else ""
    return (f"{len(classes)} classes: {listed}{more}", f"images: {size[0]}x{size[1]} px, {channels} channel{'' if channels == 1 else 's'}")


def _check_memory(folder: Path, number: int, size: tuple[int, int], channels: int) -> None:
    needed = number * size[0] * size[1] * channels * 4
    if needed > _MAX_GIB << 30:
        message = (
            f"{folder}: {number} images of {size[0]}x{size[1]} px are {needed / 2**30:.1f} GiB in memory, more than the {_MAX_GIB} that"
            " are taken; set a smaller task.data.arguments.size"
        )
        raise DataError(message)


def _read(files: list[Path], size: tuple[int, int], reader: ImageReader) -> Bytes:
    """Return images (N, C, H, W) of bytes."""
    images = np.empty((len(files), reader.options.channels, *size), dtype=np.uint8)
    for index, file in enumerate(files):
        pixels = reader.read(file, size)
        images[index] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # noqa: PLR2004 - grey has no channels
    return images

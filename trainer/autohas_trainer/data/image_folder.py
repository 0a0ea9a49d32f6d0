"""Data `image-folder`: train/CLASS/*.png and perhaps test/CLASS/*.png, read whole into memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from autohas_trainer.data.own_test import with_own_test
from autohas_trainer.data.raw import Floats, RawData
from autohas_trainer.errors import ConfigurationError, DataError

__all__ = ["image_folder"]

_ARGUMENTS: Final = ("size", "grayscale", "testFraction")
_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
_MAX_GIB: Final = 8
"""Of float32 in memory."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The arguments, read."""

    size: tuple[int, int] | None
    """(height, width) px; None: every image as it is, all alike."""
    mode: str
    test_fraction: float

    @property
    def channels(self) -> int:
        """One for grey, three for colour."""
        return len(self.mode)

    @classmethod
    def read(cls, arguments: Mapping[str, str]) -> _Options:
        """Read arguments that acceptance has passed."""
        unknown = sorted(arguments.keys() - set(_ARGUMENTS))
        if unknown:
            message = f"task.data.arguments.{unknown[0]} is unknown to image-folder; it takes {', '.join(_ARGUMENTS)}"
            raise ConfigurationError(message)
        size = arguments.get("size")
        height, _, width = (size or "").partition("x")
        return cls(
            size=None if size is None else (int(height), int(width or height)),
            mode="L" if arguments.get("grayscale") == "true" else "RGB",
            test_fraction=float(arguments.get("testFraction", "0.2")),
        )


def image_folder(folder: Path, arguments: Mapping[str, str]) -> RawData:
    """Return the images of `folder` (N, C, H, W) in 0..1 and their classes, in alphabetical order of the class folders.

    Args:
        folder: Holds train/ with one folder of PNG or JPEG files per class, and test/ of the same shape, or else `testFraction` of the
            training images become the test, the same for every seed.
        arguments: `size`: "32" or "24x32" (height x width, px), to which images are resized; without it all must be of one size.
            `grayscale`: `true` or `false` (default). `testFraction`: default 0.2.

    Raises:
        ConfigurationError: An argument is unknown.
        DataError: A folder is missing or empty, or a file is no sound image; names it.
    """
    options = _Options.read(arguments)
    train, test = folder / "train", folder / "test"
    classes = _classes(train)
    files, labels = _listed(train, classes)
    test_files, test_labels = _listed(test, classes) if test.is_dir() else ([], [])
    size = options.size or _size_of(files[0])
    _check_memory(folder, len(files) + len(test_files), size, options.channels)
    raw = RawData(
        name=f"image-folder ({folder})",
        inputs=_read(files, size, options),
        targets_N=np.array(labels, dtype=np.int64),
        sources_N=np.arange(len(files)),
        test_inputs=_read(test_files, size, options),
        test_targets_N=np.array(test_labels, dtype=np.int64),
        num_classes=len(classes),
    )
    return raw if test_files else with_own_test(raw, options.test_fraction, "image-folder")


def _classes(folder: Path) -> list[str]:
    """Return the names of the class folders, in order."""
    if not folder.is_dir():
        message = f"{folder} is missing; put one folder of images per class there, or correct task.data.path"
        raise DataError(message)
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:  # noqa: PLR2004 - one class is nothing to learn
        found = f"only the folder {classes[0]}" if classes else "no folder"
        message = f"{folder} holds {found}; it must hold one folder of images per class, at least two"
        raise DataError(message)
    return classes


def _listed(folder: Path, classes: list[str]) -> tuple[list[Path], list[int]]:
    """Return the images of `folder` and the class of each, by class and name."""
    strangers = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name not in classes)
    if strangers:
        message = f"{folder / strangers[0]}: there is no such class in training ({', '.join(classes[:20])}); move the folder"
        raise DataError(message)
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        inside = folder / name
        found = (
            sorted(p for p in inside.iterdir() if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".")) if inside.is_dir() else []
        )
        if not found and folder.name == "train":
            message = f"{inside} holds no image ({', '.join(_SUFFIXES)}); add some, or remove the folder"
            raise DataError(message)
        files += found
        labels += [label] * len(found)
    if not files:
        message = f"{folder} holds no image ({', '.join(_SUFFIXES)}); add some, or remove the folder"
        raise DataError(message)
    return files, labels


def _check_memory(folder: Path, number: int, size: tuple[int, int], channels: int) -> None:
    needed = number * size[0] * size[1] * channels * 4
    if needed > _MAX_GIB << 30:
        message = (
            f"{folder}: {number} images of {size[0]}x{size[1]} px are {needed / 2**30:.1f} GiB in memory, more than the {_MAX_GIB} that"
            " are taken; set a smaller task.data.arguments.size"
        )
        raise DataError(message)


def _read(files: list[Path], size: tuple[int, int], options: _Options) -> Floats:
    """Return images (N, C, H, W) float32 in 0..1."""
    images = np.empty((len(files), options.channels, *size), dtype=np.float32)
    for index, file in enumerate(files):
        pixels = _pixels(file, size, options)
        images[index] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # noqa: PLR2004 - grey has no channels
    images /= np.float32(255)
    return images


def _size_of(file: Path) -> tuple[int, int]:
    image = _opened(file)
    return image.height, image.width


def _pixels(file: Path, size: tuple[int, int], options: _Options) -> Bytes:
    """Return one image (H, W) or (H, W, 3)."""
    image = _opened(file).convert(options.mode)
    if (image.height, image.width) != size:
        if options.size is None:
            message = (
                f"{file} is {image.height}x{image.width} px, the first image {size[0]}x{size[1]} px;"
                ' set task.data.arguments.size, for example "32", to bring all to one size'
            )
            raise DataError(message)
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _opened(file: Path) -> Image.Image:
    """Return the image, decoded and turned as its camera says.

    Raises:
        DataError: The file cannot be read or decoded, or has more than 8 bits per channel.
    """
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as image:
            upright = ImageOps.exif_transpose(image)
            upright.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).replace(str(file), "the file")
        message = f"{file} is no sound PNG or JPEG image ({reason}); replace or remove it"
        raise DataError(message) from error
    if upright.mode.startswith(("I", "F")):
        message = f"{file} has more than 8 bits per channel (mode {upright.mode}); convert it to 8 bits"
        raise DataError(message)
    return upright

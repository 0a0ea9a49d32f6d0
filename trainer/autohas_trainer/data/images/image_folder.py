"""Data `image-folder`: train/CLASS/*.png and perhaps test/CLASS/*.png, or the classes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from autohas_trainer.data.arguments import refuse_unknown_arguments
from autohas_trainer.data.held_out import with_held_out_test
from autohas_trainer.data.images.image_data import IMAGE_ARGUMENTS, LabelledImages, image_data, read_image_options
from autohas_trainer.data.images.image_layout import find_images
from autohas_trainer.data.images.reading import AS_FITS, ImageReading
from autohas_trainer.data.images.stored import ImageFiles
from autohas_trainer.data.raw import RawData

__all__ = ["image_folder"]

_ARGUMENTS: Final = (*IMAGE_ARGUMENTS, "testFolder", "testFraction")


def image_folder(folder: Path, arguments: Mapping[str, str], reading: ImageReading = AS_FITS) -> RawData:
    """Return the images of `folder` (N, C, H, W) as bytes, or to be read per batch, and their classes, in order of the class folders.

    Args:
        folder: Holds train/ with one folder of images per class (PNG, JPEG, WebP, BMP, GIF or TIFF; 8 bits, one frame), and test/ of the
            same shape; or the class folders themselves. Without test images `testFraction` of the training images become the test, the
            same for every seed.
        arguments: Those of `read_image_options`; `testFolder`: the folder of the test images, default `test`; `testFraction`: default 0.2.
        reading: Where the images lie between steps, and what is done to those that make gradients.

    Raises:
        ConfigurationError: An argument is unknown.
        DataError: A folder is missing or empty, a file is no sound image, or would lose something; names it.
    """
    refuse_unknown_arguments(arguments, _ARGUMENTS, "image-folder")
    layout = find_images(folder, arguments.get("testFolder"), may_divide="testFraction" in arguments)
    train, test = _labelled(layout.files, layout.labels), _labelled(layout.test_files, layout.test_labels)
    raw = image_data(f"image-folder ({folder})", (train, test), layout.classes, read_image_options(arguments), reading)
    raw = replace(raw, notes=(*layout.notes, *raw.notes))
    return raw if layout.test_files else with_held_out_test(raw, float(arguments.get("testFraction", "0.2")), "image-folder")


def _labelled(files: Sequence[Path], labels: Sequence[int]) -> LabelledImages:
    """Return files with their classes."""
    return LabelledImages(
        images=ImageFiles([str(file) for file in files]),
        labels_N=np.array(labels, dtype=np.int64),
        place=lambda row: str(files[row]),
    )

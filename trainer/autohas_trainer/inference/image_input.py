"""Image files, their bytes, columns of them, Pillow images and arrays of bytes to inputs, by the reader of the training images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from autohas_trainer.data.arrow.arrow_file import ARROW_SUFFIXES
from autohas_trainer.data.images.image_file import Bytes, ImageOptions, ImageReader
from autohas_trainer.data.images.stored import EncodedImage
from autohas_trainer.errors import DataError

__all__ = ["ImageEncoder"]

_CHANNELS: Final = (1, 3, 4)
_GREY: Final = 2
_COLOUR: Final = 3


class ImageEncoder:
    """Images in the form that the network was trained on."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """Read size, mode and background of preprocessing.json."""
        self._size = (int(data["height"]), int(data["width"]))
        self._divide_by = np.float32(data["divideBy"])
        background = "#{:02x}{:02x}{:02x}".format(*data["background"])
        size = self._size if data["resize"] is not None else None
        self._column = data.get("column")
        self._options = ImageOptions(size=size, mode=str(data["mode"]), background=background, fit=str(data.get("fit", "stretch")))

    def __call__(self, examples: Any) -> Tensor:  # noqa: ANN401 - whatever the user has
        """Return float32 (N, C, H, W) in 0..1."""
        reader = ImageReader(options=self._options)
        images = [self._pixels(reader, example, number) for number, example in enumerate(self._listed(examples))]
        encoded = np.empty((len(images), self._options.channels, *self._size), dtype=np.float32)
        for number, pixels in enumerate(images):
            encoded[number] = pixels[None] if pixels.ndim == _GREY else pixels.transpose(2, 0, 1)
        encoded /= self._divide_by
        return torch.from_numpy(encoded)

    def _listed(self, examples: Any) -> Iterable[Any]:  # noqa: ANN401 - as above
        """Return the images one by one; a single path, Pillow image or file's bytes is one of them, a Parquet or Arrow file is many."""
        if isinstance(examples, str | os.PathLike) and Path(examples).suffix in ARROW_SUFFIXES:
            return self._read_column(Path(examples))
        if isinstance(examples, str | os.PathLike | bytes | Image.Image):
            return [examples]
        if isinstance(examples, Tensor):
            examples = examples.detach().cpu().numpy()
        if isinstance(examples, np.ndarray) and (examples.ndim == _GREY or (examples.ndim == _COLOUR and examples.shape[-1] in _CHANNELS)):
            message = f"an array of shape {examples.shape} is one image; give a list of images, [image]"
            raise DataError(message)
        if not isinstance(examples, Iterable):
            message = f"images must be a list of paths, bytes, Pillow images or arrays, not a {type(examples).__name__}"
            raise DataError(message)
        return examples

    def _read_column(self, file: Path) -> Iterator[Path | EncodedImage]:
        """Yield the images of a Parquet or Arrow file: of the column that training read, or of its only one."""
        # pyarrow is not installed everywhere
        from autohas_trainer.data.arrow.image_column import find_image_column, open_image_column  # noqa: PLC0415

        column = open_image_column([file], find_image_column(file, self._column))
        return (column[row].load() for row in range(len(column)))

    def _pixels(self, reader: ImageReader, example: Any, number: int) -> Bytes:  # noqa: ANN401 - as above
        """Return one image (H, W) or (H, W, 3) of bytes."""
        if isinstance(example, bytes):
            return reader.read(EncodedImage(example, f"image {number}"), self._size)
        if isinstance(example, EncodedImage):
            return reader.read(example, self._size)
        if isinstance(example, str | os.PathLike):
            if not Path(example).is_file():
                message = f"{example} is no file; correct the path"
                raise DataError(message)
            return reader.read(Path(example), self._size)
        if isinstance(example, Image.Image):
            return reader.convert(ImageOps.exif_transpose(example), f"image {number}", self._size)
        array = np.asarray(example)
        if array.dtype != np.uint8 or not (array.ndim == _GREY or (array.ndim == _COLOUR and array.shape[-1] in _CHANNELS)):
            message = (
                f"image {number} is an array of {array.dtype} of shape {array.shape}; it must be uint8, (height, width) or"
                " (height, width, channels) with 1, 3 or 4 channels"
            )
            raise DataError(message)
        grey = array[..., 0] if array.ndim == _COLOUR and array.shape[-1] == 1 else array
        return reader.convert(Image.fromarray(grey), f"image {number}", self._size)

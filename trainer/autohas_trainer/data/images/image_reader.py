"""Reads one part of a batch of images: the same function of its request in every process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from autohas_api.spec.augmentation import Augmentation
from autohas_trainer.data.images.augmentation import ExampleKey, ImageAugmentation
from autohas_trainer.data.images.image_file import Bytes, ImageOptions, ImageReader

__all__ = ["BatchReader", "Pictures", "Request"]


class Request(NamedTuple):
    """Some neighbours of a batch: files, or pixels (B, C, H, W), with the key of each; no keys: they are evaluated."""

    pictures: Sequence[str] | Bytes
    keys: tuple[ExampleKey, ...]


class Pictures(NamedTuple):
    """What was read: images (B, C, H, W), and how many of them were converted in which way (see `ImageReader.notes`)."""

    images: Bytes
    counts: Counter[str]


@dataclass(slots=True)
class BatchReader:
    """Decodes images, brings them to one size, and augments those that have a key. It is sent to the processes that read."""

    options: ImageOptions
    size: tuple[int, int]
    augmentation: Augmentation | None
    _transforms: ImageAugmentation | None = field(default=None, init=False)

    def prepare(self) -> None:
        """Load the transforms, which takes seconds."""
        if self.augmentation is not None and self._transforms is None:
            self._transforms = ImageAugmentation.of(self.augmentation, self.size)

    def read(self, request: Request) -> Pictures:
        """Return the images of a request.

        Raises:
            DataError: A file cannot be read or decoded, or has another size and none is set; names it.
        """
        reader = ImageReader(options=self.options)
        images = np.empty((len(request.pictures), self.options.channels, *self.size), dtype=np.uint8)
        for index, picture in enumerate(request.pictures):
            key = request.keys[index] if request.keys else None
            pixels = np.asarray(self._finish(picture, reader, key), dtype=np.uint8)
            images[index] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # noqa: PLR2004 - grey has no channels
        return Pictures(images, reader.counts)

    def _finish(self, picture: str | Bytes, reader: ImageReader, key: ExampleKey | None) -> Image.Image:
        """Return one image as a network gets it, but for the numbers."""
        if isinstance(picture, str):
            file = Path(picture)
            image = reader.decode(file)
        else:
            file = Path()
            image = Image.fromarray(picture[0] if len(picture) == 1 else np.ascontiguousarray(picture.transpose(1, 2, 0)))
        if key is None or self.augmentation is None:
            return reader.fit(image, file, self.size)
        self.prepare()
        assert self._transforms is not None  # noqa: S101 - just prepared
        return self._transforms.apply(image if self._transforms.crops else reader.fit(image, file, self.size), key)

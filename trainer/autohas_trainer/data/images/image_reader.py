"""Reads one part of a batch of images: the same function of its request in every process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image

from autohas_api.spec.augmentation import Augmentation
from autohas_trainer.data.examples.protocol import Values
from autohas_trainer.data.images.augmentation import ExampleKey, ImageAugmentation
from autohas_trainer.data.images.image_file import Bytes, ImageOptions, ImageOrigin, ImageReader
from autohas_trainer.data.images.own_transform import OwnTransform
from autohas_trainer.data.images.stored import StoredImage

__all__ = ["BatchReader", "Pictures", "Request"]


class Request(NamedTuple):
    """Some neighbours of a batch: encoded images, or pixels (B, C, H, W), with the key of each; no keys: they are evaluated.

    `values` are what the search's own transform gets; None: it does not run. `rows` name pixels in errors.
    """

    pictures: Sequence[StoredImage] | Bytes
    keys: tuple[ExampleKey, ...]
    values: Values | None = None
    rows: tuple[int, ...] = ()


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
    transform: str | None = None
    """Entrypoint of the search's own transform."""
    _transforms: ImageAugmentation | None = field(default=None, init=False)

    def prepare(self) -> None:
        """Load the transforms, which takes seconds."""
        if self._transforms is None and (self.augmentation is not None or self.transform is not None):
            own = None if self.transform is None else OwnTransform(self.transform)
            self._transforms = ImageAugmentation.of(self.augmentation, self.size, own)

    def read(self, request: Request) -> Pictures:
        """Return the images of a request.

        Raises:
            DataError: An image cannot be read or decoded, or has another size and none is set; names it.
            ConfigurationError: The search's own transform fails on an image; names it.
        """
        reader = ImageReader(options=self.options)
        images = np.empty((len(request.pictures), self.options.channels, *self.size), dtype=np.uint8)
        for index, picture in enumerate(request.pictures):
            pixels = np.asarray(self._finish(picture, reader, request, index), dtype=np.uint8)
            images[index] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # noqa: PLR2004 - grey has no channels
        return Pictures(images, reader.counts)

    def _finish(self, picture: StoredImage | Bytes, reader: ImageReader, request: Request, index: int) -> Image.Image:
        """Return picture number `index` of a request as a network gets it, but for the numbers."""
        if isinstance(picture, np.ndarray):
            origin: ImageOrigin | str = f"in row {request.rows[index]} of the training images"
            image = Image.fromarray(picture[0] if len(picture) == 1 else np.ascontiguousarray(picture.transpose(1, 2, 0)))
        else:
            loaded = origin = picture.load()
            image = reader.decode(loaded)
        if request.keys:
            self.prepare()
        if not request.keys or self._transforms is None:
            return reader.fit(image, origin, self.size)
        fitted = image if self._transforms.crops else reader.fit(image, origin, self.size)
        return self._transforms.apply(fitted, request.keys[index], request.values, str(origin))

"""What is done at random to an image that makes gradients, by torchvision's transforms. Imported only where a search augments images.

The transforms draw from torch's global generator, so each example is transformed under a seed of its own: what becomes of it does not
depend on the process that reads it, nor on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from autohas_api.spec.augmentation import Augmentation
from autohas_trainer.seeding import stream

__all__ = ["ExampleKey", "ImageAugmentation"]

ExampleKey = tuple[int, int, int, int]
"""(seed, replica, step, position): names one example of one training batch."""


@dataclass(frozen=True, slots=True)
class ImageAugmentation:
    """The transforms of one search, for images that end as `size`, (height, width) px."""

    size: tuple[int, int]
    crops: bool
    """Whether an image is cropped to `size` at random, from any size; else it must have it."""
    _transform: Callable[[Any], Any]

    @classmethod
    def of(cls, spec: Augmentation, size: tuple[int, int]) -> ImageAugmentation:
        """Build the transforms, in torchvision's usual order: crop, flip, RandAugment."""
        from torchvision.transforms import v2  # noqa: PLC0415 - seconds long to import, and most searches do without

        transforms: list[Any] = []
        crop, policy = spec.random_resized_crop, spec.rand_augment
        if crop is not None:
            transforms.append(v2.RandomResizedCrop(size, scale=(float(crop.min_scale), 1.0)))
        if spec.horizontal_flip is not None:
            transforms.append(v2.RandomHorizontalFlip(float(spec.horizontal_flip)))
        if policy is not None:
            transforms.append(v2.RandAugment(policy.operations, policy.magnitude))
        return cls(size, crop is not None, v2.Compose(transforms) if transforms else _keep)

    def apply(self, image: Image.Image, key: ExampleKey) -> Image.Image:
        """Return the image as `key` draws it; torch's global generator is where it was."""
        seed, replica, step, position = key
        with torch.random.fork_rng(devices=[]):
            draw = int(stream(seed, "augment", replica, step, position).integers(2**63))
            torch.default_generator.manual_seed(draw)
            changed: Image.Image = self._transform(image)
            return changed


def _keep(image: Image.Image) -> Image.Image:
    return image

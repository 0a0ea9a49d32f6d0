"""What is done at random to an image that makes gradients, by torchvision's transforms and by custom code. Imported only where used.

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
from autohas_trainer.data.examples.protocol import Values
from autohas_trainer.data.images.own_transform import OwnTransform
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
    _own: OwnTransform | None

    @classmethod
    def of(cls, spec: Augmentation | None, size: tuple[int, int], own: OwnTransform | None = None) -> ImageAugmentation:
        """Build the transforms, in torchvision's usual order: crop, flip, RandAugment; `own` comes last."""
        if spec is None:
            return cls(size, crops=False, _transform=_keep, _own=own)
        from torchvision.transforms import v2  # noqa: PLC0415 - seconds long to import, and most searches do without

        transforms: list[Any] = []
        crop, policy = spec.random_resized_crop, spec.rand_augment
        if crop is not None:
            transforms.append(v2.RandomResizedCrop(size, scale=(float(crop.min_scale), 1.0)))
        if spec.horizontal_flip is not None:
            transforms.append(v2.RandomHorizontalFlip(float(spec.horizontal_flip)))
        if policy is not None:
            transforms.append(v2.RandAugment(policy.operations, policy.magnitude))
        return cls(size, crop is not None, v2.Compose(transforms) if transforms else _keep, own)

    def apply(self, image: Image.Image, key: ExampleKey, values: Values | None, place: str) -> Image.Image:
        """Return the image as `key` draws it; torch's global generator is where it was.

        Raises:
            ConfigurationError: Custom code fails on it; names `place`, where the image lies.
        """
        seed, replica, step, position = key
        with torch.random.fork_rng(devices=[]):
            rng = stream(seed, "augment", replica, step, position)
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            changed: Image.Image = self._transform(image)
            return changed if self._own is None or values is None else self._own.apply(changed, rng, dict(values), place)


def _keep(image: Image.Image) -> Image.Image:
    return image

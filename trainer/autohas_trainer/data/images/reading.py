"""Where images lie between steps, and what is done to those that make gradients, as the fields of `task.data` say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from autohas_api.spec.augmentation import Augmentation
from autohas_trainer.errors import DataError

__all__ = ["AS_FITS", "WHITE_LEVEL", "ImageReading"]

WHITE_LEVEL: Final = 255
"""Bytes of pixels are divided by it."""
_MAX_GIB: Final = 8
"""Of float32 pixels: images up to this size are held in memory, as bytes, a quarter of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReading:
    """What a search says about it; `loading` None: in memory what fits there and is not cropped."""

    loading: str | None = None
    workers: int = 0
    augmentation: Augmentation | None = None
    transform: str | None = None
    """Entrypoint of the search's own transform."""

    @property
    def of_examples(self) -> Augmentation | None:
        """The augmentation that changes single images; CutMix, which changes batches, is the training's."""
        return self.augmentation if self.augmentation is not None and self.augmentation.changes_examples else None

    @property
    def changes_examples(self) -> bool:
        """Whether single images are changed, by the augmentation or by custom code."""
        return self.of_examples is not None or self.transform is not None

    def reads_files(self, number: int, size: tuple[int, int], channels: int, name: str) -> bool:
        """Whether `number` images of `size` are decoded for each batch.

        A crop is taken from the original, so images that are cropped are files unless the search says otherwise.

        Raises:
            DataError: They shall be in memory and are too large.
        """
        gib = number * size[0] * size[1] * channels * 4 / 2**30
        if self.loading == "Resident" and gib > _MAX_GIB:
            message = (
                f"{name}: {number} images of {size[0]}x{size[1]} px are {gib:.1f} GiB as float32, more than the {_MAX_GIB} that are held"
                " in memory; set task.data.loading to Files, or a smaller task.data.arguments.size"
            )
            raise DataError(message)
        if self.loading is not None:
            return self.loading == "Files"
        return gib > _MAX_GIB or (self.augmentation is not None and self.augmentation.random_resized_crop is not None)

    def notes(self, *, is_per_batch: bool) -> Iterator[str]:
        """Yield a sentence about workers that have nothing to do."""
        if self.workers and not is_per_batch:
            yield f"task.data.workers: {self.workers} is not used: the images are in memory and are not augmented"


AS_FITS: Final = ImageReading()

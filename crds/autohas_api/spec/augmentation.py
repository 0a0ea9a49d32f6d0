"""`spec.task.data.augmentation`: random changes of images that make gradients, by the names of torchvision."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from autohas_api.base.expressions import Expression, field
from autohas_api.base.model import Decimal, Model, Rule
from autohas_api.base.rules import between, rule

__all__ = ["Augmentation", "RandAugment", "RandomResizedCrop"]

_MAX_ALPHA: Final = 100


def _is_positive(name: str, most: int) -> Expression:
    return (field(name).number > 0) & (field(name).number <= most)


class RandomResizedCrop(Model):
    """Random part of the image, resized to the size of the inputs."""

    min_scale: Decimal = Field(
        default="0.08",
        description="Smallest area of the part as a fraction of the image, a decimal greater than 0 and at most 1. "
        "Aspects are between 3/4 and 4/3.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        rule(_is_positive("minScale", 1), "minScale must be greater than 0 and at most 1", at=".minScale"),
    )


class RandAugment(Model):
    """Random operations of RandAugment on colours and geometry."""

    operations: int = Field(default=2, ge=1, le=8, description="Number of operations per image.")
    magnitude: int = Field(default=9, ge=0, le=30, description="Strength of the operations.")


class Augmentation(Model):
    """Random changes of the training images."""

    random_resized_crop: RandomResizedCrop | None = Field(
        default=None, description="Random part of the image, resized to the size of the inputs."
    )
    horizontal_flip: Decimal | None = Field(default=None, description="Probability with which an image is mirrored, a decimal from 0 to 1.")
    rand_augment: RandAugment | None = Field(default=None, description="Random operations of RandAugment on colours and geometry.")
    cut_mix: Decimal | None = Field(
        default=None,
        description="Alpha of CutMix in trainings outside the supernet, a decimal greater than 0 and at most 100. If recipe.mixup is "
        "greater than 0 too, each batch takes one of both with equal probability.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        between("horizontalFlip", 0, 1, is_optional=True),
        rule(
            ~field("cutMix").is_given | _is_positive("cutMix", _MAX_ALPHA),
            f"cutMix must be greater than 0 and at most {_MAX_ALPHA}",
            at=".cutMix",
        ),
    )

    @property
    def changes_examples(self) -> bool:
        """Whether single images are changed, before they are a batch."""
        return any(part is not None for part in (self.random_resized_crop, self.horizontal_flip, self.rand_augment))

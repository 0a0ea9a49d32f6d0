"""A custom augmentation, which paints over a square of the image, as in Cutout (DeVries and Taylor 2017)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

GREY = 128


def cut_out(example: Image.Image, rng: np.random.Generator, values: Mapping[str, str]) -> Image.Image:
    """Return the image with a grey square of `hole` px somewhere; what is random is drawn from `rng` only."""
    hole = int(values["hole"])
    pixels = np.array(example)
    if hole:
        top, left = (int(rng.integers(0, side - hole + 1)) for side in pixels.shape[:2])
        pixels[top : top + hole, left : left + hole] = GREY
    return Image.fromarray(pixels)

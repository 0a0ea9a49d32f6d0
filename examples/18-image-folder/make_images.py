"""Draws a folder of JPEGs for this example: discs, squares and triangles in any colour, 40 to 90 px wide and high.

python make_images.py FOLDER [IMAGES_PER_CLASS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("disc", "square", "triangle")


def draw(label: str, rng: np.random.Generator) -> Image.Image:
    """Return one shape on a noisy ground of another colour."""
    width, height = (int(side) for side in rng.integers(40, 91, 2))
    ground, ink = (tuple(int(level) for level in rng.integers(0, 256, 3)) for _ in range(2))
    image = Image.new("RGB", (width, height), ground)
    radius = min(width, height) * float(rng.uniform(0.25, 0.4))
    x, y = width / 2 + float(rng.normal(0, 3)), height / 2 + float(rng.normal(0, 3))
    pen = ImageDraw.Draw(image)
    if label == "disc":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    else:
        pen.regular_polygon((x, y, radius), n_sides=4 if label == "square" else 3, rotation=float(rng.uniform(-20, 20)), fill=ink)
    noise = rng.normal(0, 12, (height, width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def main() -> None:
    """Write FOLDER/CLASS/NUMBER.jpg."""
    folder, number = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300  # noqa: PLR2004 - the second argument
    rng = np.random.default_rng(0)
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(number):
            draw(label, rng).save(folder / label / f"{index:04}.jpg", quality=90)


if __name__ == "__main__":
    main()

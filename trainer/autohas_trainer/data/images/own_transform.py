"""`task.data.trainTransform`: custom code that changes one training image at random.

    transform(example, rng, values) -> example

`example` is a Pillow image of the size of the inputs, after the built-in augmentation; the result is such an image, or its pixels as bytes,
(H, W) or (H, W, 3). `rng` is a numpy generator keyed by (seed, "augment", replica, step, position), and torch's global generator is seeded
by it, so that torchvision's transforms may be used. `values` are the custom hyperparameters of the candidate, by name, as strings; those of
the default configuration in the supernet. It runs in the processes that read, so results do not depend on their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from PIL import Image

from autohas_trainer.entrypoints import attribute_errors_to, load_object, require_names
from autohas_trainer.errors import ConfigurationError

__all__ = ["FIELD", "OwnTransform"]

FIELD: Final = "task.data.trainTransform"
_PARAMETERS: Final = ("example", "rng", "values")
_WRAPPER: Final = "def transform(example, rng, values):\n    return ...  # hand them on as the other function wants them"


class OwnTransform:
    """The function of an entrypoint, and the checks of what it gives."""

    def __init__(self, entrypoint: str) -> None:
        """Import the function.

        Raises:
            ConfigurationError: It does not exist, or does not take the parameters by name.
        """
        self._who = f"{FIELD} {entrypoint}"
        self._function: Callable[..., Any] = load_object(entrypoint, FIELD)
        require_names(self._function, _PARAMETERS, self._who, _WRAPPER, explicit=True)

    def apply(self, image: Image.Image, rng: np.random.Generator, values: Mapping[str, str], place: str) -> Image.Image:
        """Return the changed image; `place` says where the example lies.

        Raises:
            ConfigurationError: The function raised, or gave no image of the same size and mode; names the example and the values.
        """
        mode, size = image.mode, image.size
        shown = ", ".join(f"{name}={value}" for name, value in values.items())
        example = f"the example {place}" + (f" with {shown}" if shown else "")
        with attribute_errors_to(self._who, f"changing {example}"):
            changed: object = self._function(example=image, rng=rng, values=dict(values))
        if isinstance(changed, np.ndarray) and changed.dtype == np.uint8 and changed.shape == np.asarray(image).shape:
            return Image.fromarray(changed)
        if not isinstance(changed, Image.Image) or (changed.mode, changed.size) != (mode, size):
            message = (
                f"{self._who}: changing {example} gave {_describe(changed)}; it must give a Pillow image of mode {mode} and"
                f" {size[1]}x{size[0]} px, or its pixels as an array of uint8"
            )
            raise ConfigurationError(message)
        return changed


def _describe(value: object) -> str:
    if isinstance(value, Image.Image):
        return f"an image of mode {value.mode} and {value.height}x{value.width} px"
    return f"an array of {value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"

"""The record preprocessing.json: how a raw example becomes a row of inputs, and how an output becomes an answer.

With the weights and config.yaml it is all that a prediction needs. `data` is what the source did (columns and words of a table, size and
background of images), `inputs` the moments of the train split and the shape that the network takes, `target` the names of the classes or
the unit of a number. Numbers are exact: JSON keeps every digit of a float64.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from autohas_trainer.data.raw import Floats, RawData

__all__ = ["PREPROCESSING_FILE", "preprocessing_record"]

PREPROCESSING_FILE: Final = "preprocessing.json"
_FORMAT: Final = 1


def preprocessing_record(
    raw: RawData, moments: tuple[Floats, Floats] | None, target_mean: float, target_deviation: float
) -> dict[str, Any]:
    """Return what preprocessing.json says.

    Args:
        raw: The data, which know how a raw example is encoded.
        moments: Mean and deviation (C,) of each channel over the train split, in the type in which they are applied; None where inputs are
            used as they are.
        target_mean: Mean of a regression's target over the train split; unused for classes.
        target_deviation: Its deviation.
    """
    inputs: dict[str, Any] = {
        "shape": list(raw.inputs.shape[1:]),
        "type": "int64" if np.issubdtype(raw.number_type, np.integer) else "float32",
    }
    if moments is not None:
        mean_C, deviation_C = moments
        inputs |= {"computedIn": str(mean_C.dtype), "mean": mean_C.tolist(), "deviation": deviation_C.tolist()}
    target: dict[str, Any] = {"kind": "number", "mean": target_mean, "deviation": target_deviation}
    if raw.num_classes is not None:
        target = {"kind": "classes", "classes": list(raw.classes or map(str, range(raw.num_classes)))}
    return {"format": _FORMAT, "data": dict(raw.preprocessing), "inputs": inputs, "target": target}

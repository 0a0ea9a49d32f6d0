"""The record preprocessing.json: how a raw example becomes a row of inputs, and how an output becomes an answer.

With the weights and config.yaml it is all that a prediction needs. `data` is what the source did (columns and words of a table, size and
background of images), `inputs` the moments of the train split and the shape that the network takes, `target` the names of the classes or
the unit of a number. Numbers are exact: JSON keeps every digit of a float64.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from autohas_trainer.data.raw import Floats, RawData
from autohas_trainer.data.targets import TargetKind
from autohas_trainer.errors import DataError

__all__ = ["PREPROCESSING_FILE", "WordBlock", "preprocessing_record", "read_preprocessing", "word_blocks"]

PREPROCESSING_FILE: Final = "preprocessing.json"
_FORMAT: Final = 1


class WordBlock(NamedTuple):
    """Neighbouring inputs, one for each word of a column: 1 for the word of the example, else 0."""

    start: int
    size: int


_KINDS: Final = {TargetKind.CLASS: "classes", TargetKind.TOKENS: "tokens", TargetKind.LABELS: "labels", TargetKind.SHARES: "shares"}


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
        target = {"kind": _KINDS[raw.target_kind], "classes": list(raw.classes or map(str, range(raw.num_classes)))}
    elif raw.target_kind is TargetKind.NUMBERS:
        target |= {"kind": "numbers", "shape": list(raw.targets_N.shape[1:])}
    return {"format": _FORMAT, "data": dict(raw.preprocessing), "inputs": inputs, "target": target}


def word_blocks(data: Mapping[str, Any]) -> tuple[WordBlock, ...]:
    """Return where the words of each column of words lie among the inputs, by the section `data` of the record; () for no table."""
    blocks, start = [], 0
    for column in data.get("columns", ()):
        is_words = column["type"] == "words"
        size = len(column["words"]) if is_words else 1 + column["marksMissing"]
        if is_words:
            blocks.append(WordBlock(start, size))
        start += size
    return tuple(blocks)


def read_preprocessing(folder: Path) -> dict[str, Any]:
    """Return the record in the folder of a finished search.

    Raises:
        DataError: The file is missing, damaged, or of another version of AutoHAS; names it.
    """
    path = folder / PREPROCESSING_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        written = record["format"]
        sections = {name: record[name] for name in ("data", "inputs", "target")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} cannot be read: {type(error).__name__}: {error}"
        raise DataError(message) from error
    if written != _FORMAT:
        version = importlib.metadata.version("autohas")
        message = f"{path} has format {written}, AutoHAS {version} reads format {_FORMAT}: read it with the version that wrote it"
        raise DataError(message)
    return {"format": written, **sections}

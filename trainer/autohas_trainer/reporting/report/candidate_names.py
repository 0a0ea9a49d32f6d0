"""Explains the names of candidates in the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["CANDIDATES", "explain_candidates"]

CANDIDATES: Final[Mapping[str, str]] = {
    "default": "your configuration as you wrote it; it is the result unless another one beat it on held-out data",
    "lane": "a short training of the first stage, which compares hyperparameters; its number says which one it was",
    "initial": "a configuration of spec.searchSpace.initialPoints, numbered as they stand there",
    "default architecture": "the default architecture with the hyperparameters of the best lane",
    "argmax": "the likeliest choice for every decision when the controller had finished learning",
    "expectation": "the mean of each hyperparameter under what the controller had learned",
    "sample": "a configuration drawn at random from what the controller had learned; sample 1 is the likeliest of those drawn",
    "trial": "a configuration drawn at random, numbered as they were drawn",
}
"""Explanation by the name without its number."""


def explain_candidates(names: Iterable[str], *, overrides: Mapping[str, str]) -> dict[str, str]:
    """A sentence for each kind of candidate among `names`, in the order of the table; `overrides` are the algorithm's own sentences."""
    kinds = {re.sub(r" \d+$", "", name) for name in names}
    table = {**CANDIDATES, **overrides}
    numbered = {"lane", "initial", "sample", "trial"}
    return {f"{kind} …" if kind in numbered else kind: text for kind, text in table.items() if kind in kinds}

"""Explains the names of candidates in the report."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

__all__ = ["CANDIDATES", "explain_candidates"]

CANDIDATES: Final[Mapping[str, str]] = {
    "default": "your configuration as you wrote it; it is the result unless another one beat it on held-out data",
    "lane": "a short training of the first stage, which compares hyperparameters; its number says which one it was",
    "initial": "a configuration of spec.searchSpace.initialPoints, numbered as they stand there",
    "combination": "the changes that helped on their own, together: all of them, or the best two, three or half",
    "refinement": "a configuration near the best one so far: one more step along a change, one change taken back, or one more change",
    "default architecture": "the default architecture with the hyperparameters of the best lane",
    "argmax": "the likeliest choice for every decision when the controller had finished learning",
    "expectation": "the mean of each hyperparameter under what the controller had learned",
    "sample": "a configuration drawn at random from what the controller had learned; sample 1 is the likeliest of those drawn",
    "trial": "a configuration drawn at random, numbered as they were drawn",
}
"""Explanation by the name without its number."""
_CHANGE: Final = ("a decision and its value", "the default with this one decision changed")


def explain_candidates(names: Iterable[str], *, overrides: Mapping[str, str], decisions: Collection[str]) -> dict[str, str]:
    """A sentence for each kind of candidate among `names`, in the order of the table; `overrides` are the algorithm's own sentences.

    A candidate may also have the name of the one change that it is: one of `decisions` and its value.
    """
    table = {**CANDIDATES, **overrides}
    kinds = {name: re.sub(r" \d+$", "", name) for name in names}
    changes = [name for name, kind in kinds.items() if kind not in table and re.split(r":? ", name)[0] in decisions]
    numbered = {"lane", "initial", "sample", "trial", "combination", "refinement"}
    explained = {f"{kind} …" if kind in numbered else kind: text for kind, text in table.items() if kind in kinds.values()}
    return {**explained, **({_CHANGE[0]: _CHANGE[1]} if changes else {})}

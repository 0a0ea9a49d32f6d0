"""Operations of the fake cluster on JSON documents and lists of them. Pure."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from autohas_operator.records.observed import Document

T = TypeVar("T")


def nth_order(items: Sequence[T], number: int) -> list[T]:
    """The order with this number (modulo their count) in the lexicographic enumeration of all orders; 0 keeps the items as they are."""
    rest, order = list(items), []
    number %= math.factorial(len(rest))
    while rest:
        index, number = divmod(number, math.factorial(len(rest) - 1))
        order.append(rest.pop(index))
    return order


def merge(document: dict[str, Any], patch: Document) -> None:
    """A JSON merge patch that deletes nothing."""
    for name, value in patch.items():
        if isinstance(value, dict) and isinstance(document.get(name), dict):
            merge(document[name], value)
        else:
            document[name] = copy.deepcopy(value)


def is_selected(document: Mapping[str, Any], labels: str | None) -> bool:
    """A label selector of one term: `name` or `name=value`."""
    name, _, value = (labels or "").partition("=")
    own = document["metadata"].get("labels", {})
    return not name or (name in own and value in ("", own[name]))

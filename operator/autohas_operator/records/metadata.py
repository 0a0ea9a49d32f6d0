"""Parts that Jobs and pods share, read from their documents: owner, counts in labels and annotations, conditions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from autohas_operator.lenient import get_objects, get_text
from autohas_operator.wording import epoch

_Document: TypeAlias = Mapping[str, Any]
_MAX_DIGITS: Final = 15


def controller_of(metadata: _Document) -> _Document:
    """The controlling owner reference, empty when there is none."""
    return next((owner for owner in get_objects(metadata, "ownerReferences") if owner.get("controller")), {})


def read_count(written: _Document, name: str) -> int:
    """The count in a label or annotation; 0 if it is not a number."""
    return read_number(get_text(written, name))


def read_number(digits: str) -> int:
    """A number of at most 15 digits; 0 for any other text."""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS else 0


def true_conditions(status: _Document) -> dict[str, _Document]:
    """The conditions that are True, by type."""
    return {get_text(c, "type"): c for c in get_objects(status, "conditions") if c.get("status") == "True"}


def resumed_s(status: _Document) -> float | None:
    """When a Job was last resumed after a suspension, in seconds since the epoch; None if it never was."""
    conditions = get_objects(status, "conditions")
    ended: _Document = next((c for c in conditions if c.get("type") == "Suspended" and c.get("status") == "False"), {})
    return epoch(ended.get("lastTransitionTime"))

"""Lenient readers of documents that others wrote: a field of another type counts as absent. Pure.

One malformed object must never keep the operator from reading all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

_Document: TypeAlias = Mapping[str, Any]


def get_object(document: _Document, name: str) -> _Document:
    """The object under a name; empty when there is none."""
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def get_objects(document: _Document, name: str) -> list[_Document]:
    """The objects in the list under a name; items of other types are left out."""
    value = document.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def get_text(document: _Document, name: str, default: str = "") -> str:
    """The string under a name."""
    value = document.get(name)
    return value if isinstance(value, str) else default


def get_int(document: _Document, name: str, default: int) -> int:
    """The integer under a name; true and false are not integers."""
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def get_optional_int(document: _Document, name: str) -> int | None:
    """The integer under a name, or None."""
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None

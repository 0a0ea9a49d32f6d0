"""Reading documents that others wrote: what is missing, or is not of the kind asked for, counts as absent. Pure.

One object that is odd must never keep the operator from looking at all the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

_Document: TypeAlias = Mapping[str, Any]


def get_object(document: _Document, name: str) -> _Document:
    """A part of a document; empty when there is none."""
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def get_objects(document: _Document, name: str) -> list[_Document]:
    """The parts that are listed under a name."""
    found = document.get(name)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def get_text(document: _Document, name: str, default: str = "") -> str:
    """A text of a document."""
    found = document.get(name)
    return found if isinstance(found, str) else default


def get_int(document: _Document, name: str, default: int) -> int:
    """A whole number of a document; true and false are none."""
    found = document.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def get_optional_int(document: _Document, name: str) -> int | None:
    """A whole number of a document, if there is one."""
    found = document.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None

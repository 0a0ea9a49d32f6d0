"""The fields that exist at a place of a model: what to offer somebody who wrote one that does not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel

_MOST_LISTED: Final = 12
"""A longer list is no help in a sentence."""


def offered(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """What stands instead of the unknown field at `location`: the nearest name, or all when there are few; empty if neither."""
    *place, wrong = location
    holder = model_at(model, place)
    if holder is None:
        return ""
    names = sorted(field.alias or name for name, field in holder.model_fields.items())
    if not names:
        return "there are none here"
    near = difflib.get_close_matches(str(wrong), names, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known are {', '.join(names)}" if len(names) <= _MOST_LISTED else ""


def model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that describes the object at `location`; None where there is none, as inside a free mapping."""
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for name, f in model.model_fields.items() if part in (name, f.alias)), None)
        inner = None if field is None else _inner(field.annotation)
        if inner is None:
            return None
        model = inner
    return model


def _inner(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any type expression
    """The model inside `list[X]`, `X | None`, `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _inner(part)) is not None), None)

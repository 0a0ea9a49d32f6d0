"""Lookup of fields at a place of a model: suggestions for an unknown name, and nulls that the API server drops. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

FORMER_NAMES: Final[Mapping[str, str]] = {
    "spec.retrain": "training",
    "spec.cleanup.jobTTLSeconds": "ttlSecondsAfterFinished",
    "spec.searchSpace.initialConfigurations": "initialPoints",
    "spec.budget.stop": "earlyStopping",
}
"""Fields that were renamed: JSON path of the former name, and the present name at the same place."""
_MOST_LISTED: Final = 12
"""A longer list is no help in a sentence."""


def suggest_fields(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """Names instead of the unknown one at `location`: the present one of a renamed field, the nearest, or all if few; else empty."""
    if (renamed := FORMER_NAMES.get(".".join(map(str, location)))) is not None:
        return f'it is now "{renamed}"'
    *place, wrong = location
    holder = model_at(model, place)
    if holder is None:
        return ""
    names = sorted(field.alias or name for name, field in holder.model_fields.items())
    if not names:
        return "there are none here"
    bare = {_bare(name): name for name in names}
    near = difflib.get_close_matches(_bare(str(wrong)), bare, n=1)
    if near:
        return f'did you mean "{bare[near[0]]}"?'
    if len(names) == 1:
        return f"the only one here is {names[0]}"
    return f"known are {', '.join(names)}" if len(names) <= _MOST_LISTED else ""


def _bare(name: str) -> str:
    """A name without what differs between spellings: `num_bases`, `num-bases` and `numbases` are `numBases`."""
    return name.replace("_", "").replace("-", "").lower()


def without_nulls(document: Any, model: type[BaseModel]) -> Any:  # noqa: ANN401 - any JSON value
    """The document without the nulls that the API server drops: those of known fields and of entries of free-form mappings.

    A field with a default then has it, a required field is missing. An unknown field stays, and so does a null inside a list: the
    server refuses both. (Source: the API server's PruneNonNullableNullsWithoutDefaults, before it fills in defaults.)
    """
    if not isinstance(document, Mapping):
        return document
    shapes = _shapes(model)
    return {
        key: _inside(value, *shapes[key]) if key in shapes else value
        for key, value in document.items()
        if value is not None or key not in shapes
    }


@cache
def _shapes(model: type[BaseModel]) -> Mapping[str, tuple[type[BaseModel] | None, bool]]:
    """By name in JSON: the model inside the field, and whether the field is a free-form mapping."""
    fields = ((field.alias or name, field.annotation) for name, field in model.model_fields.items())
    return {alias: (_inner(annotation), _is_mapping(annotation)) for alias, annotation in fields}


def _inside(value: Any, inner: type[BaseModel] | None, is_mapping: bool) -> Any:  # noqa: ANN401, FBT001 - any JSON value; as `_shapes` has it
    if isinstance(value, list):
        return value if inner is None else [without_nulls(item, inner) for item in value]
    if inner is not None:
        return without_nulls(value, inner)
    if isinstance(value, Mapping) and is_mapping:
        return {key: item for key, item in value.items() if item is not None}
    return value


def _is_mapping(annotation: Any) -> bool:  # noqa: ANN401 - any type expression
    return get_origin(annotation) is dict or any(_is_mapping(part) for part in get_args(annotation))


def model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that describes the object at `location`; None if there is none, as inside a free-form mapping."""
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for name, f in model.model_fields.items() if part == (f.alias or name)), None)
        inner = None if field is None else _inner(field.annotation)
        if inner is None:
            return None
        model = inner
    return model


def _inner(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any type expression
    """The model inside `list[X]`, `X | None`, `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _inner(part)) is not None), None)

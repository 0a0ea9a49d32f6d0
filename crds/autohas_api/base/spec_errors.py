"""Errors of a spec, in the words of the API server.

`kubectl apply` and `autohas run` must report the same errors of the same file, so this module translates pydantic's errors to the
sentences that the API server uses for a schema violation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from autohas_api.base.entrypoint_form import ENTRYPOINT_PATTERN, explain_entrypoint
from autohas_api.base.field_lookup import FORMER_NAMES, suggest_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One wrong field, as Kubernetes' `field.Error`: its JSON path and what is allowed there; `wants_text` where that is text."""

    path: str
    message: str
    wants_text: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class SpecError(Exception):
    """The search's own text is wrong; a retry cannot help. `field_errors` has at least one entry."""

    def __init__(self, field_errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in field_errors))
        self.field_errors = tuple(field_errors)


def json_path(location: Sequence[int | str]) -> str:
    """`("spec", "volumes", 0, "name")` as `spec.volumes[0].name`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in ("[key]", *_ALTERNATIVES):
            path += f".{part}" if path else part
    return path


def format_value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value as JSON, truncated to 120 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = json.dumps(str(value))
    return text if len(text) <= 120 else text[:117] + '..."'  # noqa: PLR2004 - enough to recognise it


_ALTERNATIVES: Final = {"constrained-int": int, "constrained-str": str}
"""Parts that pydantic adds to the path of a value that may be a number or a string (quantities)."""
_TYPE_NAMES: Final = {
    "string_type": "string",
    "int_type": "integer",
    "bool_type": "boolean",
    "list_type": "array",
    "tuple_type": "array",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "float_type": "number",
}
_BOUNDS: Final = {
    "string_pattern_mismatch": "should match '{pattern}'",
    "string_too_long": "should be at most {max_length} chars long",
    "string_too_short": "should be at least {min_length} chars long",
    "greater_than_equal": "should be greater than or equal to {ge}",
    "less_than_equal": "should be less than or equal to {le}",
    "too_long": "should have at most {max_length} items",
    "too_short": "should have at least {min_length} items",
}


def _sentence(error: ErrorDetails, path: str) -> str:
    """The API server's sentence for one pydantic error."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    start = f"Invalid value: {format_value(value)}"
    if kind == "missing":
        return "Required value"
    if kind == "extra_forbidden":
        return "unknown field"
    if kind in ("literal_error", "enum"):
        allowed = str(context.get("expected", "")).replace("'", '"').replace(" or ", ", ")
        return f"Unsupported value: {format_value(value)}: supported values: {allowed}"
    if kind in _BOUNDS:
        why = explain_entrypoint(value) if context.get("pattern") == ENTRYPOINT_PATTERN else None
        return f"{start}: {path} in body {_BOUNDS[kind].format(**context)}{'' if why is None else f': {why}'}"
    if kind in _TYPE_NAMES:
        hint = _hint_decimal(value) if _TYPE_NAMES[kind] == "string" else ""
        return f"{start}: {path} in body must be of type {_TYPE_NAMES[kind]}{hint}"
    return f"{start}: {error['msg']}"


def _is_other_alternative(part: int | str, value: int | str) -> bool:
    """Whether an error is about the alternative of another type: a string that is no quantity is not also reported as no number."""
    return isinstance(part, str) and part in _ALTERNATIVES and not isinstance(value, _ALTERNATIVES[part])


def _hint_decimal(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f': a number must be a quoted decimal, for example "{value}"'
    return ""


def _present_path(location: Sequence[int | str]) -> str | None:
    """Path of the field that one with a former name at `location` has become; None where the name is no former one."""
    present = FORMER_NAMES.get(json_path(location))
    return None if present is None else json_path((*location[:-1], present))


def field_errors_of(error: ValidationError, model: type[BaseModel] | None = None) -> tuple[FieldError, ...]:
    """Pydantic's errors, in the order of the fields. With `model`, the validated model, unknown names come with suggestions."""
    field_errors = []
    errors = error.errors(include_url=False)
    renamed = {_present_path(detail["loc"]) for detail in errors if detail["type"] == "extra_forbidden"}
    for detail in errors:
        if detail["type"] == "missing" and json_path(detail["loc"]) in renamed:
            continue  # it is there under its former name, and that sentence says the new one
        if isinstance(detail["input"], int | str) and detail["loc"] and _is_other_alternative(detail["loc"][-1], detail["input"]):
            continue
        path = json_path(detail["loc"])
        offer = suggest_fields(model, detail["loc"]) if model is not None and detail["type"] == "extra_forbidden" else ""
        wants_text = detail["type"] == "string_type" or (detail["type"] == "literal_error" and not isinstance(detail["input"], str))
        field_errors.append(FieldError(path=path, message="; ".join(filter(None, (_sentence(detail, path), offer))), wants_text=wants_text))
    return tuple(field_errors)

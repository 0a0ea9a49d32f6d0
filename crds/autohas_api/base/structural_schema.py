"""From a contract model to a Kubernetes structural schema.

pydantic's JSON schema has $defs, anyOf with null, const and other forms that an API server refuses. This module converts
them to the forms that it accepts, and adds the rules of the models as CEL and the defaults of nested objects. Pure.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from autohas_api.base.model import Model, Rule

MAX_COUNT: Final = 2**53 - 1
"""The largest number that JSON readers keep exactly: as a maximum it says no more than that there is one."""
_KEPT: Final = (
    "type",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)


def structural_schema(model: type[Model]) -> dict[str, Any]:
    """The structural schema of a model with descriptions, defaults and rules."""
    return _object(model)


def cel(rules: tuple[Rule, ...]) -> list[dict[str, str]]:
    """Rules in the CRD's form."""
    rendered = []
    for rule in rules:
        if not rule.expression:
            continue
        entry = {"rule": rule.expression, "message": rule.message}
        if rule.message_expression:
            entry["messageExpression"] = rule.message_expression
        if rule.field_path:
            entry["fieldPath"] = rule.field_path
        rendered.append(entry)
    return rendered


def _object(model: type[Model]) -> dict[str, Any]:
    raw = model.model_json_schema(by_alias=True, mode="validation")
    definitions = raw.get("$defs", {})
    schema: dict[str, Any] = {"type": "object"}
    properties = {}
    for name, field in model.model_fields.items():
        alias = field.alias or name
        properties[alias] = _field(raw["properties"][alias], field, definitions)
    if properties:
        schema["properties"] = properties
    if required := [f.alias or n for n, f in model.model_fields.items() if f.is_required()]:
        schema["required"] = required
    if model.rules:
        schema["x-kubernetes-validations"] = cel(model.rules)
    return schema


def _field(raw: dict[str, Any], field: FieldInfo, definitions: dict[str, Any]) -> dict[str, Any]:
    nested = _nested_model(field.annotation)
    schema = _object(nested) if nested is not None else _plain(raw, definitions, _item_model(field.annotation))
    default = _default(raw, field)
    if default is not None:
        schema["default"] = default
    description = field.description or (_summary(nested) if nested is not None else None)
    return {"description": f"{description}{bounds(schema)}", **schema} if description else schema


def bounds(schema: dict[str, Any]) -> str:
    """Default and range of a scalar field as sentences that follow its description: `kubectl explain` shows neither by itself."""
    default, low, high = schema.get("default"), schema.get("minimum"), schema.get("maximum")
    sentences = []
    if isinstance(default, str | int) and default != "":
        sentences.append(f" Defaults to {json.dumps(default)}." if isinstance(default, bool) else f" Defaults to {default}.")
    if high is not None and schema.get("type") == "integer" and high < MAX_COUNT:
        sentences.append(f" Minimum {low}, maximum {high}.")
    return "".join(sentences)


def _default(raw: dict[str, Any], field: FieldInfo) -> Any:  # noqa: ANN401 - any JSON value
    """A static default. Nested objects are written out whole: rules run on a default before it is completed."""
    if "default" in raw and raw["default"] is not None:
        return raw["default"]
    if field.default_factory is None:
        return None if field.default is PydanticUndefined else field.default
    value = field.default_factory()  # type: ignore[call-arg]  # no factory of the contract takes the data
    return value.to_json() if isinstance(value, Model) else value


def _models_in(annotation: Any) -> list[type[Model]]:  # noqa: ANN401 - a type form
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Model) else []
    arguments = getattr(annotation, "__args__", ())
    return [model for argument in arguments for model in _models_in(argument)]


def _is_list(annotation: Any) -> bool:  # noqa: ANN401 - a type form
    origin = getattr(annotation, "__origin__", None)
    return origin in (list, tuple, dict) or any(_is_list(a) for a in getattr(annotation, "__args__", ()))


def _nested_model(annotation: Any) -> type[Model] | None:  # noqa: ANN401 - a type form
    models = _models_in(annotation)
    return models[0] if models and not _is_list(annotation) else None


def _item_model(annotation: Any) -> type[Model] | None:  # noqa: ANN401 - a type form
    models = _models_in(annotation)
    return models[0] if models and _is_list(annotation) else None


def _plain(raw: dict[str, Any], definitions: dict[str, Any], item: type[Model] | None) -> dict[str, Any]:
    """A scalar, list or map; `item` is the model of a list's items."""
    raw = _without_null(raw, definitions)
    if "anyOf" in raw:
        return {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}], **_bounds_of_both(raw)}
    schema: dict[str, Any] = {key: raw[key] for key in _KEPT if key in raw}
    if "const" in raw:
        schema["enum"] = [raw["const"]]
    if schema.get("type") == "integer":
        schema["format"] = "int64"
    if schema.get("type") == "array":
        schema["items"] = _object(item) if item is not None else _plain(raw["items"], definitions, None)
    if schema.get("type") == "object":
        if "maxProperties" not in schema and "maxItems" in schema:
            schema["maxProperties"] = schema.pop("maxItems")
        schema["additionalProperties"] = _plain(raw["additionalProperties"], definitions, None)
    return schema


def _bounds_of_both(raw: dict[str, Any]) -> dict[str, Any]:
    """Bounds of the number and of the text: each applies to values of its own type only."""
    return {key: option[key] for option in raw["anyOf"] for key in ("pattern", "maxLength", "minimum", "maximum") if key in option}


def _without_null(raw: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Resolve a reference and drop the null alternative; keeps the keys next to them (list types)."""
    if "$ref" in raw:
        return {**definitions[raw["$ref"].rsplit("/", 1)[-1]], **{k: v for k, v in raw.items() if k != "$ref"}}
    options = [option for option in raw.get("anyOf", []) if option.get("type") != "null"]
    if len(options) == 1:
        return _without_null({**options[0], **{k: v for k, v in raw.items() if k != "anyOf"}}, definitions)
    return {**raw, "anyOf": options} if options else raw


def _summary(model: type[Model]) -> str:
    return (model.__doc__ or "").strip().split("\n", 1)[0]

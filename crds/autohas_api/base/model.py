"""Base of all models of the contract: camelCase names, no unknown fields, rules in two languages.

A `Rule` states one condition twice: as CEL, which the API server evaluates, and as a Python predicate, which the models evaluate
offline. `autohas_api.base.rules` makes both from one expression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

DECIMAL_PATTERN: Final = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?$"
"""A double as a string. The exponent is bounded: CEL answers `1e400` with an opaque conversion error."""

BY_ALIAS: Final[dict[str, Any]] = {"by_alias": True, "by_name": False}
"""Options for reading a document with pydantic: `model_validate` sets them; calls of a `TypeAdapter` must pass them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One cross-field rule of a model: `expression` is its CEL, `holds` its Python twin.

    `field_path` names the wrong field, relative to the model and in CEL's form (`.min`); empty names the model. `message_expression` is the
    CEL of a message that repeats a value, `message_of` its Python twin; elsewhere `message` stands for both.
    """

    message: str
    holds: Callable[[Any], bool]
    expression: str = ""
    field_path: str = ""
    message_expression: str = ""
    message_of: Callable[[Any], str] | None = None

    def says(self, model: Model) -> str:
        """The message about a model that breaks the rule."""
        return self.message if self.message_of is None else self.message_of(model)


class Model(BaseModel):
    """Base of all contract models: strict types, camelCase on the wire, frozen, unknown fields rejected.

    Python's names are for constructors only: a document with `learning_rate` is refused, as by the API server.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        strict=True,
        extra="forbid",
        frozen=True,
        ser_json_inf_nan="strings",
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:  # noqa: ANN401 - pydantic's; its options pass through
        """Read a document, with the names of the API."""
        return super().model_validate(obj, **{**BY_ALIAS, **options})

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:  # noqa: ANN401 - as above
        """Read a JSON text, with the names of the API."""
        return super().model_validate_json(json_data, **{**BY_ALIAS, **options})

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401 - crds/mypy_replace.py has mypy check names and types
        """A copy with other values of some fields, each validated as the constructor validates it. The cross-field `rules` do not run.

        Raises:
            TypeError: the model has no field of that name.
            ValidationError: a value does not fit its field.
        """
        fields = type(self).model_fields
        if unknown := changes.keys() - fields.keys():
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        return type(self)(**{name: getattr(self, name) for name in fields} | changes)

    def to_json(self) -> dict[str, Any]:
        """The model as the API server stores it: camelCase keys, absent optionals left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def field_value(value: Model | Mapping[str, Any], alias: str) -> Any:  # noqa: ANN401 - the value of any field
    """The value of the field that the API calls `alias`, of a model or of a JSON object; None if it is not set."""
    return getattr(value, _names_by_alias(type(value))[alias]) if isinstance(value, Model) else value.get(alias)


@cache
def _names_by_alias(model: type[BaseModel]) -> Mapping[str, str]:
    return {field.alias or name: name for name, field in model.model_fields.items()}


def _is_finite(value: str) -> str:
    if not math.isfinite(float(value)):
        raise ValueError("must be a finite decimal")
    return value


Decimal = Annotated[str, StringConstraints(pattern=DECIMAL_PATTERN, max_length=32), AfterValidator(_is_finite)]
"""A number written as a quoted decimal, for example "1e-4" (CRDs should not hold floats)."""


def walk(model: Model, path: str) -> Iterator[tuple[Model, str]]:
    """Every model inside `model` with its JSON path, outermost first."""
    yield model, path
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        child = f"{path}.{field.alias or name}" if path else (field.alias or name)
        if isinstance(value, Model):
            yield from walk(value, child)
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                if isinstance(item, Model):
                    yield from walk(item, f"{child}[{index}]")

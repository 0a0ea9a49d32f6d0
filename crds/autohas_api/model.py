"""What every model of the contract shares: camelCase names, no unknown fields, rules in two languages.

A `Rule` says one thing twice: as CEL, which the API server runs, and as a Python predicate, which the models run
offline. Both reject the same objects with the same message; a table of invalid specs proves it on a real server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

DECIMAL_PATTERN: Final = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?$"
"""A double as a string. The exponent is bounded: CEL answers `1e400` with an opaque conversion error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One cross-field rule of a model: `expression` is its CEL, `holds` its Python twin.

    `field_path` names the field to blame, relative to the model and in CEL's form (`.min`); empty blames the model.
    """

    expression: str
    message: str
    holds: Callable[[Any], bool]
    field_path: str = ""


class Model(BaseModel):
    """Base of all contract models: strict types, camelCase on the wire, frozen, unknown fields rejected."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        strict=True,
        extra="forbid",
        frozen=True,
        ser_json_inf_nan="strings",
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    def to_json(self) -> dict[str, Any]:
        """The model as the API server stores it: camelCase keys, absent optionals left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


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

"""Rules of Kubernetes on what a search copies into its pod: one argument makes the CEL and the Python of each, so neither drifts.

The API server would refuse the same in the Job, hours later and without a path into the search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from autohas_api.base.kube_types import ANNOTATION_KEY_PATTERN, KEY_IS, LABEL_KEY_PATTERN, RESOURCE_PATTERN
from autohas_api.base.model import Model, Rule

__all__ = [
    "field_value",
    "keys_are_annotations",
    "keys_are_labels",
    "keys_are_resources",
    "never",
    "not_reserved",
    "quoted",
    "requirement_values",
]


def quoted(text: str) -> str:
    """A CEL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def field_value(model: Model, alias: str) -> Any:  # noqa: ANN401 - the value of any field
    """The value of the field that the wire calls `alias`."""
    return getattr(model, next(name for name, field in type(model).model_fields.items() if (field.alias or name) == alias))


def _every_key(field: str, pattern: str, message: str) -> Rule:
    return Rule(
        expression=f"!has(self.{field}) || self.{field}.all(k, k.matches({quoted(pattern)}))",
        message=message,
        field_path=f".{field}",
        holds=lambda model: all(re.fullmatch(pattern, key) is not None for key in field_value(model, field) or {}),
    )


def keys_are_labels(field: str) -> Rule:
    """Keys of a mapping of labels."""
    return _every_key(field, LABEL_KEY_PATTERN, f"each key must be {KEY_IS}")


def keys_are_annotations(field: str) -> Rule:
    """Keys of a mapping of annotations."""
    return _every_key(field, ANNOTATION_KEY_PATTERN, f"each key must be {KEY_IS}")


def keys_are_resources(field: str) -> Rule:
    """Keys of limits or requests."""
    return _every_key(
        field,
        RESOURCE_PATTERN,
        "each name must be cpu, memory, ephemeral-storage, hugepages-2Mi or a resource with its domain, such as nvidia.com/gpu",
    )


def not_reserved(field: str, keys: str, *, but: Sequence[str] = (), message: str) -> Rule:
    """No key of `field` matches `keys`, a pattern for the beginning of a key, unless it begins with one of `but`."""
    exceptions = "".join(f" && !k.startsWith({quoted(prefix)})" for prefix in but)
    pattern = f"^({keys})"
    return Rule(
        expression=f"!has(self.{field}) || !self.{field}.exists(k, k.matches({quoted(pattern)}){exceptions})",
        message=message,
        field_path=f".{field}",
        holds=lambda model: (
            not any(re.match(pattern, key) is not None and not key.startswith(tuple(but)) for key in field_value(model, field) or {})
        ),
    )


def never(field: str, pattern: str, message: str) -> Rule:
    """Nothing in the text of `field` matches `pattern`."""
    return Rule(
        expression=f"!has(self.{field}) || !self.{field}.matches({quoted(pattern)})",
        message=message,
        field_path=f".{field}",
        # Python's $ also stands before a newline at the end, RE2's does not.
        holds=lambda model: re.search(pattern.replace("$", r"\Z"), field_value(model, field) or "") is None,
    )


_INTEGER: Final = "^-?[0-9]{1,18}$"


def requirement_values(*, numbers: bool) -> Rule:
    """How many values an operator of a requirement takes; `numbers`: there are Gt and Lt."""
    compares = "self.operator in ['Gt', 'Lt'] ? given.size() == 1 && given[0].matches('" + _INTEGER + "') : "
    # CEL has no variables: the list of values is spelled out where it is used.
    expression = "self.operator in ['In', 'NotIn'] ? given.size() > 0 : " + (compares if numbers else "") + "given.size() == 0"
    return Rule(
        expression=expression.replace("given", "(has(self.values) ? self.values : [])"),
        message="values must be given for In and NotIn, and not for Exists and DoesNotExist"
        + ("; Gt and Lt take one whole number" if numbers else ""),
        field_path=".values",
        holds=_takes_its_values,
    )


def _takes_its_values(requirement: Any) -> bool:  # noqa: ANN401 - a NodeRequirement or a LabelRequirement
    given = requirement.values or []
    counts: dict[str, Callable[[], bool]] = {
        "In": lambda: len(given) > 0,
        "NotIn": lambda: len(given) > 0,
        "Gt": lambda: len(given) == 1 and re.fullmatch(_INTEGER, given[0]) is not None,
        "Lt": lambda: len(given) == 1 and re.fullmatch(_INTEGER, given[0]) is not None,
    }
    return counts.get(requirement.operator, lambda: not given)()

"""Kubernetes' own rules for what the operator copies from a search into its pod.

The API server would refuse the same values in the Job, perhaps hours later and without a path into the search.
"""

from __future__ import annotations

from typing import Final

from autohas_api.base.expressions import choose, field, literal, variable
from autohas_api.base.kube_types import ANNOTATION_KEY_PATTERN, KEY_IS, LABEL_KEY_PATTERN, RESOURCE_PATTERN
from autohas_api.base.model import Rule
from autohas_api.base.rules import rule

__all__ = [
    "image_reference",
    "keys_are_annotations",
    "keys_are_labels",
    "keys_are_resources",
    "never",
    "not_reserved",
    "requirement_values",
]

_INTEGER: Final = "^-?[0-9]{1,18}$"
_HOST: Final = r"([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(:[0-9]+)?"
_PATH: Final = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
_IMAGE: Final = rf"^({_HOST}/)?{_PATH}(/{_PATH})*(:[A-Za-z0-9_][-A-Za-z0-9_.]{{0,127}})?(@[a-zA-Z][-+._a-zA-Z0-9]*:[0-9a-fA-F]{{32,}})?$"
"""A reference as container runtimes parse it (Source: distribution/reference)."""


def image_reference(name: str) -> Rule:
    """A reference of an image, or an empty text."""
    return rule(
        field(name).equals("") | field(name).matches(_IMAGE),
        f"{name} must be a reference such as registry.example/team/trainer:1.2: lower case after the registry, no spaces",
        at=f".{name}",
    )


def _every_key(name: str, pattern: str, message: str) -> Rule:
    return rule(~field(name).is_given | field(name).every("k", variable("k").matches(pattern)), message, at=f".{name}")


def keys_are_labels(name: str) -> Rule:
    """Keys of a mapping of labels."""
    return _every_key(name, LABEL_KEY_PATTERN, f"each key must be {KEY_IS}")


def keys_are_annotations(name: str) -> Rule:
    """Keys of a mapping of annotations."""
    return _every_key(name, ANNOTATION_KEY_PATTERN, f"each key must be {KEY_IS}")


def keys_are_resources(name: str) -> Rule:
    """Keys of limits or requests."""
    return _every_key(
        name,
        RESOURCE_PATTERN,
        "each name must be cpu, memory, ephemeral-storage, hugepages-2Mi or a resource with its domain, such as nvidia.com/gpu",
    )


def not_reserved(name: str, keys: str, *, but: str = "", message: str) -> Rule:
    """No key of a mapping matches `keys`, a pattern for the beginning of a key, unless it begins with `but`."""
    is_reserved = variable("k").matches(f"^({keys})")
    is_wrong = is_reserved & ~variable("k").starts_with(but) if but else is_reserved
    return rule(~field(name).is_given | ~field(name).some("k", is_wrong), message, at=f".{name}")


def never(name: str, pattern: str, message: str) -> Rule:
    """Nothing in the text of a field matches `pattern`."""
    return rule(~field(name).is_given | ~field(name).matches(pattern), message, at=f".{name}")


def requirement_values(*, numbers: bool) -> Rule:
    """The number of values that an operator of a requirement has; `numbers`: whether there are Gt and Lt."""
    compare, values = field("operator"), field("values").or_empty
    is_number = values.size.equals(1) & values.at(literal(0)).matches(_INTEGER)
    none = values.size.equals(0)
    others = choose(compare.is_in(("Gt", "Lt")), is_number, none) if numbers else none
    return rule(
        choose(compare.is_in(("In", "NotIn")), values.size > 0, others),
        "values must be given for In and NotIn, and not for Exists and DoesNotExist"
        + ("; Gt and Lt take one whole number" if numbers else ""),
        at=".values",
    )

"""docs/api.md: the fields of the resource, from the schema of the CRD. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from autohas_api.base.kube_types import DNS_NAME_PATTERN, LABEL_VALUE_PATTERN, QUANTITY_PATTERN
from autohas_api.base.model import DECIMAL_PATTERN
from autohas_api.base.names import API_VERSION, KIND, SHORT_NAME
from autohas_api.base.structural_schema import MAX_COUNT, bounds
from autohas_api.generate.crd import custom_resource_definition

KUBERNETES_TYPES: Final = {
    "spec.trainer.resources": "ResourceRequirements",
    "spec.trainer.volumes": "Volume",
    "spec.trainer.volumeMounts": "VolumeMount",
    "spec.trainer.env": "EnvVar",
    "spec.trainer.envFrom": "EnvFromSource",
    "spec.trainer.affinity": "Affinity",
    "spec.trainer.tolerations": "Toleration",
    "spec.trainer.topologySpreadConstraints": "TopologySpreadConstraint",
    "spec.trainer.resourceClaims": "PodResourceClaim",
    "spec.trainer.imagePullSecrets": "LocalObjectReference",
}
"""Fields of Kubernetes' types, of which only the first level is listed."""
_KNOWN_PATTERNS: Final = {
    DECIMAL_PATTERN: "decimal",
    QUANTITY_PATTERN: "quantity",
    DNS_NAME_PATTERN: "DNS name",
    LABEL_VALUE_PATTERN: "label value",
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$": "time",
}
_MOST_SHOWN: Final = 20
"""Characters of an object's default that fit into its row; the table of its fields shows a longer one."""
_HEAD: Final = f"""<!-- Generated from crds/autohas_api by `make sync`; do not edit. -->

# API reference: {KIND}

`apiVersion: {API_VERSION}`, `kind: {KIND}`, short name `{SHORT_NAME}`, namespaced; the name is a DNS label of at most 46 characters.
In a terminal, `kubectl explain {SHORT_NAME}.spec.budget` describes the fields of one level; defaults are in the tables below.
How to use it: [guide.md](guide.md).

- A **decimal** is a number in quotes, `"1e-4"`; a **quantity** is as in Kubernetes, `500m`, `2Gi`; a **time** is `2026-01-31T08:00:00Z`.
- **Required** is in the place of a default; a dash means that the field may be left out and its description says what then happens.
- Rules below a table tie several fields together. The API server, `autohas validate` and `autohas run` check the same ones.
- Of **Kubernetes' own types** only the parts that the API server takes are there; the names of all parts of one:
  `kubectl explain ahs.spec.trainer.affinity --recursive`.
- Once the first Job is created `spec` cannot change, except `suspend`, `failurePolicy`, `cleanup` and `monitoring`; what runs and where
  (`trainer.image`, `trainer.resources`, `trainer.nodeSelector` and the like) may change while the search is suspended. The rules are exact.
"""


def api_reference() -> str:
    """The document as Markdown."""
    (version,) = custom_resource_definition()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    sections = [_HEAD, "## The whole resource", _rules(schema)]
    for name in ("spec", "status"):
        sections += _sections(name, schema["properties"][name])
    sections += ["\n## Columns of `kubectl get`\n", "| column | shown | what it says |\n|---|---|---|"]
    sections += [
        f"| {column['name']} | {'with `-o wide`' if column.get('priority') else 'always'} | {column['description']} |"
        for column in version["additionalPrinterColumns"]
    ]
    return "\n".join(part for part in sections if part) + "\n"


def _sections(path: str, schema: dict[str, Any]) -> Iterator[str]:
    """One object and the objects inside it, outermost first."""
    yield f"\n## {path}\n"
    yield f"{schema['description']}\n" if schema.get("description") and "." in path else ""
    yield "| field | type | default | what it does |\n|---|---|---|---|"
    inner = []
    for name, field in schema["properties"].items():
        place = f"{path}.{name}"
        held = _item_schema(field)
        is_opened = bool(held.get("properties")) and place not in KUBERNETES_TYPES
        if is_opened:
            inner.append((place + ("[]" if field.get("type") == "array" else ""), held))
        default = _default(field, required=name in schema.get("required", ()), is_opened=is_opened)
        yield f"| `{name}` | {_type(field, place)} | {default} | {_cell(_description(field))} |"
    yield _rules(schema, _foreign(path, schema))
    for place, held in inner:
        yield from _sections(place, held)


def _description(field: dict[str, Any]) -> str:
    """The description without the default and the range, which have their own columns."""
    text: str = field.get("description", "")
    return text.removesuffix(bounds(field))


def _item_schema(field: dict[str, Any]) -> dict[str, Any]:
    """The object that a field is or that its list holds."""
    items: dict[str, Any] = field.get("items", field)
    return items


def _rules(schema: dict[str, Any], inner: Iterable[tuple[str, str]] = ()) -> str:
    """The rules of an object; `inner` are those of fields without a section, each with the field that it names."""
    own = ((rule["message"], rule.get("fieldPath", "")) for rule in schema.get("x-kubernetes-validations", []))
    lines = [f"- {_cell(message)}" + (f" (names `{blamed}`)" if blamed else "") for message, blamed in (*own, *inner)]
    return "\n".join(["\nRules:\n", *lines]) if lines else ""


def _foreign(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Rules inside an object's fields of Kubernetes' types."""
    for name, field in schema["properties"].items():
        if f"{path}.{name}" in KUBERNETES_TYPES:
            yield from _inside(f".{name}", field)


def _inside(place: str, field: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Rules of a field, of its items and of everything below, outermost first."""
    held, place = _item_schema(field), place + "[]" * ("items" in field)
    for rule in held.get("x-kubernetes-validations", []):
        yield rule["message"], place + rule.get("fieldPath", "")
    for name, inner in held.get("properties", {}).items():
        yield from _inside(f"{place}.{name}", inner)


def _type(field: dict[str, Any], place: str) -> str:
    if place in KUBERNETES_TYPES:
        listed = "list of " if field["type"] == "array" else ""
        return f"{listed}Kubernetes' {KUBERNETES_TYPES[place]}: {', '.join(_item_schema(field)['properties'])}"
    match field.get("type"):
        case "array":
            return _list(field, place)
        case "object":
            return _object(field, place)
    return _scalar(field)


def _list(field: dict[str, Any], place: str) -> str:
    most = f", at most {field['maxItems']}" if "maxItems" in field else ""
    return f"list of {_type(field['items'], place + '[]')}{most}"


def _object(field: dict[str, Any], place: str) -> str:
    if field.get("properties"):
        return f"[object](#{_anchor(place)})"
    values = field.get("additionalProperties")
    return f"map of text to {_type(values, place + '{}')}" if isinstance(values, dict) else "object without fields"


def _scalar(field: dict[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in field:
        return " \\| ".join(f"`{json.dumps(choice).strip(chr(34))}`" for choice in field["enum"])
    match field["type"]:
        case "integer":
            return f"integer{_range(field)}"
        case "string":
            return _text(field)
    return str(field["type"])


def _text(field: dict[str, Any]) -> str:
    pattern = field.get("pattern")
    if pattern in _KNOWN_PATTERNS:
        return _KNOWN_PATTERNS[pattern]
    return "text" if pattern is None else f"text, `{_cell(pattern)}`"


def _range(field: dict[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is None and high is None:
        return ""
    return f", {low:,} or more" if high is None or high >= MAX_COUNT else f", {low:,} to {high:,}"


def _default(field: dict[str, Any], *, required: bool, is_opened: bool) -> str:
    if required:
        return "**required**"
    if "default" not in field:
        return "-"
    written = json.dumps(field["default"], ensure_ascii=False)
    return "see there" if is_opened and len(written) > _MOST_SHOWN else f"`{_cell(written)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _anchor(place: str) -> str:
    """As GitHub makes the anchor of a heading: lower case, without punctuation."""
    return "".join(letter for letter in place.lower() if letter.isalnum() or letter == "-")

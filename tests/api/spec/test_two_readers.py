"""Offline and on a server the same documents are accepted: every field renamed, retyped, moved, emptied, repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from autohas_api.base.spec_errors import SpecError
from autohas_api.generate.crd import custom_resource_definition
from autohas_api.spec.search import broken_rules, parse, read
from autohas_api.testing.documents import EVERY_FIELD, mutations, paths_of
from autohas_api.testing.rejections import a_search, with_change

SCHEMA = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def complaints(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """What a server's structural schema says about a value: strict field validation, nulls of known fields dropped."""
    if schema.get("x-kubernetes-int-or-string"):
        kinds: tuple[type, ...] = (int, str)
    else:
        kinds = (TYPES[schema["type"]],)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{path}: must be of type {schema.get('type')}"
        return
    yield from _bounds(value, schema, path)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from complaints(item, schema["items"], f"{path}[{index}]")
        yield from _repeats(value, schema, path)
    if isinstance(value, dict):
        yield from _members(value, schema, path)


def _members(value: dict[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    known, free = schema.get("properties", {}), schema.get("additionalProperties")
    for name, item in value.items():
        inner = known.get(name, free)
        if inner is None:
            yield f"{path}.{name}: unknown field"
        elif item is not None:
            yield from complaints(item, inner, f"{path}.{name}")
    for name in schema.get("required", ()):
        if value.get(name) is None and "default" not in known[name]:
            yield f"{path}.{name}: Required value"


def _bounds(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    size = len(value) if isinstance(value, str | list | dict) else None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    wrong = {
        "enum": lambda bound: value not in bound,
        "pattern": lambda bound: isinstance(value, str) and re.search(bound.replace("$", r"\Z"), value) is None,
        "minimum": lambda bound: is_number and value < bound,
        "maximum": lambda bound: is_number and value > bound,
        **{name: lambda bound: size is not None and size < bound for name in ("minLength", "minItems", "minProperties")},
        **{name: lambda bound: size is not None and size > bound for name in ("maxLength", "maxItems", "maxProperties")},
    }
    for name, is_wrong in wrong.items():
        if name in schema and is_wrong(schema[name]):
            yield f"{path}: {name} is {schema[name]}"


def _repeats(value: list[Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("map", "set"):
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    identities = [repr([item.get(key) for key in keys] if keys and isinstance(item, dict) else item) for item in value]
    if len(set(identities)) < len(identities):
        yield f"{path}: Duplicate value"


def refused_by_the_schema_offline(document: Mapping[str, Any]) -> str:
    """What the models say before any rule across fields is asked; items that repeat are the schema's affair."""
    try:
        search = read(document)
    except SpecError as error:
        return str(error)
    return "; ".join(str(problem) for problem in broken_rules(search) if problem.message.startswith("Duplicate value"))


@pytest.mark.parametrize("document", EVERY_FIELD, ids=range(len(EVERY_FIELD)))
def test_the_documents_are_valid(document: dict[str, Any]) -> None:
    """What is mutated below is accepted by both readers."""
    parse(document)

    assert list(complaints(document["spec"], SCHEMA, "spec")) == []


def test_the_documents_have_every_field() -> None:
    """No field of the resource is left out of the comparison."""

    def fields(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, inner in schema.get("properties", {}).items():
            yield f"{path}.{name}"
            yield from fields(inner, f"{path}.{name}")
        if "items" in schema:
            yield from fields(schema["items"], path)

    held = {".".join(part for part in path if isinstance(part, str)) for d in EVERY_FIELD for path in paths_of(d["spec"], ("spec",))}
    assert set(fields(SCHEMA, "spec")) - held == set()


@pytest.mark.parametrize("document", EVERY_FIELD, ids=range(len(EVERY_FIELD)))
def test_both_readers_accept_the_same(document: dict[str, Any]) -> None:
    """Thousands of wrong and odd documents: refused by the models exactly where the generated schema refuses them."""
    differing = [
        (mutation.name, server, offline)
        for mutation in mutations(document)
        if bool(server := list(complaints(mutation.document["spec"], SCHEMA, "spec")))
        != bool(offline := refused_by_the_schema_offline(mutation.document))
    ]

    assert differing == []


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("spec.task.recipe.learning_rate", "0.5", 'spec.task.recipe.learning_rate: unknown field; did you mean "learningRate"?'),
        ("spec.budget.max_active_seconds", 60, 'spec.budget.max_active_seconds: unknown field; did you mean "maxActiveSeconds"?'),
        ("spec.search_space", {}, 'spec.search_space: unknown field; did you mean "searchSpace"?'),
        ("spec.algorithm.auto_has", {}, 'spec.algorithm.auto_has: unknown field; did you mean "autoHAS"?'),
        (
            "spec.cleanup.ttl_seconds_after_finished",
            5,
            'spec.cleanup.ttl_seconds_after_finished: unknown field; did you mean "ttlSecondsAfterFinished"?',
        ),
        ("api_version", "autohas.dev/v1alpha1", 'api_version: unknown field; did you mean "apiVersion"?'),
        ("metadata.label", {}, "metadata.label: unknown field; known are annotations, creationTimestamp"),
    ],
)
def test_a_name_of_python_is_no_field(path: str, value: object, sentence: str) -> None:
    """Names that only constructors know are refused with the name of the wire."""
    with pytest.raises(SpecError) as caught:
        parse(with_change(a_search(), path, value))

    assert sentence in str(caught.value)


def test_a_null_is_no_value() -> None:
    """As the server drops it: a field with a default takes the default, an entry of a mapping is gone, what is required is missing."""
    nothing = with_change(with_change(a_search(), "spec.task.recipe", None), "spec.trainer.labels", {"team": None})

    assert parse(nothing).spec.task.recipe == parse(a_search()).spec.task.recipe
    assert parse(nothing).spec.trainer.labels == {}
    with pytest.raises(SpecError, match=r"spec\.training: Required value"):
        parse(with_change(a_search(), "spec.training", None))
    with pytest.raises(SpecError, match=r"spec\.typo: unknown field"):
        parse(with_change(a_search(), "spec.typo", None))

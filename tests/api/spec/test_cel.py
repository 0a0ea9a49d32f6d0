"""The rules of the generated CRD, evaluated as CEL, and their Python twins give the same verdict on every document.

The evaluator is cel-expr-python, which wraps the C++ implementation of CEL by its authors; the API server uses their Go implementation.
It has all functions that the rules use: those of the language and `substring` of the strings library, as the API server has them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from autohas_api.base.model import walk
from autohas_api.base.spec_errors import SpecError
from autohas_api.generate.crd import custom_resource_definition
from autohas_api.spec.search import IMMUTABLE_ONCE_STARTED, MUTABLE_WHILE_SUSPENDED, Search, Spec, read
from autohas_api.spec.trainer import Trainer
from autohas_api.testing.documents import EVERY_FIELD, mutations
from autohas_api.testing.rejections import REJECTED_BY_RULE, UNACCEPTABLE, a_search

SCHEMA = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
ENVIRONMENT = cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}, extensions=[ext_strings.ExtStrings()])
EVERY_NTH = 5
"""Of the mutations, which are thousands for each document."""

compiled = cache(ENVIRONMENT.compile)


def _is_transition(rule: Mapping[str, str]) -> bool:
    return "oldSelf" in rule["rule"]


def stored(value: Any, schema: Mapping[str, Any]) -> Any:
    """What an API server stores: nulls dropped, defaults of the schema filled in."""
    if isinstance(value, list):
        return [stored(item, schema["items"]) for item in value]
    if not isinstance(value, dict) or "type" not in schema:
        return value
    fields, entries = schema.get("properties", {}), schema.get("additionalProperties", {})
    values = {name: stored(item, fields.get(name, entries)) for name, item in value.items() if item is not None}
    defaults = {name: stored(copy.deepcopy(inner["default"]), inner) for name, inner in fields.items() if "default" in inner}
    return {**defaults, **values}


def objects(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any, list[dict[str, str]]]]:
    """Every object that has rules: its JSON path, its value, its rules."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from objects(item, schema["items"], f"{path}[{index}]")
    elif isinstance(value, dict):
        if rules := [rule for rule in schema.get("x-kubernetes-validations", ()) if not _is_transition(rule)]:
            yield path, value, rules
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                yield from objects(value[name], inner, f"{path}.{name}".lstrip("."))


def verdict(expression: str, **variables: Any) -> Any:
    """The value of an expression; a rule that an API server could not evaluate fails the test."""
    result = compiled(expression).eval(data=variables)
    assert result.type() != cel.Type.ERROR, f"{expression}: {result.value()}"
    return result.value()


def broken_in_cel(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Path and text of each rule that is broken, with the message that the server gives."""
    return {
        (path, rule["rule"]): verdict(rule["messageExpression"], self=value) if "messageExpression" in rule else rule["message"]
        for path, value, rules in objects(stored(document, SCHEMA), SCHEMA)
        for rule in rules
        if not verdict(rule["rule"], self=value)
    }


def broken_in_python(search: Search) -> dict[tuple[str, str], str]:
    """The same by the Python twins."""
    return {
        (path, rule.expression): rule.says(model)
        for model, path in walk(search, "")
        for rule in model.rules
        if rule.expression and not rule.holds(model) and not path.startswith("metadata")
    }


def all_rules(schema: Mapping[str, Any]) -> Iterator[str]:
    """Text of each rule of the CRD that judges one document; one that stands in several places is one rule."""
    yield from (rule["rule"] for rule in schema.get("x-kubernetes-validations", ()) if not _is_transition(rule))
    for inner in schema.get("properties", {}).values():
        yield from all_rules(inner)
    if "items" in schema:
        yield from all_rules(schema["items"])


def differences(documents: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, Any, Any]]:
    """Documents that the schema accepts and on which the two sides disagree, with the rules that each calls broken."""
    differing = []
    for name, document in documents:
        try:
            search = read(document)
        except SpecError:
            continue
        there, here = broken_in_cel(document), broken_in_python(search)
        if there != here:
            differing.append((name, there, here))
    return differing


def test_both_sides_accept_the_valid_documents() -> None:
    """No rule is broken by a document that has every field."""
    assert [broken_in_cel(document) for document in EVERY_FIELD] == [{}] * len(EVERY_FIELD)
    assert [broken_in_python(read(document)) for document in EVERY_FIELD] == [{}] * len(EVERY_FIELD)


def test_both_sides_say_the_same_of_the_rejected_documents() -> None:
    """The same rules are broken, with the same messages, by every row of the tables that the schema accepts."""
    rows = [(str(rejection), rejection.document()) for rejection in (*REJECTED_BY_RULE, *UNACCEPTABLE)]

    assert len(rows) > 250
    assert differences(rows) == []


@pytest.mark.parametrize("document", EVERY_FIELD, ids=range(len(EVERY_FIELD)))
def test_both_sides_say_the_same_of_mutations(document: dict[str, Any]) -> None:
    """A share of the documents that differ in one place from a valid one: the same rules are broken, with the same messages."""
    some = islice(mutations(document), 0, None, EVERY_NTH)

    assert differences((mutation.name, mutation.document) for mutation in some) == []


def test_every_rule_is_broken_by_a_rejected_document() -> None:
    """A rule that no row breaks could say anything."""
    broken = {rule for rejection in REJECTED_BY_RULE for _, rule in broken_in_cel(rejection.document())}

    assert set(all_rules(SCHEMA)) - broken == set()


def started(phase: str, **changes: Any) -> dict[str, Any]:
    """A search that has started, with other values of fields of the trainer or the spec."""
    spec = stored(a_search(), SCHEMA)["spec"]
    trainer = {"trainer": {**spec["trainer"], **{name: value for name, value in changes.items() if name in TRAINER_FIELDS}}}
    others = {name: value for name, value in changes.items() if name in SPEC_FIELDS}
    return {"spec": {**spec, **trainer, **others, "suspend": phase == "Suspended"}, "status": {"attempt": 1, "phase": phase}}


def refused(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Fields that must not change so."""
    rules = [rule for rule in SCHEMA["x-kubernetes-validations"] if _is_transition(rule)]
    return [rule["fieldPath"].rpartition(".")[2] for rule in rules if not verdict(rule["rule"], self=new, oldSelf=old)]


SPEC_FIELDS = {field.alias or name for name, field in Spec.model_fields.items()} - {"trainer"}
TRAINER_FIELDS = {field.alias or name for name, field in Trainer.model_fields.items()}
OTHER = {"other": "value"}


@pytest.mark.parametrize("name", sorted(SPEC_FIELDS | TRAINER_FIELDS))
def test_a_field_changes_when_it_may(name: str) -> None:
    """Before the first attempt every field changes; then some never do, and some of the trainer while the search is at rest."""
    at_rest = [] if name in MUTABLE_WHILE_SUSPENDED or name in MUTABLE else [owner(name)]
    running = [] if name in MUTABLE else [owner(name)]

    new, old = started("Pending"), started("Pending", **{name: OTHER})
    del old["status"]["attempt"]
    assert refused(old, new) == []
    for phase, fields in (("Running", running), ("Suspending", running), ("Suspended", at_rest), ("Rejected", at_rest)):
        assert refused(started(phase), started(phase, **{name: OTHER})) == fields
        assert refused(started(phase, **{name: OTHER}), started(phase)) == fields


MUTABLE = SPEC_FIELDS - set(IMMUTABLE_ONCE_STARTED)


def owner(name: str) -> str:
    """The field that a rule blames: the trainer for those of its fields that never change."""
    return "trainer" if name in TRAINER_FIELDS and name not in MUTABLE_WHILE_SUSPENDED else name

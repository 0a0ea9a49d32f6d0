"""The generated CustomResourceDefinition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from autohas_api.generate.crd import custom_resource_definition
from autohas_api.generate.sync import generated_files

ROOT = Path(__file__).parents[3]


def _objects(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    objects = [(path, schema)]
    for name, child in schema.get("properties", {}).items():
        objects += _objects(child, f"{path}.{name}")
    if "items" in schema:
        objects += _objects(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        objects += _objects(schema["additionalProperties"], f"{path}{{}}")
    return objects


def _schema() -> dict[str, Any]:
    version = custom_resource_definition()["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def test_generated_files_are_current() -> None:
    """The committed YAML is what the models say."""
    for path, text in generated_files().items():
        assert (ROOT / path).read_text() == text, f"{path}: run `make sync`"


def test_the_file_stays_small() -> None:
    """Client-side apply keeps the object as compact JSON in an annotation, and annotations may have 256 KiB: 200 are ours."""
    assert len(json.dumps(custom_resource_definition(), separators=(",", ":")).encode()) < 200 * 1024


def test_everything_is_bounded() -> None:
    """Every string, list, map and number of the spec has a bound, and every node a type that an API server takes."""
    spec = _schema()["properties"]["spec"]
    for path, node in _objects(spec):
        if node.get("type") == "string" and "enum" not in node:
            assert "maxLength" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path
        if node.get("type") == "integer":
            assert {"minimum", "maximum"} <= node.keys(), path
        assert not {"$ref", "const", "title", "exclusiveMinimum"} & node.keys(), path


def test_every_rule_of_the_whole_object_points_to_a_field() -> None:
    """A server prints `<nil>` for one that does not."""
    rules = _schema()["x-kubernetes-validations"]

    assert len(rules) > 10
    assert [rule["rule"] for rule in rules if not rule.get("fieldPath", "").startswith(".")] == []


def test_the_yaml_reads_back_as_the_object() -> None:
    """What is written is the definition, whole."""
    text = next(iter(generated_files().values()))

    assert yaml.safe_load(text) == custom_resource_definition()


def test_every_field_of_the_spec_is_described() -> None:
    """`kubectl explain` says what each field is, its default and its range."""
    spec = _schema()["properties"]["spec"]
    period = spec["properties"]["checkpoint"]["properties"]["periodSeconds"]

    assert [path for path, node in _objects(spec) for field in node.get("properties", {}).values() if "description" not in field] == []
    assert period["description"] == "Seconds between two checkpoints. Defaults to 300. Minimum 1, maximum 86400."

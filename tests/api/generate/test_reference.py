"""docs/api.md, generated from the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from autohas_api.generate import sync
from autohas_api.generate.crd import custom_resource_definition
from autohas_api.generate.reference import KUBERNETES_TYPES, api_reference

TEXT = api_reference()


def _fields(path: str, schema: dict[str, Any]) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        place = f"{path}.{name}"
        yield place
        if place not in KUBERNETES_TYPES:
            items = "items" in field
            yield from _fields(place + "[]" * items, field["items"] if items else field)


def _documented() -> list[str]:
    """Path of every row of every section."""
    found, section = [], ""
    for line in TEXT.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif (row := re.match(r"\| `(\w+)` \|", line)) is not None:
            found.append(f"{section}.{row[1]}")
    return found


def _schema() -> dict[str, Any]:
    (version,) = custom_resource_definition()["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def test_every_field_stands_once() -> None:
    """What the API server takes is what the document lists, no more and no less."""
    properties = _schema()["properties"]
    wanted = [path for name in ("spec", "status") for path in _fields(name, properties[name])]

    assert sorted(_documented()) == sorted(wanted)
    assert set(KUBERNETES_TYPES) <= set(wanted)


def test_every_row_has_its_four_cells_and_says_something() -> None:
    """Type, default and description are never empty; bars inside cells are escaped."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in TEXT.splitlines() if line.startswith("| `")]

    assert [row for row in rows if len(row) != 4 or not all(cell.strip() for cell in row)] == []


def test_links_lead_to_sections() -> None:
    """Each object's link is the anchor of one heading."""
    headings = ["".join(c for c in line[3:].lower() if c.isalnum()) for line in TEXT.splitlines() if line.startswith("## ")]

    assert set(re.findall(r"\(#(\w+)\)", TEXT)) == {h for h in headings if h.startswith(("spec", "status"))} - {"spec", "status"}


def _messages(schema: dict[str, Any]) -> Iterator[str]:
    yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", []))
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from _messages(inner)


def test_every_rule_is_listed() -> None:
    """In the words that the API server answers, those inside of Kubernetes' types too."""
    messages = set(_messages(_schema()))

    assert {
        "names that start with AUTOHAS_ are the operator's",
        "exactly one of persistentVolumeClaim and emptyDir must be given",
    } <= messages
    assert [message for message in sorted(messages) if f"- {message}" not in TEXT.replace("\\|", "|")] == []


def test_types_of_kubernetes_are_not_spelled_out() -> None:
    """A type is named with its first parts, on a line that can be read."""
    assert "| `affinity` | Kubernetes' Affinity: nodeAffinity, podAffinity, podAntiAffinity | - |" in TEXT
    assert max(len(line) for line in TEXT.splitlines() if "Kubernetes' " in line) < 250


def test_a_stale_document_is_found(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`make check` names the file that was edited by hand; `make sync` writes it again."""
    monkeypatch.chdir(tmp_path)
    assert sync.main([]) == 0
    (tmp_path / sync.REFERENCE).write_text(TEXT.replace("decimal", "number"))

    assert sync.main(["--check"]) == 1
    assert "docs/api.md is not what the models say" in capsys.readouterr().err
    assert (sync.main([]), sync.main(["--check"])) == (0, 0)

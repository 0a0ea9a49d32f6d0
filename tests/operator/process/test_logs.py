"""Log lines name what happened, at a level that fits, under the same keys everywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import autohas_operator
import autohas_trainer
from autohas_operator.testing.fake_cluster import FakeCluster
from autohas_operator.testing.scenarios import play

SOURCES = sorted(path for package in (autohas_operator, autohas_trainer) for path in Path(package.__path__[0]).rglob("*.py"))
ALIASES = {"text", "err", "msg", "sentence", "reason_text", "exception", "ns", "name_of_search"}
"""Other names that the keys `message`, `error`, `namespace` and `search` must not have."""

EXPECTED_LINES = [
    (
        "success",
        [("info", "search accepted"), ("info", "trainer job created"), ("info", "search started"), ("info", "result stored")],
    ),
    ("pod preempted", [("info", "trainer interrupted")]),
    ("unusable data", [("warning", "search failed")]),
    ("spec corrected", [("warning", "search rejected"), ("info", "search accepted")]),
    ("suspended", [("info", "search suspended"), ("info", "search resumed")]),
    ("sidecar running", [("warning", "sidecar running")]),
    ("start deadline exceeded", [("warning", "search failed")]),
]


@pytest.mark.parametrize(("scenario", "lines"), EXPECTED_LINES, ids=[case[0] for case in EXPECTED_LINES])
def test_every_transition_is_a_line_of_its_own_name(scenario: str, lines: list[tuple[str, str]]) -> None:
    """Failures are warnings; search, namespace, reason and message are always under the same keys."""
    with capture_logs() as written:
        play(scenario, FakeCluster())
    pairs = [(line["log_level"], line["event"]) for line in written]

    assert [pair for pair in pairs if pair in lines] == lines
    assert {"search", "namespace", "reason", "message"} <= set.intersection(*(set(line) for line in written))


def _calls() -> list[tuple[str, ast.Call]]:
    """Every call of a logger's method in operator and trainer."""
    calls = ((path.name, node) for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return [
        (f"{name}:{call.lineno}", call)
        for name, call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("info", "warning", "error")
    ]


def test_one_thing_has_one_key() -> None:
    """An error is under `error`, a sentence under `message`; a bug has its text next to its traceback."""
    calls = _calls()
    aliased = [place for place, call in calls for keyword in call.keywords if keyword.arg in ALIASES]
    elsewhere = [
        place
        for place, call in calls
        for keyword in call.keywords
        if keyword.arg not in ("error", "message") and isinstance(keyword.value, ast.Call) and ast.unparse(keyword.value) == "str(error)"
    ]

    assert len(calls) > 20
    assert aliased == elsewhere == []

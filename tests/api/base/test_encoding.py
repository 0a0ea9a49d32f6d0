"""Every text file and every pipe of the product is UTF-8, whatever the locale: ruff's rule sees only paths that it can follow."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_TEXT_METHODS = {"read_text": 0, "write_text": 1}
"""Methods of a path with the position of `encoding`."""
_BINARY_OPENERS = {"inputs", "os", "Image", "tarfile", "gzip", "zipfile", "urllib", "webbrowser"}


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}


def _is_binary(call: ast.Call, position: int) -> bool:
    mode = _keywords(call).get("mode") or (call.args[position] if len(call.args) > position else None)
    return isinstance(mode, ast.Constant) and "b" in str(mode.value)


def lacks_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the locale's encoding."""
    given, function = _keywords(call), call.func
    if "encoding" in given:
        return False
    if isinstance(function, ast.Attribute) and function.attr in _TEXT_METHODS:
        return len(call.args) <= _TEXT_METHODS[function.attr]
    if isinstance(function, ast.Name) and function.id == "open":
        return not _is_binary(call, 1)
    if isinstance(function, ast.Attribute) and function.attr == "open" and call.args + call.keywords:
        is_other = isinstance(function.value, ast.Name) and function.value.id in _BINARY_OPENERS
        return not is_other and not _is_binary(call, 0)
    is_process = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "subprocess"
    return is_process and any(name in given for name in ("text", "universal_newlines"))


def _found(source: str) -> list[int]:
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and lacks_encoding(node)]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", [1]),
        ("path.write_text(text)", [1]),
        ("path.read_text(encoding='utf-8')", []),
        ("open(path)", [1]),
        ("open(path, 'rb')", []),
        ("path.open('w')", [1]),
        ("path.open('wb')", []),
        ("os.open(path, flags)", []),
        ("subprocess.run(command, text=True)", [1]),
        ("subprocess.run(command, encoding='utf-8')", []),
    ],
)
def test_the_search_finds_what_it_should(source: str, found: list[int]) -> None:
    """Text without an encoding, and nothing else."""
    assert _found(source) == found


def test_no_text_in_the_locales_encoding() -> None:
    """Files and pipes of the three packages and of the benchmarks name their encoding."""
    files = [path for side in ("crds", "operator", "trainer", "benchmarks") for path in (ROOT / side).rglob("*.py")]

    assert [(str(path.relative_to(ROOT)), line) for path in files for line in _found(path.read_text(encoding="utf-8"))] == []

"""docs/bad-input.md says what tests compare: each row's words stand in the tests that it names."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from autohas_operator.decide.trainer_exits import FAILURE_REASONS

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "docs" / "bad-input.md").read_text()
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TABLE.splitlines() if line.startswith("| ") and line[2:7] != "input"]
_NAME = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_WITH_CODE = re.compile(r"(?:exit )?\b(\d\d) \((\w+)\)")
"""An exit code and, in brackets, the reason that the operator gives it."""


def _named() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Input, what is seen, and the tests of each row; `the same` are those of the row above."""
    rows: list[tuple[str, str, list[tuple[str, str]]]] = []
    for written, seen, tests in ROWS:
        rows.append((written, seen, _NAME.findall(tests) or rows[-1][2]))
    return rows


def _excerpts(seen: str) -> list[str]:
    """Quoted words between the dots, and reasons (words with a capital inside) but conditions and those that stand for an exit code."""
    quoted = [part.strip(" ;,") for span in re.findall(r"`([^`]+)`", seen) for part in span.split("...")]
    reasons = re.findall(r"\b[A-Z][a-z]+[A-Z]\w+\b(?!=)", re.sub(r"`[^`]+`", "", _WITH_CODE.sub("", seen)))
    return [*(part for part in quoted if part), *reasons]


def _assigned(node: ast.stmt) -> list[str]:
    """Names that a statement of a module gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _imported(node: ast.stmt) -> dict[str, tuple[Path, str]]:
    """Names that a module has from the tables of wrong searches, each with its file and its name there; empty: the whole module."""
    if not isinstance(node, ast.ImportFrom) or node.module is None or not node.module.startswith("autohas_api.testing"):
        return {}
    folder = ROOT / "crds" / node.module.replace(".", "/")
    file = folder.with_suffix(".py")
    return {alias.asname or alias.name: (file, alias.name) if file.exists() else (folder / f"{alias.name}.py", "") for alias in node.names}


@cache
def _module(file: Path) -> tuple[dict[str, ast.stmt], dict[str, tuple[Path, str]]]:
    """The statements of a module by the names that they define, and what it imports from the tables of wrong searches."""
    parts: dict[str, ast.stmt] = {}
    imports: dict[str, tuple[Path, str]] = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            parts[node.name] = node
        parts |= dict.fromkeys(_assigned(node), node)
        imports |= _imported(node)
    return parts, imports


def _strings(file: str, test: str) -> str:
    """Every string of a test, its decorators, and what they use, docstrings left out; backslashes as in patterns too."""
    used, waiting, texts = set[tuple[Path, str]](), [(ROOT / file, test)], list[str]()
    while waiting:
        place, name = waiting.pop()
        parts, imports = _module(place)
        if (place, name) in used:
            continue
        used.add((place, name))
        if name in imports:
            target, wanted = imports[name]
            waiting += [(target, wanted)] if wanted else [(target, part) for part in _module(target)[0]]
        if name not in parts:
            continue
        nodes = list(ast.walk(parts[name]))
        docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        values = [n.value for n in nodes if isinstance(n, ast.Constant) and id(n) not in docs]
        texts += [str(value, errors="replace") if isinstance(value, bytes) else value for value in values if isinstance(value, str | bytes)]
        waiting += [(place, node.id) for node in nodes if isinstance(node, ast.Name)]
    return "\n".join((*texts, *(text.replace("\\", "") for text in texts)))


@pytest.mark.parametrize(("seen", "tests"), [row[1:] for row in _named()], ids=[row[0] for row in _named()])
def test_the_words_of_a_row_stand_in_its_tests(seen: str, tests: list[tuple[str, str]]) -> None:
    """Each test is there, and each quoted word and each reason is a string of one of them."""
    assert [(file, test) for file, test in tests if f"def {test}(" not in (ROOT / file).read_text()] == []

    written = "\n".join(_strings(file, test) for file, test in tests)
    assert [words for words in _excerpts(seen) if words not in written] == []


def test_the_reason_in_brackets_is_that_of_the_exit_code() -> None:
    """As the operator maps them, which tests of its own assert."""
    pairs = [(int(code), reason) for _, seen, _ in ROWS for code, reason in _WITH_CODE.findall(seen)]

    assert {reason for _, reason in pairs} == {"DataError", "ConfigError", "NoUsableCheckpoint"}
    assert [(code, reason) for code, reason in pairs if FAILURE_REASONS.get(code) != reason] == []


def test_every_row_has_its_three_cells() -> None:
    """Input, what is seen, and a test of this row or the one above."""
    assert len(ROWS) > 30
    assert [row for row in ROWS if len(row) != 3 or not (_NAME.search(row[2]) or row[2] == "the same")] == []

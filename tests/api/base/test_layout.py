"""The layout's traps."""

from __future__ import annotations

import ast
import operator
import sys
import tomllib
from pathlib import Path

import yaml

from autohas_operator.settings import Settings

ROOT = Path(__file__).parents[3]


def test_operator_folder_does_not_shadow_the_standard_library() -> None:
    """`operator/` is a plain folder and `import operator` finds the standard library's module."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert operator.__name__ in sys.stdlib_module_names
    assert ROOT not in Path(operator.__file__ or "").parents


def test_no_package_file_below_tests() -> None:
    """An `__init__.py` below tests/ would break collection."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_no_module_is_named_like_a_standard_one() -> None:
    """A sibling named `logging.py` or `types.py` would be imported instead of the standard one."""
    own = {path.stem for side in ("crds", "operator", "trainer") for path in (ROOT / side).rglob("*.py")}

    assert own & set(sys.stdlib_module_names) - {"__init__", "__main__"} == set()


def test_one_version() -> None:
    """Chart, default trainer image and distribution carry the same version, so a bump cannot break an image pull."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((ROOT / "charts" / "autohas" / "Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (version, version)
    assert Settings().trainer_image == f"autohas-trainer:{version}"


FILES = [path for side in ("crds", "operator", "trainer", "benchmarks") for path in (ROOT / side).rglob("*.py")]
"""The product's Python files; a test file may be a long list of cases."""


def test_files_stay_readable() -> None:
    """No Python file of the product is longer than 400 lines."""
    assert [(str(p), n) for p in FILES if (n := len(p.read_text().splitlines())) > 400] == []


def test_functions_stay_readable() -> None:
    """No function of the product is longer than 40 lines, its signature and docstring included."""
    functions = [
        (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    ]

    assert len(functions) > 1000
    assert [(name, length) for name, length in functions if length > 40] == []

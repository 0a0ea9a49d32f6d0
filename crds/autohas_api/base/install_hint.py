"""How to install the packages of an extra, for the sentence that says one is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["install_hint"]

_ROOT = Path(__file__).resolve().parents[3]
"""The checkout where the package is installed from one (`pip install -e`), else a folder of Python's own."""


def install_hint(extra: Literal["operator", "trainer"], root: Path = _ROOT) -> str:
    """The command that brings the extra's packages: in the checkout, or for an installed wheel."""
    if (root / "Makefile").is_file() and (root / "pyproject.toml").is_file():
        return f"run `make setup` in {root}, or `pip install -e '.[{extra}]'` there"
    return f"run `pip install 'autohas[{extra}]'`"

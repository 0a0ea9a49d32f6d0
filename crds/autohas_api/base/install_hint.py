"""The command that installs an extra, for the error about a missing package."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["Extra", "install_hint"]

_ROOT = Path(__file__).resolve().parents[3]
"""Root of the checkout if the package is installed from one (`pip install -e`), else a folder of Python."""


Extra = Literal["operator", "trainer", "export", "s3", "gcs", "hf", "arrow", "dashboard"]


def install_hint(extra: Extra, root: Path = _ROOT) -> str:
    """The command that installs the packages of the extra: in the checkout, or for an installed wheel."""
    if (root / "Makefile").is_file() and (root / "pyproject.toml").is_file():
        return f"run `make setup` in {root}, or `pip install -e '.[{extra}]'` there"
    return f"run `pip install 'autohas[{extra}]'`"

"""`task.data.path` as this machine understands it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from autohas_api.base.text_encoding import as_file_name
from autohas_trainer.errors import DataError

__all__ = ["expand_path", "relative_to"]

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_VARIABLE: Final = re.compile(r"\$\{?[A-Za-z_]")


def expand_path(path: str) -> str:
    """Return `path` with a leading ~ replaced by the home folder.

    Raises:
        DataError: There is no such home, or the path is a URL or holds a variable that a shell would replace and nothing here does.
    """
    path = as_file_name(path)
    if _URL.match(path):
        message = f"task.data.path {path!r} is a URL; only files of this machine are read: download it first, or mount it"
        raise DataError(message)
    if _VARIABLE.search(path) and not Path(path).exists():
        message = f"task.data.path {path!r} is missing: variables are not replaced there; write the path out, or begin it with ~"
        raise DataError(message)
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        message = f"task.data.path {path!r} begins with a home folder that is not known here; write the path out"
        raise DataError(message) from error


def relative_to(path: Path) -> str:
    """Return where a relative path was looked for, as part of an error; nothing for an absolute one."""
    return "" if path.is_absolute() else f" (relative to {Path.cwd()})"

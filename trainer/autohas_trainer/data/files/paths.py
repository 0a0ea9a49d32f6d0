"""`task.data.path` as this machine understands it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from autohas_api.base.text_encoding import as_file_name
from autohas_trainer.errors import DataError

__all__ = ["REMOTE_SCHEMES", "expand_path", "is_remote", "refuse_training_as_test", "relative_to"]

REMOTE_SCHEMES: Final = ("s3", "gs", "hf")
"""Schemes that are read through the cache folder."""
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://")
_VARIABLE: Final = re.compile(r"\$\{?[A-Za-z_]")


def is_remote(path: str) -> bool:
    """Whether `path` is an address of a store that is read through the cache folder."""
    match = _URL.match(path)
    return match is not None and match[1] in REMOTE_SCHEMES


def expand_path(path: str) -> str:
    """Return `path` with a leading ~ replaced by the home folder; `file://` leads to a path of this machine, remote addresses stay.

    Raises:
        DataError: There is no such home, or the path is a URL of another kind, or holds a variable that a shell would replace and nothing
            here does.
    """
    path = as_file_name(path)
    if is_remote(path):
        return path
    if path.startswith("file://"):
        return _local_path(path)
    if _URL.match(path):
        listed = ", ".join(f"{scheme}://" for scheme in (*REMOTE_SCHEMES, "file"))
        message = f"task.data.path {path!r} is a URL of a kind that is not read ({listed} are): download it first, or mount it"
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


def refuse_training_as_test(test: Iterable[Path], train: Iterable[Path], argument: str | None = None) -> None:
    """Refuse test data that are training data too, under their own name or by a link; a path that is missing is neither.

    Args:
        test: Files or folders of the test data.
        train: Files or folders of the training data.
        argument: Name in task.data.arguments that gave the test data; None: they were found by their name.

    Raises:
        DataError: One is both; names it.
    """
    identities = {_identify(path) for path in train if path.exists()}
    for path in test:
        if path.exists() and _identify(path) in identities:
            source = "" if argument is None else f" (task.data.arguments.{argument})"
            message = (
                f"{path}{source} is training data too, so that the test score would not hold for other data: put other data there, or take"
                " a share of the training data by task.data.arguments.testFraction"
            )
            raise DataError(message)


def _identify(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _local_path(url: str) -> str:
    """Return the path of a file:// URL."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        message = f"task.data.path {url!r} must have three slashes and an absolute path, for example file:///data/train.csv"
        raise DataError(message)
    return unquote(parts.path)

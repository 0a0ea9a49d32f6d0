"""Names the missing extra when a command needs a package that is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autohas_api.base.install_hint import install_hint

__all__ = ["MissingExtraError", "needs_trainer"]


class MissingExtraError(ImportError):
    """A package of an extra is not installed."""


@contextmanager
def needs_trainer(what: str) -> Iterator[None]:
    """Turn an ImportError of a missing package into a sentence with the extra to install.

    Raises:
        MissingExtraError: names the package and the extra that brings it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in ("autohas", "autohas_api", "autohas_trainer"):
            raise
        message = f"{what} needs the package {error.name}, which is not installed: {install_hint('trainer')}"
        raise MissingExtraError(message, name=error.name) from error

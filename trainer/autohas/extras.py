"""Which extra a command needs, said in a sentence when it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autohas_api.base.install_hint import install_hint

__all__ = ["MissingExtraError", "needs_trainer"]


class MissingExtraError(ImportError):
    """A part of the distribution was installed without the packages that it needs."""


@contextmanager
def needs_trainer(what: str) -> Iterator[None]:
    """Turn a package that is not installed into a sentence.

    Raises:
        MissingExtraError: names the package and the extra that brings it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in ("autohas", "autohas_api", "autohas_trainer"):
            raise
        message = f"{what} trains on this machine and needs the package {error.name}, which is not installed: {install_hint('trainer')}"
        raise MissingExtraError(message, name=error.name) from error

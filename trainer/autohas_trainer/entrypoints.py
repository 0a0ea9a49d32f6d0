"""Own code by its name, `package.module:object`, imported from the trainer's image or its PYTHONPATH.

Whatever it raises while it is imported or called for the first time is the search's configuration, said in one sentence.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from autohas_trainer.errors import ConfigurationError, DataError, TrainerError

__all__ = ["keywords", "load_object", "speaking_for"]


def load_object(entrypoint: str, field: str) -> Callable[..., Any]:
    """Import the object of an entrypoint.

    Args:
        entrypoint: `package.module:object`.
        field: JSON path of the entrypoint, for errors.

    Raises:
        ConfigurationError: The module or the object is not there, importing it raised, or it cannot be called.
    """
    module_name, _, name = entrypoint.partition(":")
    try:
        with speaking_for(f"{field} {entrypoint}", f"importing {module_name}"):
            module = importlib.import_module(module_name)
    except ConfigurationError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name is not None and f"{module_name}.".startswith(f"{cause.name}."):
            message = (
                f"{field} {entrypoint}: there is no module {cause.name}; install it in the trainer's image, or put its folder on PYTHONPATH"
            )
            raise ConfigurationError(message) from error
        raise
    found = getattr(module, name, None)
    if found is None:
        public = sorted(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))
        message = (
            f"{field} {entrypoint}: module {module_name} has no {name}; it has {', '.join(public[:20]) or 'nothing that can be called'}"
        )
        raise ConfigurationError(message)
    if not callable(found):
        message = f"{field} {entrypoint}: {name} is a {type(found).__name__} and cannot be called; it must be a class or a function"
        raise ConfigurationError(message)
    called: Callable[..., Any] = found
    return called


@contextmanager
def speaking_for(who: str, doing: str) -> Iterator[None]:
    """Say in one sentence what own code raised inside the block: who, while doing what.

    Raises:
        DataError: It was the operating system's error about a file.
        ConfigurationError: It was any other; our own errors and a full memory pass.
    """
    try:
        yield
    except (TrainerError, MemoryError):
        raise
    except OSError as error:
        message = f"{who}: {doing} raised {type(error).__name__}: {error}"
        raise DataError(message) from error
    except Exception as error:
        message = f"{who}: {doing} raised {type(error).__name__}: {error}"
        raise ConfigurationError(message) from error


def keywords(arguments: Mapping[str, str] | None) -> str:
    """Return arguments as they are handed over, for errors."""
    return ", ".join(f"{name}={value!r}" for name, value in (arguments or {}).items())

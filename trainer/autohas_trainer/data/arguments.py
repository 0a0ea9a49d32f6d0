"""What the arguments of a data source may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autohas_trainer.errors import ConfigurationError

__all__ = ["refuse_unknown_arguments"]


def refuse_unknown_arguments(arguments: Mapping[str, str], known: Sequence[str], source: str) -> None:
    """Refuse arguments that acceptance would have refused; entry points and tests may hand over others.

    Raises:
        ConfigurationError: One is unknown.
    """
    unknown = sorted(arguments.keys() - set(known))
    if unknown:
        message = f"task.data.arguments.{unknown[0]} is unknown to {source}; it takes {', '.join(known)}"
        raise ConfigurationError(message)

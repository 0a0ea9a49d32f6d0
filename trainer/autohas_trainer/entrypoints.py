"""Imports custom code by its name, `package.module:object`, from the trainer's image or its PYTHONPATH.

An exception of that code during import or the first call is an error of the search's configuration, reported in one sentence.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from autohas_api.base.entrypoint_form import explain_entrypoint
from autohas_trainer.errors import ConfigurationError, DataError, TrainerError

__all__ = ["attribute_errors_to", "format_arguments", "load_object", "require_names"]


def load_object(entrypoint: str, field: str) -> Callable[..., Any]:
    """Import the object of an entrypoint.

    Args:
        entrypoint: `package.module:object`.
        field: JSON path of the entrypoint, for errors.

    Raises:
        ConfigurationError: It has another form, the module or the object does not exist, its import raised, or it cannot be called.
    """
    if (why := explain_entrypoint(entrypoint)) is not None:
        raise ConfigurationError(f"{field} {entrypoint}: {why}")
    module_name, _, name = entrypoint.partition(":")
    try:
        with attribute_errors_to(f"{field} {entrypoint}", f"importing {module_name}"):
            module = importlib.import_module(module_name)
    except ConfigurationError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name is not None and f"{module_name}.".startswith(f"{cause.name}."):
            message = (
                f"{field} {entrypoint}: there is no module {cause.name}; install it in the trainer's image, or put its folder on PYTHONPATH"
            )
            raise ConfigurationError(message) from error
        raise
    target = getattr(module, name, None)
    if target is None:
        public = sorted(n for n, value in vars(module).items() if callable(value) and not n.startswith("_"))
        message = (
            f"{field} {entrypoint}: module {module_name} has no {name}; it has {', '.join(public[:20]) or 'nothing that can be called'}"
        )
        raise ConfigurationError(message)
    if not callable(target):
        message = f"{field} {entrypoint}: {name} is a {type(target).__name__} and cannot be called; it must be a class or a function"
        raise ConfigurationError(message)
    called: Callable[..., Any] = target
    return called


def require_names(function: Callable[..., Any], names: Sequence[str], who: str, wrapper: str, *, explicit: bool) -> None:
    """Refuse a function that does not take the given keywords; positional arguments could land in the wrong parameter.

    Args:
        function: Custom code: a factory or a hook.
        names: Keywords that it is called with.
        who: Subject of the error sentence.
        wrapper: Code that the error suggests.
        explicit: Whether each name must be a parameter: a function of another library takes `**kwargs` and means something else by them.

    Raises:
        ConfigurationError: the function does not take them; the sentence names its parameters.
    """
    inner = getattr(function, "forward", None)  # a torch.nn.Module: its __call__ takes anything
    try:
        parameters = tuple(inspect.signature(function if inner is None or inspect.isclass(function) else inner).parameters.values())
    except (TypeError, ValueError):
        if not explicit:
            return
        parameters, signature = (), "arguments that Python cannot name"
    else:
        signature = f"({', '.join(map(_describe_parameter, parameters))})"
    named = {p.name for p in parameters if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)}
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters) and not explicit
    missing = [name for name in names if name not in named and not takes_any]
    if missing:
        names_text, missing_text = ", ".join(names), ", ".join(missing)
        message = f"{who} takes {signature}; it is called with {names_text} by name and cannot take {missing_text}; write\n{wrapper}"
        raise ConfigurationError(message)


def _describe_parameter(parameter: inspect.Parameter) -> str:
    """Return a parameter without type and default, marked where it is positional only."""
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL:
            return f"*{parameter.name}"
        case inspect.Parameter.VAR_KEYWORD:
            return f"**{parameter.name}"
        case inspect.Parameter.POSITIONAL_ONLY:
            return f"{parameter.name} by position"
        case _:
            return parameter.name


@contextmanager
def attribute_errors_to(who: str, action: str) -> Iterator[None]:
    """Turn an exception of custom code inside the block into one sentence: who, during which action, raised what.

    Raises:
        DataError: It was the operating system's error about a file.
        ConfigurationError: It was any other, `sys.exit` among them, which would end the search with the code of its choice; our own
            errors and a full memory pass.
    """
    try:
        yield
    except (TrainerError, MemoryError):
        raise
    except OSError as error:
        message = f"{who}: {action} raised {type(error).__name__}: {error}"
        raise DataError(message) from error
    except (Exception, SystemExit) as error:
        message = f"{who}: {action} raised {type(error).__name__}: {error}"
        raise ConfigurationError(message) from error


def format_arguments(arguments: Mapping[str, str] | None) -> str:
    """Format the arguments of a call, for errors."""
    return ", ".join(f"{name}={value!r}" for name, value in (arguments or {}).items())

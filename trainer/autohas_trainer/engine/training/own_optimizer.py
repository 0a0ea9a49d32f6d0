"""An optimizer of the user's own: an object with an optimizer's methods, over the parameters of the module that it was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from autohas_trainer.errors import ConfigurationError

__all__ = ["require_methods", "require_own_parameters"]

_METHODS: Final = ("zero_grad", "step", "state_dict", "load_state_dict")
_MOST_NAMES: Final = 3


def require_methods(optimizer: object, who: str) -> None:
    """Refuse what is no optimizer.

    Raises:
        ConfigurationError: it lacks a method; names them.
    """
    if absent := [name for name in _METHODS if not callable(getattr(optimizer, name, None))]:
        raise ConfigurationError(f"{who}: optimizer gave a {type(optimizer).__name__} without {', '.join(absent)}")


def require_own_parameters(optimizer: object, module: nn.Module, who: str) -> None:
    """Refuse an optimizer over other parameters than those of `module` that require a gradient.

    What an object that holds its optimizers out of sight updates is unknown, and accepted.

    Raises:
        ConfigurationError: it updates a parameter of another module, which no checkpoint keeps, or leaves out one of this module.
    """
    groups = [group for part in _find_optimizers(optimizer) for group in part.param_groups]
    if not groups:
        return
    updated: dict[int, Tensor] = {id(parameter): parameter for group in groups for parameter in group["params"]}
    own = {id(parameter) for parameter in module.parameters()}
    if foreign := [parameter for key, parameter in updated.items() if key not in own]:
        raise ConfigurationError(
            f"{who}: optimizer updates {_count(len(foreign))} of another module than the one that it was given (shape"
            f" {tuple(foreign[0].shape)}): make it from the parameters of module, and let build put everything that is trained into the"
            " module, which a checkpoint keeps"
        )
    if left := [name for name, parameter in module.named_parameters() if parameter.requires_grad and id(parameter) not in updated]:
        names = ", ".join(left[:_MOST_NAMES]) + (f" and {len(left) - _MOST_NAMES} more" if len(left) > _MOST_NAMES else "")
        raise ConfigurationError(
            f"{who}: optimizer leaves out {_count(len(left))} of the module that require a gradient ({names}): give them to the optimizer,"
            " or let build call requires_grad_(False) on what is not trained"
        )


def _count(number: int) -> str:
    return f"{number} parameter{'' if number == 1 else 's'}"


def _find_optimizers(optimizer: object) -> Iterator[Optimizer]:
    """The optimizer itself, or those that an object holds in its attributes, in lists of theirs, and in dictionaries."""
    if isinstance(optimizer, Optimizer):
        yield optimizer
        return
    for value in getattr(optimizer, "__dict__", {}).values():
        held: Any = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else (value,)
        yield from (part for part in held if isinstance(part, Optimizer))

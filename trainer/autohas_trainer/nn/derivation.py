"""Reads the decisions of a whole network off its modules: each decision once, parents first, with the condition that nesting gives it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from torch import nn

from autohas_api.base.condition import When
from autohas_api.base.spec_errors import field_errors_of
from autohas_api.spec.search_space import ArchitectureDecision
from autohas_api.templates.template_spec import TemplateDecision
from autohas_trainer.nn.branches import Branches
from autohas_trainer.nn.choices import Choice, Size

__all__ = ["derive_decisions"]

_Chain = tuple[tuple[str, tuple[str, ...]], ...]
"""The wrappers around a place, outermost first: the decision of each and the choices for which the place exists."""


@dataclass(frozen=True, slots=True)
class _Use:
    """One place where a decision takes effect."""

    choice: Choice
    module: str
    chain: _Chain


def derive_decisions(network: nn.Module, read: Mapping[str, Sequence[Choice]]) -> tuple[TemplateDecision, ...]:
    """Return the decisions of a whole network.

    Args:
        network: It, as its factory made it.
        read: The decisions that the factory read while it ran; one that no module holds has no condition.

    Raises:
        ValueError: one name has different choices or defaults at two places, a wrapper stands at two places, or the contract does not
            allow a name or a choice.
    """
    uses: dict[str, list[_Use]] = {}
    for use in _walk(network, "", (), {}):
        uses.setdefault(use.choice.name, []).append(use)
    for name, choices in read.items():
        uses.setdefault(name, [_Use(choices[0], "the factory", ())])
        uses[name].extend(_Use(choice, "the factory", uses[name][0].chain) for choice in choices)
    decisions: dict[str, TemplateDecision] = {}
    for name, places in uses.items():
        first = places[0]
        for other in places[1:]:
            if (other.choice.choices, other.choice.default) != (first.choice.choices, first.choice.default):
                raise ValueError(_describe_difference(name, first, other))
        decisions[name] = _validate(first.choice, _condition([place.chain for place in places], decisions))
    return tuple(decisions.values())


def _walk(module: nn.Module, name: str, chain: _Chain, wrappers: dict[int, str]) -> Iterator[_Use]:
    """Yield every use of a decision, a wrapper before what is inside of it."""
    for choice in _choices_of(module):
        yield _Use(choice, name or "the model", chain)
    if isinstance(module, Branches) and (owner := wrappers.setdefault(id(module), name)) != name:
        message = f"{owner} and {name} are the same {type(module).__name__} {module.decision.name}; make one for each place"
        raise ValueError(message)
    for child_name, child in module._modules.items():  # noqa: SLF001 - named_children leaves out a module that stands at two places
        if child is not None:
            inner = (*chain, (module.decision.name, module.choices_with(child_name))) if isinstance(module, Branches) else chain
            yield from _walk(child, f"{name}.{child_name}" if name else child_name, inner, wrappers)


def _choices_of(module: nn.Module) -> Iterator[Choice]:
    """Yield the decisions that a module holds in its attributes, alone or in a tuple or list."""
    for value in vars(module).values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, Size):
                yield from item.decisions


def _condition(chains: Sequence[_Chain], decisions: Mapping[str, TemplateDecision]) -> When | None:
    """Return the narrowest condition on one decision that holds at every place: that of the innermost wrapper around all of them."""
    for name, _ in reversed(chains[0]):
        values = [dict(chain).get(name) for chain in chains]
        if all(value is not None for value in values):
            decision = decisions[name]
            wanted = {choice for value in values for choice in value or ()}
            if wanted == set(decision.choices):
                return decision.when  # wherever that decision is made, so is this one
            return When(decision=name, values=tuple(choice for choice in decision.choices if choice in wanted))
    return None


def _validate(choice: Choice, when: When | None) -> TemplateDecision:
    """Return a decision that the contract allows."""
    try:
        ArchitectureDecision.model_validate({"name": choice.name, "choices": list(choice.choices), "default": choice.default})
    except ValidationError as error:
        message = f"decision {choice.name!r} is not allowed: {field_errors_of(error, ArchitectureDecision)[0]}"
        raise ValueError(message) from error
    return TemplateDecision(name=choice.name, choices=choice.choices, default=choice.default, when=when)


def _describe_difference(name: str, first: _Use, other: _Use) -> str:
    one, two = (f"{', '.join(use.choice.choices)} (default {use.choice.default}) at {use.module}" for use in (first, other))
    return f"decision {name} has choices {one} and {two}: one name is one decision; make them equal, or give the second another name"

"""Checks of the conditions between decisions: the parent exists, its choices exist, and there is no cycle. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from autohas_api.base.condition import When
from autohas_api.base.spec_errors import FieldError
from autohas_api.spec.hyperparameters import Hyperparameter, choices_of
from autohas_api.spec.search_space import ArchitectureDecision
from autohas_api.templates.template_spec import TemplateDecision

__all__ = ["find_wrong_conditions_of_decisions", "find_wrong_conditions_of_hyperparameters"]

_DECISIONS = "spec.searchSpace.architecture.decisions"
_HYPERPARAMETERS = "spec.searchSpace.hyperparameters"


def find_wrong_conditions_of_decisions(
    changes: Sequence[ArchitectureDecision], declared: Mapping[str, TemplateDecision]
) -> Iterator[FieldError]:
    """Errors of the conditions that a spec adds to architecture decisions."""
    choices = {name: decision.choices for name, decision in declared.items()}
    for index, change in enumerate(changes):
        if change.when is None or change.name not in declared:
            continue
        path = f"{_DECISIONS}[{index}].when"
        if declared[change.name].when is not None:
            yield FieldError(path=path, message="the template already has a condition for this decision; it must be left out")
        else:
            yield from _find_wrong_condition(change.when, choices, path)
    parents = {d.name: d.when.decision for d in declared.values() if d.when is not None}
    parents |= {c.name: c.when.decision for c in changes if c.when is not None}
    yield from _cycle([c.name for c in changes], parents, _DECISIONS)


def find_wrong_conditions_of_hyperparameters(
    hyperparameters: Sequence[Hyperparameter], declared: Mapping[str, TemplateDecision]
) -> Iterator[FieldError]:
    """Errors of the conditions of hyperparameters: their parents must have named choices or integers, not continuous ranges."""
    choices = {h.name: choices_of(h) for h in hyperparameters if h.continuous is None}
    choices |= {name: decision.choices for name, decision in declared.items()}
    for index, hyperparameter in enumerate(hyperparameters):
        if hyperparameter.when is not None:
            yield from _find_wrong_condition(hyperparameter.when, choices, f"{_HYPERPARAMETERS}[{index}].when")
    parents = {h.name: h.when.decision for h in hyperparameters if h.when is not None}
    yield from _cycle([h.name for h in hyperparameters], parents, _HYPERPARAMETERS)


def _find_wrong_condition(when: When, choices: Mapping[str, Sequence[str]], path: str) -> Iterator[FieldError]:
    if when.decision not in choices:
        allowed_text = f"must be one of {', '.join(choices)}" if choices else "is no decision that the search lists"
        yield FieldError(path=f"{path}.decision", message=f'"{when.decision}" {allowed_text}')
        return
    allowed = choices[when.decision]
    for position, value in enumerate(when.values):
        if value not in allowed:
            yield FieldError(path=f"{path}.values[{position}]", message=f'"{value}" must be one of {", ".join(allowed)}')


def _cycle(names: Sequence[str], parents: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """The first cycle among `names`, if any."""
    for index, start in enumerate(names):
        seen, name = {start: None}, parents.get(start)
        while name is not None and name not in seen:
            seen[name] = None
            name = parents.get(name)
        if name == start:
            yield FieldError(
                path=f"{path}[{index}].when.decision", message=f"conditions must not form a cycle: {' -> '.join([*seen, start])}"
            )
            return

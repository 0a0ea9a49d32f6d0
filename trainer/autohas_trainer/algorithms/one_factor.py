"""AutoHAS, strategy OneFactor: which configuration is worth a ninth of a training next. Pure.

    neighbours    one decision of the centre is changed: by one step where its choices are ordered, else to each other choice
    combinations  of the best change of each decision: all of them, the best two, three and half
    refinements   of the best: one more step along a change, one change taken back, another decision changed

Ours. The centre is the default in the first round and the best configuration so far in later ones. A combination is tried, not
believed: it competes as every other configuration does, so that changes which harm each other lose. `autohas_api.algorithms.one_factor`
has the numbers of the rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Final, Self

import numpy as np

from autohas_api.algorithms.one_factor import EFFECT_WIDTH
from autohas_api.base.model import DECIMAL_PATTERN
from autohas_api.space.decisions import Configuration, Decision, Space
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Candidate
from autohas_trainer.events import DEFAULT
from autohas_trainer.space.policy import Policy

__all__ = [
    "COMBINATION",
    "INITIAL",
    "REFINEMENT",
    "OneFactor",
    "Tried",
    "find_change",
    "list_changes",
    "list_combinations",
    "list_neighbours",
    "list_refinements",
    "list_steps",
    "name_change",
    "shuffle",
]

INITIAL: Final = "initial"
COMBINATION: Final = "combination"
REFINEMENT: Final = "refinement"
_NUMBERED: Final = (INITIAL, COMBINATION, REFINEMENT, "seed")
"""Names that a number follows; a decision may have such a name too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A configuration that was compared at 1/9: its key (-inf: it is out) and the standard error of its lead over its round's centre."""

    configuration: Configuration
    key: float
    standard_error: float = 0.0


def list_steps(decision: Decision, value: str) -> tuple[str, ...]:
    """The choices one step away from a value: of ordered ones the nearest below and above it, otherwise every other choice."""
    if not _is_ordered(decision, value):
        return tuple(choice for choice in decision.choices if choice != value)
    below = [choice for choice in decision.choices if float(choice) < float(value)]
    above = [choice for choice in decision.choices if float(choice) > float(value)]
    return (*([max(below, key=float)] if below else []), *([min(above, key=float)] if above else []))


def list_neighbours(space: Space, centre: Configuration) -> list[Configuration]:
    """The configurations that differ from `centre` in one active decision by one step, in the order of the space.

    Decisions that the change activates have their default, as they do wherever they are inactive.
    """
    values = space.as_mapping(centre)
    active = [decision for decision in space.searched_decisions() if space.is_active(decision, values)]
    return [_change(space, values, {d.name: choice}) for d in active for choice in list_steps(d, values[d.name])]


def find_change(space: Space, centre: Configuration, other: Configuration) -> tuple[str, str] | None:
    """(decision, value in `other`) where changing one decision of `centre` gives `other`; None where it takes none, or several."""
    changes = list_changes(space, centre, other)
    if not changes:
        return None
    name, value = next(iter(changes.items()))  # parents come first: what else differs is what this change has made inactive
    return (name, value) if _change(space, space.as_mapping(centre), {name: value}) == other else None


def list_combinations(space: Space, centre: Tried, tried: Iterable[Tried]) -> list[Configuration]:
    """All best changes together, the best two, the best three and the best half, without repeats; none of fewer than two changes.

    A change is that of a configuration which differs from `centre` in one decision; the best one of each decision counts, if it leads by
    more than EFFECT_WIDTH standard errors.
    """
    best: dict[str, tuple[float, str]] = {}
    for other in tried:
        change, effect = find_change(space, centre.configuration, other.configuration), other.key - centre.key
        if change is not None and effect > EFFECT_WIDTH * other.standard_error and effect > best.get(change[0], (0.0, ""))[0]:
            best[change[0]] = (effect, change[1])
    ordered = sorted(best, key=lambda name: -best[name][0])
    sizes = dict.fromkeys(size for size in (len(ordered), 2, 3, math.ceil(len(ordered) / 2)) if 2 <= size <= len(ordered))  # noqa: PLR2004 - at least two
    values = space.as_mapping(centre.configuration)
    return list(dict.fromkeys(_change(space, values, {name: best[name][1] for name in ordered[:size]}) for size in sizes))


def list_refinements(space: Space, best: Configuration, tried: Iterable[Tried], turn: int, rng: np.random.Generator) -> list[Configuration]:
    """Configurations near `best`, the three kinds in turns, beginning with kind `turn` modulo 3; in random order within a kind.

    One more step along a change of the default; one change taken back; a neighbour, of decisions that no configuration has changed first.
    """
    changes, values = list_changes(space, space.default, best), space.as_mapping(best)
    default, by_name = space.as_mapping(space.default), {decision.name: decision for decision in space.decisions}
    further = [
        _change(space, values, {name: step})
        for name, value in changes.items()
        if (step := _find_step_along(by_name[name], default[name], value)) is not None
    ]
    back = [_change(space, values, {name: default[name]}) for name in changes]
    touched = {name for other in tried for name in list_changes(space, space.default, other.configuration)}
    neighbours = shuffle(list_neighbours(space, best), rng)
    neighbours.sort(key=lambda other: not touched.isdisjoint(list_changes(space, best, other)))
    kinds = [shuffle(further, rng), shuffle(back, rng), neighbours]
    in_turns = zip_longest(*kinds[turn % len(kinds) :], *kinds[: turn % len(kinds)])
    return list(dict.fromkeys(configuration for configuration in chain.from_iterable(in_turns) if configuration is not None))


def name_change(decision: str, value: str) -> str:
    """The name of the candidate that changes one decision of the default; distinct from every numbered name."""
    return f"{decision}: {value}" if decision in _NUMBERED else f"{decision} {value}"


def _is_ordered(decision: Decision, value: str) -> bool:
    """Whether choices and value are numbers."""
    return decision.is_ordered and re.fullmatch(DECIMAL_PATTERN, value) is not None


def _change(space: Space, values: Mapping[str, str], changes: Mapping[str, str]) -> Configuration:
    return space.configuration({**values, **changes})


def list_changes(space: Space, centre: Configuration, other: Configuration) -> dict[str, str]:
    """The decisions in which `other` differs, with its values."""
    pairs = zip(space.decisions, centre.values, other.values, strict=True)
    return {decision.name: value for decision, old, value in pairs if value != old}


def _find_step_along(decision: Decision, start: str, value: str) -> str | None:
    """The choice one step further in the direction from `start` to `value`; None at the end of the range and without an order."""
    if not _is_ordered(decision, value) or not _is_ordered(decision, start):
        return None
    sign = 1 if float(value) > float(start) else -1
    return next((step for step in list_steps(decision, value) if sign * (float(step) - float(value)) > 0), None)


def shuffle(configurations: Sequence[Configuration], rng: np.random.Generator) -> list[Configuration]:
    """The same configurations in random order."""
    return [configurations[int(index)] for index in rng.permutation(len(configurations))]


class OneFactor:
    """Proposes the default and its neighbours; has no shared weights and no controller that learns."""

    def __init__(self, space: Space) -> None:
        self.policy = Policy(space, learning_rate=1.0)
        self._space = space

    @classmethod
    def from_spec(cls, spec: Spec, space: Space) -> Self:  # noqa: ARG003 - every builder has both
        """The algorithm of a search, at its start."""
        return cls(space)

    def begin(self, reference: Configuration) -> None:
        """Nothing to take: there is no supernet."""

    def candidates(self, count: int, rng: np.random.Generator) -> list[Candidate]:
        """The default, then its neighbours in random order, `count` in all."""
        space = self._space
        neighbours = shuffle(list_neighbours(space, space.default), rng)
        return [
            Candidate(name=DEFAULT, configuration=space.default),
            *(
                Candidate(name=name_change(*change), configuration=c)
                for c in neighbours
                if (change := find_change(space, space.default, c))
            ),
        ][:count]

    def state_dict(self) -> dict[str, Any]:
        """Nothing changes: what comes next is a function of the seed and of the comparisons."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

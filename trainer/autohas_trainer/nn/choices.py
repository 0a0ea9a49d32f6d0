"""Decisions in a model's code: `Choice` is one decision, `Size` a number that follows from decisions, `Construction` what is being built.

A factory runs once per network. While it runs, a `Construction` says which network: the *whole* one, with every branch and the largest
sizes, whose weights are shared; or the network of one path. Every wrapper and every `int(size)` asks it, so a factory never does.
Outside of any construction the default is built, so that a factory called by hand gives an ordinary network. A module that `FollowsPath`
can also say what it would be in the network of another path, so that no network has to be built for it (see `switching`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import product
from typing import Final

__all__ = ["Choice", "Construction", "FollowsPath", "Size", "constructing", "current_construction"]

_MAX_COMBINATIONS: Final = 4096
"""Sizes that are tried for the largest one of a function of several decisions."""


@dataclass(slots=True, eq=False)
class Construction:
    """The network that a factory builds just now.

    Attributes:
        path: Decision name → choice; None for the whole network. A decision that is not in it stands at its default.
        read: Decisions that the factory has read so far, by name.
    """

    path: Mapping[str, str] | None = None
    read: dict[str, list[Choice]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every branch is built, at its largest."""
        return self.path is None

    def choice_of(self, decision: Choice) -> str:
        """Return where `decision` stands: the default in the whole network too, whose sizes are asked for by `Size`."""
        self.read.setdefault(decision.name, []).append(decision)
        return decision.default if self.path is None else self.path.get(decision.name, decision.default)

    def branches_of(self, decision: Choice) -> tuple[str, ...]:
        """Return the branches to build."""
        chosen = self.choice_of(decision)
        return decision.choices if self.is_whole else (chosen,)


_CURRENT: ContextVar[Construction | None] = ContextVar("construction", default=None)


def current_construction() -> Construction:
    """Return what is being built; outside of a search the default network."""
    return _CURRENT.get() or Construction(path={})


@contextmanager
def constructing(construction: Construction) -> Iterator[Construction]:
    """Let a factory that runs inside the block build `construction`."""
    token = _CURRENT.set(construction)
    try:
        yield construction
    finally:
        _CURRENT.reset(token)


class FollowsPath:
    """A module that differs between paths, by its own parameters, attributes or children.

    The methods are asked in the whole network, inside the `Construction` of a path, and say what the module of that path has. What they
    leave out is the same on all paths.
    """

    def path_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the module's own parameters by name."""
        return {}

    def path_attributes(self) -> Mapping[str, object]:
        """Return the attributes that `forward` reads and that follow from decisions, by name."""
        return {}

    def path_children(self) -> Collection[str] | None:
        """Return the names of the children that the module has; None stands for all."""
        return None


class Size:
    """A number that follows from decisions: `width * 4`, `width // heads`, or `width.map(round_to_eight)`.

    `int(size)` is its value in the network that is being built, and its largest value in the whole network.
    """

    def __init__(self, decisions: Sequence[Choice], function: Callable[..., int]) -> None:
        """Combine decisions of numbers; `function` takes the number of each."""
        self.decisions = tuple(decisions)
        self._function = function

    def __int__(self) -> int:
        """Return the number of the network that is being built."""
        construction = current_construction()
        standing = [construction.choice_of(decision) for decision in self.decisions]
        if not construction.is_whole:
            return int(self._function(*map(int, standing)))
        return max(self.values())

    def __index__(self) -> int:
        """As `int(size)`: a size may stand where a number is wanted."""
        return int(self)

    def values(self) -> list[int]:
        """Return the number of every combination of choices.

        Raises:
            ValueError: there are too many combinations.
        """
        combinations = 1
        for decision in self.decisions:
            combinations *= len(decision.choices)
        if combinations > _MAX_COMBINATIONS:
            names = ", ".join(decision.name for decision in self.decisions)
            message = f"a size follows from {names}: {combinations:,} combinations, at most {_MAX_COMBINATIONS:,} are possible; use fewer"
            raise ValueError(message)
        return [int(self._function(*map(int, choices))) for choices in product(*(decision.choices for decision in self.decisions))]

    def map(self, function: Callable[[int], int]) -> Size:
        """Return the size that `function` makes of this one."""
        return Size(self.decisions, lambda *numbers: function(self._function(*numbers)))

    def __mul__(self, other: Size | int) -> Size:
        return self._with(other, lambda one, two: one * two)

    def __rmul__(self, other: int) -> Size:
        return self._with(other, lambda one, two: one * two)

    def __add__(self, other: Size | int) -> Size:
        return self._with(other, lambda one, two: one + two)

    def __radd__(self, other: int) -> Size:
        return self._with(other, lambda one, two: one + two)

    def __floordiv__(self, other: Size | int) -> Size:
        return self._with(other, lambda one, two: one // two)

    def _with(self, other: Size | int, operation: Callable[[int, int], int]) -> Size:
        if not isinstance(other, Size):
            return Size(self.decisions, lambda *numbers: operation(self._function(*numbers), other))
        count = len(self.decisions)
        return Size(
            (*self.decisions, *other.decisions),
            lambda *numbers: operation(self._function(*numbers[:count]), other._function(*numbers[count:])),  # noqa: SLF001 - of its own kind
        )


class Choice(Size):
    """One decision: its name, its choices and its default. Where several layers take one `Choice`, or equal ones, they decide together.

        width = Choice("width", (32, 64, 128), default=64)
        nn.Sequential(ElasticLinear(10, width), nn.ReLU(), ElasticLinear(width, 3))

    A choice is text or a whole number; `int(choice)` and arithmetic need numbers, `choice.value` is the text.
    """

    def __init__(self, name: str, choices: Sequence[str | int], *, default: str | int | None = None) -> None:
        """Declare a decision; the default is the first choice.

        Raises:
            TypeError: a choice is neither text nor a whole number.
            ValueError: there are no choices, two are equal, or the default is none of them.
        """
        for choice in choices:
            if isinstance(choice, bool) or not isinstance(choice, str | int):
                message = f"decision {name}: choice {choice!r} is a {type(choice).__name__}; choices are text or whole numbers"
                raise TypeError(message)
        self.name = name
        self.choices = tuple(map(str, choices))
        if not self.choices or len(set(self.choices)) < len(self.choices):
            message = f"decision {name} has choices {', '.join(self.choices) or 'none'}; give at least one, and each once"
            raise ValueError(message)
        self.default = self.choices[0] if default is None else str(default)
        if self.default not in self.choices:
            message = f"decision {name} has default {self.default}, which is none of its choices {', '.join(self.choices)}"
            raise ValueError(message)
        super().__init__((self,), lambda number: number)

    @property
    def value(self) -> str:
        """The choice of the network that is being built; the default in the whole network."""
        return current_construction().choice_of(self)

    def __repr__(self) -> str:
        """Return the declaration."""
        return f"Choice({self.name!r}, {list(self.choices)}, default={self.default!r})"

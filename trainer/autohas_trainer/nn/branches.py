"""Modules that hold alternatives: one of several, one or nothing, and a chain of variable length.

A network of one path holds the chosen branch only, under the same name as the whole network, so that weights travel by name:
`OneOf("act", {"relu": ..., "prelu": ...})` at `stage.act` gives leaf `stage.act.prelu.weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from torch import nn

from autohas_trainer.nn.choices import Choice, FollowsPath, current_construction

__all__ = ["Branches", "OneOf", "Repeat", "Skippable"]


class Branches(nn.Module, FollowsPath):
    """The base of all modules whose children exist for some choices only."""

    def __init__(self, decision: Choice) -> None:
        super().__init__()
        self.decision = decision

    def choices_with(self, child: str) -> tuple[str, ...]:
        """Return the choices for which the child of this name exists."""
        raise NotImplementedError


class OneOf(Branches):
    """One of several modules.

        OneOf("act", {"relu": nn.ReLU(), "silu": nn.SiLU()}, default="relu")

    Several with one name and the same choices decide together. A choice's module is called with whatever the wrapper is called with.
    Large branches are given as functions, `"conv": lambda: Block(64)`: then only the chosen one is made.
    """

    def __init__(self, name: str, branches: Mapping[str, nn.Module | Callable[[], nn.Module]], *, default: str | None = None) -> None:
        """Keep the branches of the network that is being built; the default is the first.

        Raises:
            TypeError: a choice is no text, or a branch no module.
            ValueError: there is one branch only, a module is given twice, or two choices have one module name.
        """
        for choice, branch in branches.items():
            if not isinstance(choice, str):
                message = f"OneOf {name}: choice {choice!r} is a {type(choice).__name__}; choices are text: write {str(choice)!r}"
                raise TypeError(message)
            if not isinstance(branch, nn.Module) and not callable(branch):
                raise _wrong_branch(name, choice, branch)
        if len(branches) <= 1:
            message = f"OneOf {name} has {len(branches)} branches ({', '.join(branches) or 'none'}); give at least two to choose from"
            raise ValueError(message)
        _require_distinct(f"OneOf {name}", {choice: branch for choice, branch in branches.items() if isinstance(branch, nn.Module)})
        super().__init__(Choice(name, tuple(branches), default=default))
        self._child_names = {choice: _child_name(choice) for choice in branches}
        if len(set(self._child_names.values())) < len(branches):
            message = f"OneOf {name}: choices {', '.join(branches)} give equal module names, where a dot becomes _; rename one"
            raise ValueError(message)
        self.kept = current_construction().branches_of(self.decision)
        for choice in self.kept:
            branch = branches[choice]
            module = branch if isinstance(branch, nn.Module) else branch()
            if not isinstance(module, nn.Module):
                raise _wrong_branch(name, choice, module)
            self.add_module(self._child_names[choice], module)

    def choices_with(self, child: str) -> tuple[str, ...]:
        """Return the one choice whose branch this is."""
        return tuple(choice for choice, name in self._child_names.items() if name == child)

    def path_attributes(self) -> Mapping[str, object]:
        """Return the branch that is kept."""
        return {"kept": current_construction().branches_of(self.decision)}

    def path_children(self) -> tuple[str, ...]:
        """Return the name of the branch that is kept."""
        return tuple(self._child_names[choice] for choice in current_construction().branches_of(self.decision))

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the branches take and give
        """Return what the chosen branch gives."""
        chosen = self.kept[0] if len(self.kept) == 1 else self.decision.default
        return self.get_submodule(self._child_names[chosen])(*args, **kwargs)


class Skippable(OneOf):
    """A module that the network may leave out: decision with choices `keep` and `skip`. Skipped, its input is its output.

    Skippable("second_block", block)
    """

    def __init__(self, name: str, module: nn.Module, *, default: str = "keep") -> None:
        """Wrap a module whose output has the shape of its input."""
        super().__init__(name, {"keep": module, "skip": nn.Identity()}, default=default)


class Repeat(Branches):
    """The first n of a chain of modules, each called with the output of the one before: a network of variable depth.

    Repeat("depth", lambda index: Block(64), choices=(1, 2, 4), default=2)
    Repeat("depth", [Block(64), Block(64)])                                  # 1 or 2
    """

    def __init__(
        self,
        name: str,
        modules: Sequence[nn.Module] | Callable[[int], nn.Module],
        *,
        choices: Sequence[int | str] | None = None,
        default: int | str | None = None,
    ) -> None:
        """Keep the modules of the network that is being built.

        Args:
            name: Name of the decision.
            modules: The chain, or a function that makes module `index`, counted from 0.
            choices: The depths, 0 or more; 1 to the length of a given chain when left out.
            default: The default depth; the largest when left out.

        Raises:
            ValueError: there are no depths, one is negative or longer than the chain, or a module is given twice.
        """
        if choices is None:
            if callable(modules):
                message = f"Repeat {name}: a function of the index needs choices, the depths"
                raise ValueError(message)
            choices = tuple(range(1, len(modules) + 1))
        depths = [int(choice) for choice in choices]
        if not depths or min(depths) < 0 or (not callable(modules) and max(depths) > len(modules)):
            length = "" if callable(modules) else f" of a chain of {len(modules)} modules"
            message = f"Repeat {name} has depths {', '.join(map(str, depths)) or 'none'}{length}; give depths of 0 or more within it"
            raise ValueError(message)
        super().__init__(Choice(name, tuple(map(str, depths)), default=max(depths) if default is None else default))
        self.depth = self._current_depth()
        """How many modules of the chain are called."""
        chain = {str(index): modules(index) if callable(modules) else modules[index] for index in range(self.depth)}
        _require_distinct(f"Repeat {name}", chain)
        for child, module in chain.items():
            self.add_module(child, module)

    def choices_with(self, child: str) -> tuple[str, ...]:
        """Return the depths that reach this module of the chain."""
        return tuple(choice for choice in self.decision.choices if int(choice) > int(child))

    def _current_depth(self) -> int:
        """Return the depth of the network that is being built, the largest in the whole network."""
        construction = current_construction()
        return max(map(int, self.decision.choices)) if construction.is_whole else int(construction.choice_of(self.decision))

    def path_attributes(self) -> Mapping[str, object]:
        """Return the depth."""
        return {"depth": self._current_depth()}

    def path_children(self) -> tuple[str, ...]:
        """Return the names of the modules that are called."""
        return tuple(map(str, range(self._current_depth())))

    def forward(self, features: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the modules take and give
        """Return what the last module of the chain gives; further arguments go to each."""
        for module in islice(self.children(), self.depth):
            features = module(features, *args, **kwargs)
        return features


@lru_cache(maxsize=4096)
def _child_name(choice: str) -> str:
    """Return the name of a choice's module: a module name has no dot and is no attribute of every module."""
    name = choice.replace(".", "_")
    return f"{name}_" if hasattr(OneOf, name) or name in ("decision", "kept", "training") else name


def _wrong_branch(name: str, choice: str, branch: object) -> TypeError:
    message = f"OneOf {name}: branch {choice} is a {type(branch).__name__}; give a torch.nn.Module, nn.Identity() for nothing"
    return TypeError(message)


def _require_distinct(who: str, modules: Mapping[str, nn.Module]) -> None:
    """Refuse a module that stands at two places, whose weights would belong to both."""
    owners: dict[int, str] = {}
    for name, module in modules.items():
        if (owner := owners.setdefault(id(module), name)) != name:
            message = f"{who}: {owner} and {name} are the same module; make one for each"
            raise ValueError(message)

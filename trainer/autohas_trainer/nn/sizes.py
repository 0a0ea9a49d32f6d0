"""Do the sizes of a family of networks fit together on every path? Asked on the meta device, where a forward computes shapes only.

A width that leaves its block meets a layer of another width. That layer is named, with both widths and the decision, before anything is
trained; a forward whose shapes depend on the values of its inputs is refused for the same reason: it fails somewhere in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from autohas_trainer.errors import ConfigurationError
from autohas_trainer.nn.searchable import Searchable

__all__ = ["check_sizes", "paths_of_each_choice"]

_MAX_PATHS: Final = 64
_NUM_INPUTS: Final = 2

_Shapes = dict[str, tuple[tuple[int, ...], ...]]


def check_sizes(family: Searchable, who: str, inputs: Tensor) -> None:
    """Run the default path and every choice once, `_MAX_PATHS` paths at most, on the meta device.

    Args:
        family: The networks; one without decisions has nothing to disagree about.
        who: Subject of the error sentence.
        inputs: A batch of the data, for the type of its numbers.

    Raises:
        ConfigurationError: a path's forward fails; names the module, and the sizes and the choice where they differ from the default's.
    """
    if not family.decisions:
        return
    batch = torch.empty((_NUM_INPUTS, *inputs.shape[1:]), dtype=inputs.dtype, device="meta")
    expected: _Shapes | None = None
    for path, changed in paths_of_each_choice(family):
        shapes: _Shapes = {}
        network = family.build_undrawn(path).to("meta").train()
        failing: list[str] = []
        try:
            with torch.no_grad(), _watching(network, shapes, failing):
                network(batch)
        except (RuntimeError, NotImplementedError, ValueError, TypeError, IndexError) as error:
            module = failing[-1] if failing else ""
            what = f"{module} ({type(network.get_submodule(module)).__name__})" if module else "the model"
            if changed is None:
                raise ConfigurationError(_describe_default(who, what, error)) from error
            sizes = _compare(shapes.get(module, ()), (expected or {}).get(module, ()))
            raise ConfigurationError(_describe(who, what, changed, sizes, error)) from error
        expected = shapes if expected is None else expected


def paths_of_each_choice(family: Searchable) -> Iterator[tuple[dict[str, str], tuple[str, str, str] | None]]:
    """Yield the default path, and every other choice where it is active, with the decision, the choice and the default."""
    decisions = {decision.name: decision for decision in family.decisions}
    default = {name: decision.default for name, decision in decisions.items()}
    yield default, None
    count = 1
    for decision in family.decisions:
        for choice in decision.choices:
            if choice == decision.default or count >= _MAX_PATHS:
                continue
            count += 1
            path, when = {**default, decision.name: choice}, decision.when
            while when is not None:
                path[when.decision] = path[when.decision] if path[when.decision] in when.values else when.values[0]
                when = decisions[when.decision].when
            yield path, (decision.name, choice, decision.default)


@contextmanager
def _watching(network: nn.Module, shapes: _Shapes, running: list[str]) -> Iterator[None]:
    """Note the shapes of each module's inputs, and which modules run; at an exception the last one of `running` raised it."""

    def begin(name: str) -> Any:  # noqa: ANN401 - torch's type of hooks
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            running.append(name)
            shapes[name] = tuple(tuple(value.shape) for value in args if isinstance(value, Tensor))

        return hook

    def end(*_: object) -> None:
        running.pop()

    with ExitStack() as handles:
        for name, module in network.named_modules():
            handles.callback(module.register_forward_pre_hook(begin(name)).remove)
            handles.callback(module.register_forward_hook(end).remove)
        yield


def _compare(shapes: tuple[tuple[int, ...], ...], expected: tuple[tuple[int, ...], ...]) -> tuple[int, int] | None:
    """Return the first size in which the inputs of a module differ from those on the default path: the expected one, and this one."""
    for one, other in zip(expected, shapes, strict=False):
        for dimension, (size, given) in enumerate(zip(one, other, strict=False)):
            if dimension and size != given:
                return size, given
    return None


def _describe(who: str, what: str, changed: tuple[str, str, str], sizes: tuple[int, int] | None, error: Exception) -> str:
    decision, choice, default = changed
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if sizes is None:
        return f"{who}: {what} raised {type(error).__name__} where {decision} is {choice}: {reason}"
    return (
        f"{who}: {what} takes {sizes[0]} features where {decision} is {default}, but gets {sizes[1]} where it is {choice}: a size that is a"
        " decision stays inside its block; give this layer the same Choice as its input size, or end the block with a layer of one size"
    )


def _describe_default(who: str, what: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    is_about_data = isinstance(error, NotImplementedError) or "meta" in reason or "item()" in reason
    hint = (
        ": its shapes or branches depend on the values of its inputs; a searched network computes every shape from the shape of its inputs"
        if is_about_data
        else ""
    )
    return f"{who}: {what} raised {type(error).__name__} on the default path{hint} ({reason})"

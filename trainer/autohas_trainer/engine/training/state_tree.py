"""What a training keeps in a checkpoint: custom code's state as JSON and tensors, exactly, and tensors copied back by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from autohas_trainer.errors import CheckpointError, ConfigurationError

__all__ = ["copy_saved", "join_tree", "split_tree"]


def split_tree(tree: Any, who: str, place: str = "") -> tuple[Any, dict[str, Tensor]]:  # noqa: ANN401 - any state of custom code
    """Return the tree as JSON, and its tensors by their place in it.

    Args:
        tree: Tensors, numbers, strings, booleans, None, in lists, tuples and dictionaries.
        who: What gave it, for errors.
        place: Where in the whole the tree stands.

    Raises:
        ConfigurationError: it holds something else.
    """
    tensors: dict[str, Tensor] = {}

    def write(value: Any, place: str) -> Any:  # noqa: ANN401
        match value:
            case Tensor():
                while place in tensors:  # the keys 1 and "1" read alike
                    place += "'"
                tensors[place] = value.detach()
                return {"tensor": place}
            case bool() | int() | str() | None:
                return value
            case float():
                return {"float": value.hex()}  # NaN and infinities too
            case list() | tuple():
                kind = "list" if isinstance(value, list) else "tuple"
                return {kind: [write(item, f"{place}/{index}") for index, item in enumerate(value)]}
            case dict():
                return {"dict": [[write(key, place), write(item, f"{place}/{key}")] for key, item in value.items()]}
            case _:
                raise ConfigurationError(
                    f"{who} holds a {type(value).__name__} at {place or 'its top'}, which a checkpoint cannot keep:"
                    " give tensors, numbers, strings, None, lists, tuples and dictionaries"
                )

    return write(tree, place), tensors


def join_tree(document: Any, tensors: Mapping[str, Tensor]) -> Any:  # noqa: ANN401 - what `split_tree` took
    """Return the tree of what `split_tree` gave."""
    if not isinstance(document, dict):
        return document
    ((kind, value),) = document.items()
    match kind:
        case "tensor":
            return tensors[value]
        case "float":
            return float.fromhex(value)
        case "dict":
            return {join_tree(key, tensors): join_tree(item, tensors) for key, item in value}
        case _:
            items = [join_tree(item, tensors) for item in value]
            return items if kind == "list" else tuple(items)


def copy_saved(targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a checkpoint into a training's own, by name.

    Raises:
        CheckpointError: A tensor is missing or has another shape.
    """
    for name, target in targets.items():
        source = tensors.get(name)
        if source is None or source.shape != target.shape:
            raise CheckpointError(f"the checkpoint's training has no tensor {name} of shape {tuple(target.shape)}")
        target.copy_(source)

"""The bytes of tensors that are alive at once while a network computes, counted as torch's operations make and drop them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["count_evaluation"]


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Knows the largest sum of the storages that operations inside the block made, and that were alive at once."""

    def __init__(self, given: Iterable[Tensor]) -> None:
        """`given` are the tensors that were there before, of which operations may give views."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.peak: int = 0
        self._given = {tensor.untyped_storage()._cdata for tensor in given}  # noqa: SLF001 - tensors on the meta device have no address
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever the operation gives
        """Call `func` and hold what it made to account."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        place = storage._cdata  # noqa: SLF001 - as above
        if place not in self._alive and place not in self._given:
            self._alive[place] = storage.nbytes()
            weakref.finalize(storage, self._alive.pop, place)
            self.peak = max(self.peak, sum(self._alive.values()))


@torch.no_grad()
def count_evaluation(module: nn.Module, inputs: Tensor) -> int:
    """Count the bytes at the peak of one forward pass without gradients, the inputs among them; the weights are not.

    Raises:
        Exception: what the module raises.
    """
    live = _LiveBytes([inputs, *module.state_dict().values()])
    with live:
        module(inputs)
    return live.peak + inputs.nbytes

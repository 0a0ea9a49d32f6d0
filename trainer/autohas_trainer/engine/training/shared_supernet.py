"""The supernet of a search: built when a stage first asks for it, freed when no stage does any more."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.supernet import Supernet

__all__ = ["SharedSupernet"]


class SharedSupernet:
    """Shared weights that exist from the first call of `get` to `release`; before, they are a function of their key."""

    def __init__(self, search_task: SearchTask) -> None:
        """Nothing is built."""
        self._search_task = search_task
        self._supernet: Supernet | None = None
        self.is_over = False
        """Whether the supernet was released."""

    def get(self) -> Supernet:
        """Return the supernet, fresh at the first call.

        Raises:
            RuntimeError: it was released; fresh weights in its place would hide that.
        """
        if self.is_over:
            raise RuntimeError("the supernet was released: no later stage may ask for it")
        if self._supernet is None:
            search_task = self._search_task
            task, key = search_task.custom.task(search_task.space.default), (search_task.seed, "supernet")
            self._supernet = Supernet(search_task.template, task, key, search_task.device, optimizers=search_task.optimizers)
        return self._supernet

    def release(self) -> None:
        """Free it."""
        self._supernet, self.is_over = None, True

    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor by name; none while there is no supernet."""
        return {} if self._supernet is None else self._supernet.state_dict()

    def load(self, tensors: Mapping[str, Tensor], *, is_over: bool) -> None:
        """Continue from `tensors` and `is_over`.

        Raises:
            CheckpointError: the tensors are not those of this search's supernet.
        """
        if tensors:
            self.get().load_state_dict(tensors)
        self.is_over = is_over

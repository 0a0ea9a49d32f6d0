"""What a device would launch and where the host would wait, counted on a CPU from the operations that PyTorch dispatches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autohas_trainer.optim import OptimizerName, UpdateRule
from autohas_trainer.seeding import stream
from autohas_trainer.supernet import Supernet
from autohas_trainer.tasks import Task
from autohas_trainer.templates import Path, Template

__all__ = ["Kernels", "Waits", "kernel_rows", "kernels_of_commit", "random_path"]


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no annotation here
    """Counts the kernels of an accelerator: an operation is one; a multi-tensor one is one for each tensor if any of them is not dense.

    The second is PyTorch's own rule (`can_use_fast_route` in ForeachUtils.h). Views launch nothing.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation and run it."""
        if func.name().startswith("aten::_foreach"):
            lists = [argument for argument in args if isinstance(argument, (list, tuple)) and isinstance(argument[0], Tensor)]
            is_fast = all(_is_dense(tensor) and tensor.stride() == row[0].stride() for row in zip(*lists, strict=True) for tensor in row)
            self.count += 1 if is_fast else len(lists[0])
        else:
            self.count += not func.is_view and any(isinstance(leaf, Tensor) for leaf in tree_leaves(args))
        return func(*args, **(kwargs or {}))


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no annotation here
    """Counts operations that bring a number to the host; `tolist` and `cpu` of a tensor on the host are none."""

    def __init__(self, on_host: Sequence[Tensor] = ()) -> None:
        """`on_host` are scalars that lie on the host whatever the device is: reading them waits for nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self._on_host = on_host

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operation and run it."""
        is_read = func.overloadpacket.__name__ in ("_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero")
        self.count += is_read and not any(args[0] is scalar for scalar in self._on_host)
        return func(*args, **(kwargs or {}))


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill one piece of memory, in any order of dimensions."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def random_path(template: Template, *key: int | str) -> Path:
    """A path that depends on the key alone."""
    rng = stream("path", *key)
    return {decision.name: decision.choices[rng.integers(len(decision.choices))] for decision in template.decisions}


def kernels_of_commit(net: Supernet, path: Path, rule: UpdateRule) -> tuple[int, int]:
    """(kernels of a commit, of a trial) with gradients of 1; the second commit is counted, since the first looks up Adam's cells."""
    grads = {name: torch.ones_like(leaf, memory_format=torch.contiguous_format) for name, leaf in net.leaves(path).items()}
    net.commit(path, grads, rule)
    with Kernels() as commit:
        net.commit(path, grads, rule)
    with Kernels() as trial, net.trial(path, grads, rule):
        pass
    return commit.count, trial.count


def kernel_rows(name: str, template: Template, task: Task, optimizers: Sequence[OptimizerName], draws: int = 12) -> Iterator[str]:
    """Per optimizer a row: leaves of the random paths with the fewest and the most, kernels of a commit as views and in a buffer."""
    for optimizer in optimizers:
        rule = UpdateRule(optimizer=optimizer, learning_rate=1e-3, momentum=0.9, weight_decay=1e-2)
        views, buffers = (
            Supernet(template, task, (0,), torch.device("cpu"), optimizers=(optimizer,), is_dense=is_dense) for is_dense in (False, True)
        )
        paths = sorted((random_path(template, "kernels", draw) for draw in range(draws)), key=lambda path: len(views.leaves(path)))
        for path in paths:  # so that Adam's counts differ within every tensor
            kernels_of_commit(views, path, rule), kernels_of_commit(buffers, path, rule)
        ends = paths[0], paths[-1]
        leaves = " to ".join(str(len(views.leaves(path))) for path in ends)
        cells = [" to ".join(str(kernels_of_commit(net, path, rule)[0]) for path in ends) for net in (views, buffers)]
        yield f"| {name} | {optimizer} | {leaves} | {cells[0]} | {cells[1]} |"

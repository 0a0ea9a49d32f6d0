"""The loop that a script of one's own would run, next to which benchmarks measure a training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autohas_trainer.engine.training.search_task import SearchTask

__all__ = ["PlainLoop"]

_NUM_BATCHES = 8
_RATE = 1e-6
"""So small that the weights stay where they are: every step does the same work."""


class PlainLoop:
    """What a script of one's own would do: a module, torch's optimizer, examples that lie on the device."""

    def __init__(self, search_task: SearchTask) -> None:
        recipe, splits = search_task.recipe(search_task.space.default), search_task.splits
        batches = [splits.train_batch(step, recipe.batch_size, search_task.seed) for step in range(_NUM_BATCHES)]
        self.inputs, self.targets = torch.cat([b.inputs for b in batches]), torch.cat([b.targets_B for b in batches])
        path = search_task.path(search_task.space.default)
        self.module = search_task.template.build(path, (0,)).to(search_task.device).train()
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(self.module.parameters(), lr=_RATE)
            if recipe.optimizer == "adamw"
            else torch.optim.SGD(self.module.parameters(), lr=_RATE, momentum=recipe.momentum)
        )
        self.is_regression = self.targets.is_floating_point()
        self.batch_size, self.precision = recipe.batch_size, recipe.precision

    def step(self) -> Tensor:
        """One training step; its loss stays on the device."""
        rows = torch.randint(len(self.inputs), (self.batch_size,), device=self.inputs.device)
        with torch.autocast(self.inputs.device.type, dtype=torch.bfloat16, enabled=self.precision == "BFloat16"):
            outputs = self.module(self.inputs[rows])
        loss = self._loss(outputs.float(), self.targets[rows])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        self.optimizer.step()
        return loss.detach()

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.is_regression:
            return nn.functional.mse_loss(outputs.squeeze(1), targets)
        return nn.functional.cross_entropy(outputs, targets)

    def run(self, steps: int) -> None:
        """Some steps, and their last loss as a number."""
        float([self.step() for _ in range(steps)][-1])

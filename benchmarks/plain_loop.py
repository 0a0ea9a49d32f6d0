"""The training loop of a script for one network, which benchmarks measure a training against."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from autohas_trainer.engine.training.rule import rule_of
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.optim import standalone_optimizer

__all__ = ["PlainLoop"]


class PlainLoop:
    """Rows of a shuffled tensor on the device, forward, backward, torch's optimizer and schedule; `run` reads one loss, its last."""

    def __init__(self, search_task: SearchTask) -> None:
        recipe, splits = search_task.recipe(search_task.space.default), search_task.splits
        self._size, self._task, self._is_half = recipe.batch_size, search_task.task, recipe.precision == "BFloat16"
        steps = splits.num_train // self._size
        batches = [splits.train_batch(step, self._size, search_task.seed) for step in range(steps)]
        self._inputs = torch.cat([batch.inputs for batch in batches])
        self._targets = torch.cat([batch.targets_B for batch in batches])
        module = search_task.template.build(search_task.built_from(search_task.space.default), (0,))
        self._module = module.to(search_task.device).train()
        self.optimizer = standalone_optimizer(self._module, rule_of(recipe, recipe.learning_rate))
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, recipe.steps)
        self._rows = self._shuffle()

    def _shuffle(self) -> Iterator[torch.Tensor]:
        return iter(torch.split(torch.randperm(len(self._inputs), device=self._inputs.device), self._size))

    def run(self, steps: int) -> float:
        """Take steps; the last one's loss."""
        for _ in range(steps):
            rows = next(self._rows, None)
            if rows is None:
                self._rows = self._shuffle()
                rows = next(self._rows)
            with torch.autocast(self._inputs.device.type, dtype=torch.bfloat16, enabled=self._is_half):
                outputs = self._module(self._inputs[rows])
            loss = self._task.losses(outputs.float(), self._targets[rows]).mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
            self.optimizer.step()
            self._schedule.step()
        return float(loss.detach())

"""The floor: what a supernet step would cost if the sampled subnetwork were an ordinary network."""

from __future__ import annotations

import torch
from torch import Tensor

from autohas_trainer.algorithms._base import Update
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages.supernet_context import SupernetStepContext
from autohas_trainer.engine.training.rule import rule_of
from autohas_trainer.optim import standalone_optimizer
from autohas_trainer.space.recipe import path_of

__all__ = ["Floor"]


class Floor:
    """The stand-alone form of one sampled subnetwork, which does what the step did and nothing else."""

    def __init__(self, state: SearchState, context: SupernetStepContext, done: Update, *, fuses: bool = False) -> None:
        """Build the network and run everything once, so that only work is timed; `fuses`: whether adamw takes torch's fused kernel."""
        search_task = state.search_task
        sample = done.draw.configuration
        recipe = search_task.recipe(sample)
        self._task, self._context, self._done = search_task.task, context, done
        self._module = search_task.template.build(path_of(search_task.space, sample), (0,)).to(search_task.device).train()
        self._optimizer = standalone_optimizer(self._module, rule_of(recipe, 1e-6), fuses=fuses)
        self.run()

    def run(self, context: SupernetStepContext | None = None) -> None:
        """The step's gradients, each with its update, and its forward passes, read at once; a fresh `context` makes its batches again."""
        context = context or self._context
        train = context.train_batch()
        numbers: list[Tensor] = []
        for _ in range(self._done.num_gradients):
            loss = self._task.losses(self._module(train.inputs), train.targets_B).mean()
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
            numbers.append(loss.detach())
            self._optimizer.step()
        with torch.no_grad():
            for _ in range(self._done.num_reward_forwards):
                batch = context.reward_batch()
                numbers.append(self._task.qualities(self._module(batch.inputs), batch.targets_B).mean())
            again = range(self._done.num_train_forwards)
            numbers += [self._task.losses(self._module(train.inputs), train.targets_B).mean() for _ in again]
        torch.stack(numbers).tolist()

"""A lane beside a plain loop: the loop that a user would write for the same network, with torch's own optimizer and schedule."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from benchmarks.step.kernels import Waits
from benchmarks.step.pairs import Pair, timed

from autohas_trainer.engine.training.loss_window import LENGTH
from autohas_trainer.engine.training.rule import rule_of
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.optim import standalone_optimizer

__all__ = ["LaneCost", "compare_loops", "measure_lane"]


class _PlainLoop:
    """Rows of a shuffled tensor, forward, backward, optimizer, schedule; the loss is read as often as in a lane."""

    def __init__(self, search_task: SearchTask) -> None:
        recipe, splits = search_task.recipe(search_task.space.default), search_task.splits
        self._size, self._task = recipe.batch_size, search_task.task
        steps = splits.num_train // self._size
        batches = [splits.train_batch(step, self._size, search_task.seed) for step in range(steps)]
        self._inputs = torch.cat([batch.inputs for batch in batches])
        self._targets = torch.cat([batch.targets_B for batch in batches])
        self._module = search_task.template.build(search_task.built_from(search_task.space.default), (0,)).train()
        self._optimizer = standalone_optimizer(self._module, rule_of(recipe, recipe.learning_rate))
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, recipe.steps)
        self._rows = self._shuffle()

    def _shuffle(self) -> Iterator[torch.Tensor]:
        return iter(torch.split(torch.randperm(len(self._inputs)), self._size))

    def run(self, steps: int) -> float:
        """Take steps; the last one's loss."""
        for _ in range(steps):
            rows = next(self._rows, None)
            if rows is None:
                self._rows = self._shuffle()
                rows = next(self._rows)
            loss = self._task.losses(self._module(self._inputs[rows]), self._targets[rows]).mean()
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
            self._optimizer.step()
            self._schedule.step()
        return float(loss.detach())


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneCost:
    """Pairs of 16 steps, given per step, and how often a step waited for the device."""

    pairs: list[Pair]
    waits_per_step: float
    readings_per_step: float


def measure_lane(search_task: SearchTask, blocks: int) -> LaneCost:
    """A lane of the default configuration from its beginning, with the average of its weights, beside a plain loop."""
    training, loop = Training(search_task, search_task.space.default), _PlainLoop(search_task)
    pairs = _pairs(partial(_run, training), loop.run, blocks)
    optimizer = training._optimizer  # noqa: SLF001 - a count of updates, which torch keeps on the host, is no wait
    assert optimizer is not None  # noqa: S101 - it has taken steps
    with Waits([state["step"] for state in optimizer.state.values() if "step" in state]) as waits:
        readings = _run(training, LENGTH)
    return LaneCost(pairs=pairs, waits_per_step=waits.count / LENGTH, readings_per_step=readings / LENGTH)


def compare_loops(search_task: SearchTask, blocks: int) -> list[Pair]:
    """The A/A row: two plain loops."""
    return _pairs(_PlainLoop(search_task).run, _PlainLoop(search_task).run, blocks)


def _run(training: Training, steps: int) -> int:
    """Take steps; how many of them read the losses."""
    return sum(training.step() is not None for _ in range(steps))


def _pairs(one: Callable[[int], float], other: Callable[[int], float], blocks: int) -> list[Pair]:
    order = random.Random(0)  # noqa: S311 - an order, no secret
    one(LENGTH), other(LENGTH)
    pairs = []
    for _ in range(blocks):
        if order.random() < 0.5:
            first, second = timed(partial(one, LENGTH))[0], timed(partial(other, LENGTH))[0]
        else:
            second, first = timed(partial(other, LENGTH))[0], timed(partial(one, LENGTH))[0]
        pairs.append(Pair(step=first / LENGTH, floor=second / LENGTH))
    return pairs

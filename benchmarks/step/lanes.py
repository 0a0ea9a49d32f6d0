"""A lane compared with the loop that a user would write for the same network, with torch's own optimizer and schedule."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.plain_loop import PlainLoop
from benchmarks.step.kernels import Waits
from benchmarks.step.pairs import Pair, timed
from torch import Tensor

from autohas_trainer.engine.training.loss_window import LENGTH
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training

__all__ = ["LaneCost", "compare_loops", "measure_lane", "step_counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneCost:
    """Pairs of 16 steps, given per step, and how often a step waited for the device."""

    pairs: list[Pair]
    waits_per_step: float
    readings_per_step: float


def measure_lane(search_task: SearchTask, blocks: int) -> LaneCost:
    """A lane of the default configuration from its beginning, with the average of its weights, and a plain loop."""
    training, loop = Training(search_task, search_task.space.default), PlainLoop(search_task)
    pairs = _pairs(partial(_run, training), loop.run, blocks)
    with Waits(step_counts(training)) as waits:
        readings = _run(training, LENGTH)
    return LaneCost(pairs=pairs, waits_per_step=waits.count / LENGTH, readings_per_step=readings / LENGTH)


def step_counts(training: Training) -> list[Tensor]:
    """The counts of updates of a training that has taken steps: torch keeps them on the host, so that reading one is no wait."""
    optimizer = training._optimizer  # noqa: SLF001 - as above
    assert optimizer is not None  # noqa: S101 - it has taken steps
    return [state["step"] for state in optimizer.state.values() if "step" in state]


def compare_loops(search_task: SearchTask, blocks: int) -> list[Pair]:
    """The A/A row: two plain loops."""
    return _pairs(PlainLoop(search_task).run, PlainLoop(search_task).run, blocks)


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

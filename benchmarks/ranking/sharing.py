"""Shared weights on uniform paths under the recipe's own rate, clipped as the engine clips, and what they say of architectures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from benchmarks.ranking.tasks import draw
from benchmarks.ranking.truth import Floats, Sample

from autohas_trainer.engine.training.rule import rate_at, rule_of
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.optim import clip, norm_of
from autohas_trainer.supernet import Supernet

__all__ = ["BEGINNINGS", "Shared", "losses", "share", "spread_of_outputs"]

_FIRST_PATH: Final = 1000
"""Number of the first path that trains shared weights, beyond those of the architectures that are ranked."""
_REWARD_BATCHES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Shared weights after their training; `diverged_at` is the step whose loss or gradient was not finite, None if there was none."""

    net: Supernet
    diverged_at: int | None


def _keep_fresh(_search_task: SearchTask, _net: Supernet) -> None:
    """Begin from the first weights."""


def _adopt_lane(search_task: SearchTask, net: Supernet) -> None:
    """Begin from a third of a training of the default, as a search does where no other lane was better."""
    lane = Training(search_task, search_task.space.default)
    while lane.num_steps_done < lane.rung(1):
        lane.step()
    net.adopt(search_task.path(search_task.space.default), lane.parameters())


BEGINNINGS: Final[dict[str, Callable[[SearchTask, Supernet], None]]] = {"fresh": _keep_fresh, "the default's lane": _adopt_lane}


def share(search_task: SearchTask, steps: int, begin: Callable[[SearchTask, Supernet], None]) -> Shared:
    """Train shared weights for `steps` uniform paths under the default recipe, without restarts."""
    net = Supernet(search_task.template, search_task.task, (search_task.seed, "supernet"), search_task.device)
    begin(search_task, net)
    recipe = search_task.recipe(search_task.space.default)
    for step, configuration in enumerate(draw(search_task, _FIRST_PATH, steps)):
        path = search_task.path(configuration)
        batch = search_task.splits.train_batch(step, recipe.batch_size, search_task.seed, replica=-1)
        loss, gradient = net.gradient(path, batch)
        norm = norm_of(gradient)
        if not (math.isfinite(norm) and math.isfinite(loss)):
            return Shared(net=net, diverged_at=step)
        rate = rate_at(recipe, step, steps)
        net.commit(path, clip(gradient, norm), rule_of(recipe, rate))
    return Shared(net=net, diverged_at=None)


def losses(search_task: SearchTask, net: Supernet, sample: Sample) -> Floats:
    """Mean loss of every architecture on the same reward batches."""
    batches = [search_task.splits.reward_batch(n, search_task.reward_batch_size, search_task.seed) for n in range(_REWARD_BATCHES)]
    paths = [search_task.path(configuration) for configuration in sample.architectures]
    return np.asarray([np.mean([float(net.loss_and_quality(path, batch)[0]) for batch in batches]) for path in paths])


def spread_of_outputs(search_task: SearchTask, net: Supernet, changes: dict[str, str]) -> float:
    """Standard deviation over examples, mean over outputs, of the default path with some choices changed, on one reward batch."""
    path = {**search_task.path(search_task.space.default), **changes}
    inputs = search_task.splits.reward_batch(0, search_task.reward_batch_size, search_task.seed).inputs
    with torch.no_grad():
        outputs = search_task.template.forward(inputs, path, net.leaves(path))
    return float(outputs.std(dim=0).mean())

"""The length of one training: known from its first step on, or open until the budget says when the learning rate begins to fall.

An open training has the schedule WSD or Constant, whose beginning is the same for every length: its steps before the decay are those of
every longer training, bit for bit. The decay is a function of the step at which it begins, which is part of the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from autohas_trainer.engine.training.rule import schedule_of
from autohas_trainer.space.recipe import TrainingRecipe

__all__ = ["Length", "decay_steps"]

_OPEN: Final = math.inf


def decay_steps(begin: int, fraction: float) -> int:
    """Steps in which WSD falls that begins to at step `begin`: a `fraction` of all steps, at least 1."""
    return max(1, round(begin * fraction / (1 - fraction)))


class Length:
    """The steps of a training, its rungs and its schedule; `decay_from` is None unless it was open and has been settled."""

    def __init__(self, recipe: TrainingRecipe, rung_steps: Callable[[int], int], *, is_open: bool) -> None:
        """`rung_steps`: the steps of each rung, by its number."""
        self._recipe, self._schedule = recipe, schedule_of(recipe)
        self.rung = rung_steps
        self._is_open = is_open
        self.decay_from: int | None = None
        self.decay_to: int | None = None
        """Where a decay ends that was cut; None for one that takes the recipe's share."""

    @property
    def is_settled(self) -> bool:
        """Whether the number of steps is known."""
        return not self._is_open or self.decay_from is not None

    @property
    def total(self) -> float:
        """All steps; infinity while the length is open."""
        if not self._is_open:
            return self._recipe.steps
        return _OPEN if self.decay_from is None else self.decay_from + self._decay

    @property
    def _warmup(self) -> int:
        """Steps of the warm-up of an open training: the recipe's share of a full training, which is known."""
        return round(self._recipe.warmup_fraction * self._recipe.steps)

    @property
    def _decay(self) -> int:
        """Steps of the decay that has begun."""
        assert self.decay_from is not None  # noqa: S101 - asked for when it is settled
        return self.count_decay(self.decay_from) if self.decay_to is None else self.decay_to - self.decay_from

    def count_decay(self, begin: int) -> int:
        """Steps of an open training that follow step `begin` if its decay begins there; a constant rate has none."""
        return decay_steps(begin, self._recipe.decay_fraction) if self._recipe.schedule == "WSD" else 0

    def settle(self, num_steps_done: int, wanted: int, most: int) -> None:
        """Begin the decay at the latest step from which it ends within `wanted` steps, but not before the next one.

        A decay that then ends after `most` steps, which are `wanted` or more, is cut there; one step of it remains.
        """
        begin = max(num_steps_done + 1, wanted)  # the last step makes a model of the averaged weights
        if self._recipe.schedule == "WSD":
            begin = max(num_steps_done, math.floor(wanted * (1 - self._recipe.decay_fraction)) + 1, 1)
            while begin > max(num_steps_done, 1) and begin + decay_steps(begin, self._recipe.decay_fraction) > wanted:
                begin -= 1
            if begin + decay_steps(begin, self._recipe.decay_fraction) > max(most, begin + 1):
                self.decay_to = max(most, begin + 1)
        self.decay_from = begin

    def multiplier(self, step: int) -> float:
        """The share of the peak rate at `step`, see `Schedule.at`."""
        if not self._is_open:
            return self._schedule.at(step, self._recipe.steps)
        if step < self._warmup:
            return (step + 1) / self._warmup
        if self.decay_from is None or step < self.decay_from or not self._decay:
            return 1.0
        return 1 - (1 - self._recipe.schedule_floor) * (step - self.decay_from) / self._decay

    @property
    def recipe(self) -> TrainingRecipe:
        """The recipe of a training whose length is known from its first step on and whose steps are the same."""
        if not self._is_open or self.decay_from is None:
            return self._recipe
        total = self.decay_from + self._decay
        decay = self._decay / total if self._decay else self._recipe.decay_fraction
        return replace(self._recipe, steps=total, warmup_fraction=self._warmup / total, decay_fraction=decay)

"""Whether a task can tell searches apart: is there something to find, is the default not it already, and does more training not find it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.quality.figures import best_of
from benchmarks.quality.runs import Run, Runner
from benchmarks.quality.tasks import Task

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.space.decisions import Configuration, Space
from autohas_trainer.comparison.paired_statistics import deviation
from autohas_trainer.seeding import stream
from autohas_trainer.space.policy import Policy

__all__ = ["NUM_RANDOM", "Qualification", "qualify"]

NUM_RANDOM: Final = 60
"""Random configurations that are trained in full for each seed."""
_FEW: Final = 5
_MANY: Final = 50
_LEAST_DEVIATIONS: Final = 3.0
_BEST_SHARE: Final = 0.1
_MOST_DEVIATIONS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Qualification:
    """What decides, all on the test split, in the unit of the tables' values.

    Attributes:
        deviation: Sample standard deviation of the default over seeds.
        few: Expected value of the best of 5 random configurations by the selection split, mean over seeds.
        many: The same of 50.
        better: Share of the random configurations that are better than the default, mean over seeds.
        gain: What twice the steps add to the default, mean over seeds.
    """

    deviation: float
    few: float
    many: float
    better: float
    gain: float

    @property
    def has_something_to_find(self) -> bool:
        """Whether 50 random configurations beat 5 by three seed deviations."""
        return self.many - self.few >= _LEAST_DEVIATIONS * self.deviation

    @property
    def default_is_ordinary(self) -> bool:
        """Whether the default is not in the best tenth."""
        return self.better > _BEST_SHARE

    @property
    def is_plateau(self) -> bool:
        """Whether the default gains less than two seed deviations by twice the steps."""
        return self.gain < _MOST_DEVIATIONS * self.deviation


def qualify(runner: Runner, task: Task, seeds: Sequence[int], random_seeds: Sequence[int]) -> Qualification:
    """Train what the figures need: the default once and at twice the steps on `seeds`, random configurations on `random_seeds`."""
    once = [_value_of_default(runner, task, seed, 1) for seed in seeds]
    twice = [_value_of_default(runner, task, seed, 2) for seed in seeds]
    ranked_by_seed = [_rank_random(runner, task, seed) for seed in random_seeds]
    defaults = [_value_of_default(runner, task, seed, 1) for seed in random_seeds]
    return Qualification(
        deviation=deviation(once),
        few=statistics.fmean(best_of(_FEW, values) for values in ranked_by_seed),
        many=statistics.fmean(best_of(_MANY, values) for values in ranked_by_seed),
        better=statistics.fmean(
            sum(value > default for value in values) / len(values) for values, default in zip(ranked_by_seed, defaults, strict=True)
        ),
        gain=statistics.fmean(twice) - statistics.fmean(once),
    )


def _value_of_default(runner: Runner, task: Task, seed: int, factor: int) -> float:
    steps = factor * task.steps
    values = runner.trainings(task, seed, steps).space.default.values
    return runner.value(task, Run(seed=seed, values=values, steps=steps, work=float(factor)))


def _rank_random(runner: Runner, task: Task, seed: int) -> list[float]:
    """Values of random configurations, the best on the selection split first; those that diverge are as bad as the worst of the others."""
    trainings = runner.trainings(task, seed)
    ranked = []
    for configuration in draw(trainings.space, NUM_RANDOM, seed):
        value = runner.value(task, Run(seed=seed, values=configuration.values, steps=task.steps, work=1.0))
        ranked.append((trainings.compare(configuration, LAST_RUNG).score, value))
    worst = min(value for _, value in ranked if value > -math.inf)
    return [max(value, worst) for _, value in sorted(ranked, reverse=True)]


def draw(space: Space, count: int, seed: int) -> list[Configuration]:
    """Uniform configurations; the same for the same seed."""
    policy = Policy(space, 1.0)
    return [policy.sample(stream(seed, "quality", "random", index)).configuration for index in range(count)]

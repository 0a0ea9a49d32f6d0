"""AutoHAS, strategy OneFactor, with budget.for Model: what a step of search is worth and what it costs. Pure.

    curve       the error of the default, e(t) = floor + (e(1) - floor)·t^-p, through its comparisons at three rungs
    price       what training gives away when the budget falls from w to w - c: ln e(w - c) - ln e(w)
    advantage   what a change takes away from the error at the end of the longest training, also as a logarithm
    value       the mean of what the changes so far have added to that, with a prior

Ours. A lead at equal examples may be speed alone: twice the rate, or half the batch, is further along the same curve. Such a lead is taken
off as the curve has it where the lanes are compared (what is left is the lead at equal steps), and added as the curve has it at the end,
where it is worth less. A change that makes steps more expensive sees fewer examples of the same budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autohas_api.algorithms.best_model import CREDIT, FLOOR_SHARE, MODEL_RUNGS, MOST_SEARCH, PRIOR_CHANGES, PRIOR_GAIN, RELIABILITY
from autohas_trainer.space.recipe import TrainingRecipe

__all__ = [
    "Curve",
    "expect_gain",
    "explain_end",
    "find_advantage",
    "find_speed",
    "fit_curve",
    "list_gains",
    "predict_combination",
    "price_search",
]

_SMALLEST: Final = 1e-12
"""Least error and least time: a logarithm of less says nothing."""
_MOST_SPEED: Final = 27.0
"""Factor of the learning time beyond which the curve is not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """e(t) = floor + (error - floor)·(t / at)^-power, of a default that had `error` after `at` trainings."""

    at: float
    error: float
    floor: float
    power: float

    def log_error(self, trainings: float) -> float:
        """Ln e(t) after that number of trainings."""
        share = max(trainings, _SMALLEST) / self.at
        return math.log(max(self.floor + (self.error - self.floor) * share**-self.power, _SMALLEST))

    def gain_of_twice(self, trainings: float) -> float:
        """Share of the error that twice as many trainings take away."""
        return 1 - math.exp(self.log_error(2 * trainings) - self.log_error(trainings))


def fit_curve(at: float, errors: tuple[float, float, float]) -> Curve:
    """Fit the curve through errors at 1/9, 1/3 and all of `at` trainings.

    The floor is the limit of the geometric series that the two differences begin (Aitken's delta-squared process), of which FLOOR_SHARE is
    taken; where they do not shrink it is 0. Without a fall between the last two rungs the curve is flat.
    """
    first, second, last = (max(error, _SMALLEST) for error in errors)
    before, after = first - second, second - last
    if after <= 0:
        return Curve(at=at, error=last, floor=last, power=0.0)
    floor = FLOOR_SHARE * max(0.0, last - after * after / (before - after)) if before > after else 0.0
    return Curve(at=at, error=last, floor=floor, power=math.log((second - floor) / (last - floor)) / math.log(MODEL_RUNGS.eta))


def price_search(curve: Curve, whole: float, cost: float) -> float:
    """What the error at the end gains, as a logarithm, if `cost` of `whole` trainings is spent on something else."""
    return curve.log_error(whole - cost) - curve.log_error(whole) if cost < whole else math.inf


def find_speed(recipe: TrainingRecipe, default: TrainingRecipe) -> float:
    """How much further than the default a configuration is after the same examples: by its rate, and by the number of its steps.

    Rates of two optimizers cannot be compared: only the steps count.
    """
    steps = default.batch_size / recipe.batch_size
    rate = recipe.learning_rate / default.learning_rate if recipe.optimizer == default.optimizer else 1.0
    return min(max(steps * rate, 1 / _MOST_SPEED), _MOST_SPEED)


def find_advantage(  # noqa: PLR0913 - what it depends on
    curve: Curve, lead: float, *, at: float, whole: float, speed: float, work: float
) -> float:
    """What a configuration takes away from the default's error at the end, as a logarithm.

    Args:
        curve: The default's.
        lead: ln of the default's error over that of the configuration, after `at` trainings' examples of both.
        at: Trainings at which they were compared.
        whole: Trainings of the default that the winner's training may cost.
        speed: How much further along the curve it is after the same examples.
        work: Cost of its training in trainings of the default.
    """
    if lead == -math.inf:
        return -math.inf
    examples = whole / work
    fades = _lead_of_speed(curve, at, speed) - _lead_of_speed(curve, examples, speed)
    fewer = curve.log_error(examples) - curve.log_error(whole)
    return lead - (fades if fades > 0 else CREDIT * fades) - fewer


def _lead_of_speed(curve: Curve, at: float, speed: float) -> float:
    """The lead after `at` trainings of what does nothing but to be further by a factor."""
    return curve.log_error(at) - curve.log_error(speed * at)


def list_gains(advantages: Sequence[tuple[str | None, float]]) -> list[float]:
    """What each change added, in the order in which they were tried.

    Args:
        advantages: (changed decision of the default, advantage) of each; of what differs in several decisions, None.

    Returns:
        For a single change what it is better by than the best one of its decision, 0 at least; for others, than the best of all.
    """
    best: dict[str | None, float] = {}
    gains = []
    for decision, advantage in advantages:
        before = best.get(decision, 0.0) if decision is not None else max(0.0, *best.values()) if best else 0.0
        gains.append(max(0.0, advantage - before))
        best[decision] = max(before, advantage)
    return gains


def expect_gain(gains: Sequence[float]) -> float:
    """The expected gain of one more change: the mean of those so far and of PRIOR_CHANGES with PRIOR_GAIN, as far as it can be relied on.

    The prior is one of what is left at the end.
    """
    return (PRIOR_CHANGES * PRIOR_GAIN + RELIABILITY * math.fsum(gains)) / (PRIOR_CHANGES + len(gains))


def predict_combination(changes: Mapping[str, str], advantages: Mapping[tuple[str, str], float], best: float) -> float:
    """What a combination of changes is expected to add to the `best` advantage so far: as far as it can be relied on, their sum.

    Args:
        changes: Decision to value of the combination.
        advantages: Those of single changes, by decision and value.
        best: The largest advantage of what was tried, 0 at least.
    """
    return RELIABILITY * (math.fsum(advantages.get(change, 0.0) for change in changes.items()) - best)


def explain_end(worth: tuple[float, float] | None) -> str:
    """Why no further lane begins, as a clause for people.

    Args:
        worth: Value and price of the best step of search that was left; None: none was left.
    """
    if worth is None:
        return "no change of one decision and no combination of what helped is left that the budget pays for"
    value, price = worth
    text = f"one more lane promises {100 * value:.2f} % of the error, and the same work of training {100 * price:.2f} %"
    return text if value <= price else f"{text}, but the budget has no room for it: lanes may take {100 * MOST_SEARCH:.0f} % of it at most"

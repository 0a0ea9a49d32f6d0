"""The plan of a multi-trial algorithm: the default to its end, then brackets of trials, as many as the budget pays for.

The default passes the rungs and is one of the trials of the first bracket. The last bracket begins with as many trials as are paid for,
each with its way to the end. Pure arithmetic; the stage that follows it is `autohas_trainer.engine.stages.multi_trial`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final

from autohas_api.algorithms.algorithm_spec import AlgorithmSpec, Race
from autohas_api.algorithms.brackets import Bracket, Schedule, find_bracket
from autohas_api.algorithms.plan_request import Comparisons, PlanRequest
from autohas_api.algorithms.rungs import Rungs
from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.base.model import Model

__all__ = ["MIN_TRIALS", "TrialPlan", "build_row", "describe_brackets"]

MIN_TRIALS: Final = 2
"""The default and one other."""
_SLACK: Final = 1e-9


@dataclass(frozen=True)
class TrialPlan:
    """Costs of the brackets of one search, where every trial costs as much as the default, in trainings and in steps.

    Attributes:
        schedule: How trials are cut short.
        ladder: The rungs.
        steps: Steps of a whole training.
        comparison: Price of comparing a trial.
    """

    schedule: Schedule
    ladder: Rungs
    steps: int
    comparison: Comparisons

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Steps of a training at its rungs."""
        return tuple(self.ladder.steps(self.steps, rung) for rung in range(self.ladder.count))

    @property
    def first_rung_of_default(self) -> int:
        """The first rung at which the default is compared; it is compared at every later one too."""
        return self.ladder.last if self.schedule is Schedule.AT_END else 0

    @property
    def default_price(self) -> float:
        """Trainings that the default costs, comparisons included."""
        return 1 + (self.ladder.last - self.first_rung_of_default) * self.comparison.early + self.comparison.last

    def bracket(self, number: int) -> Bracket:
        """Bracket `number`, from 0."""
        return find_bracket(self.schedule, number, eta=self.ladder.eta, num_rungs=self.ladder.count)

    def count_new(self, number: int) -> int:
        """Trials of a whole bracket next to the default, which is one of the first."""
        return self.bracket(number).num_trials - (number == 0)

    def steps_of(self, number: int, num_new: int) -> int:
        """Training steps of a bracket that begins with `num_new` trials; none for 0."""
        return sum(count * (self.ends[rung] - since) for rung, since, count in self._segments(number, num_new))

    def price_of(self, number: int, num_new: int) -> float:
        """Trainings that a bracket costs which begins with `num_new` trials: as if none of them was the default; 0 for none."""
        last, price = self.ladder.last, 0.0
        for rung, since, count in self._segments(number, num_new):
            comparison = self.comparison.last if rung == last else self.comparison.early
            price += count * ((self.ends[rung] - since) / self.steps + comparison)
        return price

    def _segments(self, number: int, num_new: int) -> list[tuple[int, int, int]]:
        """(rung, steps before it, trials that are trained to it) of a bracket."""
        if not num_new:
            return []
        bracket, eta = self.bracket(number), self.ladder.eta
        began = num_new + (number == 0)
        later = range(bracket.first_rung + 1, self.ladder.count)
        return [
            (bracket.first_rung, 0, num_new),
            *((rung, self.ends[rung - 1], bracket.num_at(rung, eta, began)) for rung in later),
        ]

    def lay_out(self, trainings: float, number: int = 0) -> tuple[int, int, float]:
        """(trials, their steps, their trainings) that `trainings` pay for from bracket `number` on, the default left out."""
        if not self.schedule.cuts_short:  # in closed form: a budget may pay for thousands of trials, each of which is a bracket
            price = self.price_of(1, 1)
            count = max(0, int((trainings + _SLACK) / price))
            return count, count * self.steps, count * price
        trials, steps, spent = 0, 0, 0.0
        while True:
            whole, left = self.count_new(number), trainings - spent + _SLACK
            paid = bisect_right(range(1, whole + 1), left, key=lambda count: self.price_of(number, count))
            trials, steps, spent = trials + paid, steps + self.steps_of(number, paid), spent + self.price_of(number, paid)
            if paid < whole:
                return trials, steps, spent
            number += 1

    def price_of_trials(self, num_new: int) -> float:
        """Trainings that pay for `num_new` trials next to the default."""
        number, price = 0, 0.0
        while num_new > (whole := self.count_new(number)):
            price, num_new, number = price + self.price_of(number, whole), num_new - whole, number + 1
        return price + self.price_of(number, num_new)


def build_row(  # noqa: PLR0913 - what a row consists of, except for what the schedule says
    schedule: Schedule,
    *,
    name: str,
    description: str,
    knobs: type[Model] | None = None,
    refine: Callable[[AlgorithmSpec, Model | None], AlgorithmSpec] = lambda row, _: row,
    stage_texts: Mapping[str, str],
) -> AlgorithmSpec:
    """The row of a multi-trial algorithm; `refine` may give it another schedule."""
    return AlgorithmSpec(
        name=name,
        description=description,
        knobs=knobs,
        plan=partial(_plan, schedule),
        minimum=partial(_minimum, schedule),
        searches_training_hyperparameters=True,
        race=Race.BRACKETS,
        schedule=schedule,
        refine=refine,
        stage_texts=stage_texts,
    )


def _read(schedule: Schedule, request: PlanRequest) -> TrialPlan:
    return TrialPlan(schedule, request.ladder, request.steps, request.comparison)


def describe_brackets(schedule: Schedule, ladder: Rungs) -> str:
    """The brackets of a schedule that cuts trials short, for a person: 9 trials to 1/9, 3 to 1/3, 1 to the end."""
    texts = []
    for number in range(ladder.count if schedule is Schedule.HYPERBAND else 1):
        bracket = find_bracket(schedule, number, eta=ladder.eta, num_rungs=ladder.count)
        ends = [f"1/{ladder.eta ** (ladder.last - rung)}" for rung in range(ladder.last)] + ["the end"]
        counts = [f"{bracket.num_at(rung, ladder.eta)} to {ends[rung]}" for rung in range(bracket.first_rung, ladder.count)]
        texts.append(", ".join(counts))
    return "; then ".join(texts)


def _plan(schedule: Schedule, request: PlanRequest, trainings: float) -> StagePlan:
    trial_plan = _read(schedule, request)
    trials, steps, spent = trial_plan.lay_out(trainings - trial_plan.default_price)
    return StagePlan(
        rungs=request.rungs,
        num_trials=1 + trials,
        trial_steps=request.steps + steps,
        predicted_trainings=trial_plan.default_price + spent,
    )


def _minimum(schedule: Schedule, request: PlanRequest) -> float:
    """The default and one other trial, or all initial points, each with its way to the end."""
    trial_plan = _read(schedule, request)
    return trial_plan.default_price + trial_plan.price_of_trials(max(MIN_TRIALS - 1, request.num_initial))

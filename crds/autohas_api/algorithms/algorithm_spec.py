"""The row of an algorithm: what every other module may ask about it, so that none of them compares names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from autohas_api.algorithms.brackets import Schedule
from autohas_api.algorithms.plan_request import PlanRequest, SupernetSteps
from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.base.model import Model

__all__ = ["AlgorithmSpec", "Race", "SpecProblem"]

Knobs = TypeVar("Knobs", bound=Model)


class Race(StrEnum):
    """How an algorithm chooses the winner of a search."""

    HALVING = "Halving"
    """Candidates are trained to 1/9, 1/3 and the whole of a training and compared with the default."""
    LEADERS = "Leaders"
    """The best of many candidates at 1/9 are trained to 1/3, the best of these to the end, and compared with the default."""
    SAMPLES = "Samples"
    """Samples are scored on the shared weights; the best one is trained afterwards."""
    BRACKETS = "Brackets"
    """Trials are proposed one after another, from the seed or from the results of earlier trials, and a schedule may cut them short."""
    MODEL = "Model"
    """Lanes are prefixes of one training as long as the budget; the one that wins continues with all that is left."""
    NONE = "None"
    """What the controller derives is trained and compared with nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecProblem:
    """A value of the algorithm's knobs that does not fit the rest of the spec: JSON name of the knob, and what it must be."""

    knob: str
    message: str


def _fits(_: PlanRequest) -> SpecProblem | None:
    """Accept every combination."""
    return None


def _keep(row: AlgorithmSpec, _: Model | None) -> AlgorithmSpec:
    """The row serves all knobs."""
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSpec:
    """One algorithm, or one strategy of an algorithm that has several: then its knobs have a field `strategy`.

    Attributes:
        name: Value of `spec.algorithm.name`.
        description: What `kubectl explain` says about it; the strategies of one name share it.
        strategy: Value of the knob `strategy`; the first row of a name must be that of the knob's default.
        knobs: Model of the block of the algorithm's own settings, which the spec names after the algorithm; None: it has no settings.
        plan: The steps per stage that a number of trainings pays for.
        supernet: The steps of a supernet that a number of trainings pays for; None: the algorithm has no supernet.
        minimum: The smallest number of trainings with which every stage can do its work.
        fewest: What the smallest number of trainings pays for, for a sentence; None: what it pays for in every race of the same kind.
        searches_training_hyperparameters: Whether candidates are compared by trainings, so that hyperparameters whose effect is not
            visible one step ahead (weight decay, batch size, custom ones) can be searched.
        learns_hyperparameters: Whether a controller learns hyperparameters, so that it can mix bases.
        rewards_controller: The supernet steps in a row in which a reward teaches the controller; None: no controller learns.
        policy_learning_rate: Step size of the controller, read from the knobs; None: no controller learns.
        mixing: Value of a sample of a continuous range whose spec does not say: one of those of `Continuous.mixing`.
        is_search: Whether it looks for another configuration than the default.
        race: How the winner is chosen.
        schedule: How far trials are trained; None for an algorithm that does not train trials.
        check: Finds a knob that does not fit the rest of the spec.
        for_model: The row for budget.for Model; None: the algorithm's trainings have an end that is known before they begin.
        refine: The row for given knobs, where knobs change what it says.
        notice: What a person who starts such a search must know of its form; None: nothing.
        stage_texts: What the report says about a stage where the common text does not fit, by the name of the stage.
        candidate_texts: What the report says about candidates where the common text does not fit, by their name without its number.
    """

    name: str
    description: str
    strategy: str | None = None
    knobs: type[Model] | None = None
    plan: Callable[[PlanRequest, float], StagePlan]
    supernet: Callable[[PlanRequest, float], SupernetSteps] | None = None
    minimum: Callable[[PlanRequest], float]
    fewest: Callable[[PlanRequest], str] | None = None
    searches_training_hyperparameters: bool = False
    learns_hyperparameters: bool = False
    rewards_controller: Callable[[PlanRequest, StagePlan], int] | None = None
    policy_learning_rate: Callable[[Model | None], float] | None = None
    mixing: str = "OneHot"
    is_search: bool = True
    race: Race = Race.HALVING
    schedule: Schedule | None = None
    check: Callable[[PlanRequest], SpecProblem | None] = _fits
    for_model: AlgorithmSpec | None = None
    refine: Callable[[AlgorithmSpec, Model | None], AlgorithmSpec] = _keep
    notice: str | None = None
    stage_texts: Mapping[str, str] = field(default_factory=dict)
    candidate_texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def block(self) -> str:
        """JSON name of the knobs' block: autoHAS for AutoHAS, tpe for TPE."""
        return self.name.lower() if self.name.isupper() else self.name[0].lower() + self.name[1:]

    @property
    def attribute(self) -> str:
        """Python name of the knobs' block: auto_has for AutoHAS."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name).lower()

"""What the plan of an algorithm depends on, and the prices that all algorithms share. Pure arithmetic.

The unit is one full training of the default configuration. A plan assumes that every candidate costs as much: a training step 1 / steps,
a forward pass FORWARD_SHARE of it. What candidates cost in truth is known to the trainer, whose stages follow its ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from autohas_api.algorithms.rungs import DEFAULT_RUNGS, Rungs
from autohas_api.algorithms.stage_plan import FINALISTS
from autohas_api.base.model import Model

__all__ = [
    "FORWARD_SHARE",
    "MAX_NEW_CANDIDATES",
    "MIN_REWARD_BATCH",
    "MIN_SUPERNET_TRAININGS",
    "Comparisons",
    "PlanRequest",
    "SupernetPrices",
    "SupernetSteps",
    "finalists_cost",
    "race_cost",
    "reward_forward",
]

FORWARD_SHARE: Final = 0.35
"""A forward pass in units of a training step of the same network (measured on two families of networks: 0.21 to 0.35)."""
MAX_NEW_CANDIDATES: Final = 4
"""Candidates that the supernet sends to the race in addition to those that the lanes have trained."""
MIN_SUPERNET_TRAININGS: Final = 0.25
MIN_REWARD_BATCH: Final = 64
"""Ours: below it batch statistics and rewards are mostly noise."""

Knobs = TypeVar("Knobs", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """Cost of one comparison of a candidate in trainings: before the end of its training, and at its end."""

    early: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetPrices:
    """Price of a supernet's step without rewards, and of a forward pass over a reward batch, in training steps of the default."""

    step: float
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetSteps:
    """The steps of a supernet that a number of trainings pays for.

    `schedule` steps lay out rate and window, the first `steps` of them are taken, the first `warmup` of these are uniform; `trainings` is
    what the steps cost.
    """

    schedule: int
    steps: int
    warmup: int
    trainings: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """The numbers of a spec, its space and its data that a plan depends on.

    Attributes:
        knobs: The algorithm's own settings, defaults where the spec has no block; None for an algorithm without settings.
        steps: Training steps of one full training.
        batch_size: Examples per training step.
        num_initial: Configurations that the spec enqueues.
        num_decisions: Searched decisions.
        searches_architecture: Whether an architecture is searched.
        searches_update_rule: Whether a hyperparameter is searched whose effect is visible one step ahead.
        comparison: Price of comparing a candidate.
        num_reward: Examples of the reward split; 0 until the data is read.
        reward_price: Steps of the supernet that a forward pass over a reward batch costs; None: as for the default's network.
        ladder: Where candidates are compared.
    """

    knobs: Model | None
    steps: int
    batch_size: int
    num_initial: int
    num_decisions: int
    searches_architecture: bool
    searches_update_rule: bool
    comparison: Comparisons
    num_reward: int = 0
    reward_price: float | None = None
    ladder: Rungs = DEFAULT_RUNGS

    def knobs_as(self, kind: type[Knobs]) -> Knobs:
        """The knobs, which must be of `kind`.

        Raises:
            TypeError: The request is another algorithm's.
        """
        if not isinstance(self.knobs, kind):
            message = f"the plan needs the knobs of {kind.__name__}, not {type(self.knobs).__name__}"
            raise TypeError(message)
        return self.knobs

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps of a training at which candidates are compared."""
        return tuple(self.ladder.steps(self.steps, number) for number in range(self.ladder.count))

    @property
    def reward_forward(self) -> float:
        """Training steps that a forward pass over a reward batch costs; less only where the reward split is smaller than a batch."""
        return reward_forward(self.batch_size) if self.reward_price is None else self.reward_price

    @property
    def num_candidates(self) -> int:
        """New candidates of a race without lanes: what the spec enqueues and what the supernet sends."""
        return MAX_NEW_CANDIDATES + self.num_initial


def reward_forward(batch_size: int) -> float:
    """Training steps of `batch_size` examples that a forward pass over a reward batch costs."""
    return FORWARD_SHARE * max(MIN_REWARD_BATCH, batch_size) / batch_size


def race_cost(to_first: int, to_second: int, comparison: Comparisons) -> float:
    """Trainings of a race: `to_first` candidates to 1/9, `to_second` of them from there to 1/3, two to the end."""
    return to_first / 9 + to_second * 2 / 9 + 2 * 2 / 3 + (to_first + to_second) * comparison.early + 2 * comparison.last


def finalists_cost(request: PlanRequest) -> float:
    """Trainings of a race without lanes: the default and all new candidates, of which FINALISTS and the default reach 1/3."""
    return race_cost(request.num_candidates + 1, FINALISTS + 1, request.comparison)

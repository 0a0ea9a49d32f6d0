"""How a budget in trainings becomes steps per stage. Pure arithmetic, the same for dry run, acceptance and search.

The unit is one full training of `retrain.steps` steps. Costs counted: a training step 1, a supernet step 1 + the
forward pass that rewards it. Source of the stage shares: ALGORITHMS section 6, "First plan".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from autohas_api.search import Spec
from autohas_api.space import Role, Space

RUNG_DIVISORS: Final = (9, 3, 1)
"""A candidate is compared at 1/9, 1/3 and 1 of a full training (Source: ALGORITHMS section 1)."""
FORWARD_SHARE: Final = 0.35
"""A forward pass in units of a training step of the same network (measured: performance.md section 2, 0.21 to 0.35)."""
SUPERNET_STEP_COST: Final = 1 + FORWARD_SHARE
MAX_CANDIDATES: Final = 6
"""Candidates of a race: default, best lane, argmax, and samples of the policy."""
FINALISTS: Final = 3
"""Candidates that go on from 1/9 to 1/3 of a training; the default goes on besides."""
MIN_LANES: Final = 3
LANE_SHARE: Final = 0.55
"""Share of what the race leaves that goes to lanes when an architecture is searched too."""
MIN_SUPERNET_TRAININGS: Final = 0.25
SCORE_BATCHES: Final = 4
"""Selection batches on which RandomSharing scores one sample."""
LAST_TWO: Final = 4 / 3
"""Leader and default from 1/3 to the end of their trainings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What each stage may do. A stage with nothing to do has 0 here and is skipped.

    `rungs` are the steps of a training at which candidates are compared; `warmup_steps` of the supernet's steps sample
    uniformly and do not teach the controller; `predicted_trainings` is the most that the plan can cost.
    """

    rungs: tuple[int, ...]
    num_lanes: int
    warmup_steps: int
    supernet_steps: int
    num_candidates: int
    num_samples: int
    predicted_trainings: float


def lanes_cost(num_lanes: int) -> float:
    """Trainings for `num_lanes` to 1/9 and the best third of them to 1/3."""
    return num_lanes / 9 + math.ceil(num_lanes / 3) * 2 / 9 if num_lanes else 0.0


def _most_lanes(trainings: float) -> int:
    num_lanes = MIN_LANES
    while lanes_cost(num_lanes + 1) <= trainings:
        num_lanes += 1
    return num_lanes


def has_lanes(spec: Spec) -> bool:
    """Whether the algorithm searches hyperparameters in lanes."""
    knobs = spec.algorithm.auto_has
    return spec.algorithm.name == "AutoHAS" and (knobs is None or knobs.strategy == "Lanes")


def plan_stages(spec: Spec, space: Space) -> StagePlan:
    """Steps per stage for a valid spec; never more than the budget, and at least the minimum of every stage."""
    trainings = max(float(spec.budget.trainings), minimum_trainings(spec, space))
    if spec.algorithm.name == "RandomSharing":
        return _random_sharing(spec, trainings)
    return _lanes(spec, space, trainings) if has_lanes(spec) else _one_step(spec, trainings)


def minimum_trainings(spec: Spec, space: Space) -> float:
    """The smallest budget, in trainings, with which every stage of the algorithm can do its work."""
    if spec.algorithm.name == "RandomSharing":
        return 1 + MIN_SUPERNET_TRAININGS + _scoring_cost(spec)
    if not has_lanes(spec):
        return _race_cost(MAX_CANDIDATES, already=0) + MIN_SUPERNET_TRAININGS
    if not space.searched(Role.ARCHITECTURE):
        return lanes_cost(MIN_LANES) + LAST_TWO
    return lanes_cost(MIN_LANES) + _race_cost(MAX_CANDIDATES, already=2) + MIN_SUPERNET_TRAININGS


def _race_cost(num_candidates: int, *, already: int) -> float:
    """Trainings of a race, the `already` first candidates having reached their rungs in the lanes before it.

    The default runs beside the finalists, so that up to FINALISTS + 1 candidates reach 1/3.
    """
    to_first = num_candidates - already
    to_second = FINALISTS + 1 - min(already, 1)
    return to_first / 9 + to_second * 2 / 9 + LAST_TWO


def _rungs(spec: Spec) -> tuple[int, ...]:
    return tuple(math.ceil(spec.retrain.steps / divisor) for divisor in RUNG_DIVISORS)


def _supernet(spec: Spec, trainings: float) -> tuple[int, int]:
    """(steps, of which uniform) that `trainings` pay for."""
    steps = int(trainings * spec.retrain.steps / SUPERNET_STEP_COST)
    knobs = spec.algorithm.auto_has
    fraction = float(knobs.warmup_fraction) if knobs is not None else DEFAULT_WARMUP_FRACTION
    return steps, int(steps * fraction)


DEFAULT_WARMUP_FRACTION: Final = 0.25


def _lanes(spec: Spec, space: Space, trainings: float) -> StagePlan:
    if not space.searched(Role.ARCHITECTURE):
        num_lanes = _most_lanes(trainings - LAST_TWO)
        return StagePlan(
            rungs=_rungs(spec), num_lanes=num_lanes, warmup_steps=0, supernet_steps=0, num_candidates=FINALISTS + 1,
            num_samples=0, predicted_trainings=lanes_cost(num_lanes) + LAST_TWO,
        )
    race = _race_cost(MAX_CANDIDATES, already=2)
    rest = trainings - race
    num_lanes = _most_lanes(min(rest * LANE_SHARE, rest - MIN_SUPERNET_TRAININGS))
    steps, warmup = _supernet(spec, rest - lanes_cost(num_lanes))
    return StagePlan(
        rungs=_rungs(spec), num_lanes=num_lanes, warmup_steps=warmup, supernet_steps=steps, num_candidates=MAX_CANDIDATES,
        num_samples=0,
        predicted_trainings=race + lanes_cost(num_lanes) + steps * SUPERNET_STEP_COST / spec.retrain.steps,
    )


def _one_step(spec: Spec, trainings: float) -> StagePlan:
    race = _race_cost(MAX_CANDIDATES, already=0)
    steps, warmup = _supernet(spec, trainings - race)
    return StagePlan(
        rungs=_rungs(spec), num_lanes=0, warmup_steps=warmup, supernet_steps=steps, num_candidates=MAX_CANDIDATES, num_samples=0,
        predicted_trainings=race + steps * SUPERNET_STEP_COST / spec.retrain.steps,
    )


def _num_samples(spec: Spec) -> int:
    return spec.algorithm.random_sharing.num_samples if spec.algorithm.random_sharing is not None else 100


def _scoring_cost(spec: Spec) -> float:
    """Trainings to score the samples of RandomSharing: a temporary update and SCORE_BATCHES forwards each."""
    return _num_samples(spec) * (1 + SCORE_BATCHES * FORWARD_SHARE) / spec.retrain.steps


def _random_sharing(spec: Spec, trainings: float) -> StagePlan:
    scoring = _scoring_cost(spec)
    steps = int((trainings - 1 - scoring) * spec.retrain.steps)
    return StagePlan(
        rungs=_rungs(spec), num_lanes=0, warmup_steps=0, supernet_steps=steps, num_candidates=1, num_samples=_num_samples(spec),
        predicted_trainings=1 + scoring + steps / spec.retrain.steps,
    )

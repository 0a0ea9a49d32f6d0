"""How a budget in trainings becomes steps per stage. Pure arithmetic, the same for dry run, acceptance and search.

The unit is one full training of `training.steps` steps. Costs counted: a training step 1, a forward pass FORWARD_SHARE.
Ours: the stage shares. About a third of the default budget goes to lanes, a quarter to the supernet, the rest to the race.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from autohas_api.budget.stage_plan import FINALISTS, StagePlan, num_rescored
from autohas_api.space.decisions import Role, Space
from autohas_api.spec.run import AutoHAS, RandomSharing
from autohas_api.spec.search import Spec

RUNG_DIVISORS: Final = (9, 3, 1)
"""A candidate is compared at 1/9, 1/3 and 1 of a full training.

Ours: successive halving by 3. On a prototype the rank correlation with the final score was 0.73 at 1/9 and 0.97 at 1/3."""
LAST_RUNG: Final = len(RUNG_DIVISORS) - 1
"""Number of the rung at which a training is whole."""
FORWARD_SHARE: Final = 0.35
"""A forward pass in units of a training step of the same network (measured on two families of networks: 0.21 to 0.35)."""
EARLY_EXAMPLES: Final = 1024
"""Examples of the selection split, always the same ones, on which candidates are compared before the end of their training.

Ours: the loss differences of two candidates, in units of a constant answer's loss, had standard deviations of 0.16 to 0.52 over the
examples (UCI protein and Fashion-MNIST, mlp, at 1/9 and 1/3), so that 1,024 examples give a standard error of 0.005 to 0.016; candidates
at 1/9 lay 0.03 to 0.04 apart (one standard deviation). The end of a training, which decides on the winner, takes the whole split."""
MAX_NEW_CANDIDATES: Final = 4
"""Candidates that the supernet sends to the race beside those that the lanes have trained."""
MIN_LANES: Final = 3
LANE_SHARE: Final = 0.55
"""Share of what the race leaves that goes to lanes when an architecture is searched too."""
_LANE_COSTS_AT_LEAST: Final = 5 / 27
"""A ninth, and of every third lane two ninths."""
MIN_SUPERNET_TRAININGS: Final = 0.25
MIN_REWARD_BATCH: Final = 64
"""Ours: below it batch statistics and rewards are mostly noise."""
HYPERPARAMETER_WINDOW: Final = (0.05, 0.20)
"""Share of the supernet steps in which OneStep and Paired sample and learn hyperparameters; then they are frozen.

Ours: rewards one step ahead prefer too large rates before the window and, after it, rates that are 10 to 100 times too small
(measured, docs/algorithm.md). Where no architecture is
searched, nothing is learned afterwards: the supernet ends with the window, and its budget pays for a longer schedule."""
PLATEAU_FILLING_REWARDS: Final = 20
"""Rewards that only fill the average that budget.earlyStopping.plateauSteps watches: its window is 1/(1 - 0.95) = 20."""
PAIRED_SAMPLES: Final = 4
_ROUNDING_STEPS: Final = 100
"""More steps than the rounding of warm-up and window can be worth: at most 35 rewards, in units of at least 0.3 rewards a step."""
MIN_TRIALS: Final = 2
"""RandomSearch: the default and one other."""
SCORE_BATCHES: Final = 4
"""Reward batches on which RandomSharing scores one sample."""


def has_lanes(spec: Spec) -> bool:
    """Whether the algorithm searches hyperparameters in lanes."""
    return spec.algorithm.name == "AutoHAS" and knobs_of(spec).strategy == "Lanes"


def knobs_of(spec: Spec) -> AutoHAS:
    """The knobs of AutoHAS, defaults where the block is absent."""
    return spec.algorithm.auto_has or AutoHAS()


def plan_stages(spec: Spec, space: Space, num_selection: int = 0, num_reward: int = 0) -> StagePlan:
    """Steps per stage for a valid spec.

    Args:
        spec: The search.
        space: Its space.
        num_selection: Examples of the selection split, once the data is known: comparisons are paid for too.
        num_reward: Examples of the reward split, on all of which RandomSharing scores its best samples again.
    """
    num_repeats = spec.training.seeds - 1
    trainings = max(float(spec.budget.trainings), minimum_trainings(spec, space, num_selection, num_reward)) - num_repeats
    plan = _plan_search(spec, space, trainings, price_comparisons(spec, num_selection), num_reward)
    predicted = plan.predicted_trainings + num_repeats
    return replace(plan, num_repeats=num_repeats, search_trainings=trainings, predicted_trainings=predicted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparisons:
    """What one comparison of a candidate costs, in trainings: before the end of its training, and at its end."""

    early: float
    last: float


def price_comparisons(spec: Spec, num_selection: int) -> Comparisons:
    """Forward passes over `num_selection` examples at the end, over EARLY_EXAMPLES of them at most before it."""
    example = FORWARD_SHARE / spec.task.recipe.batch_size / spec.training.steps
    return Comparisons(early=min(num_selection, EARLY_EXAMPLES) * example, last=num_selection * example)


def _plan_search(spec: Spec, space: Space, trainings: float, comparison: Comparisons, num_reward: int) -> StagePlan:
    """The plan without repeats of the winner."""
    if spec.algorithm.name == "RandomSharing":
        return _random_sharing(spec, trainings, comparison, num_reward)
    if spec.algorithm.name == "RandomSearch":
        return _random_search(spec, trainings, comparison)
    if not has_lanes(spec):
        return _one_step(spec, space, trainings, comparison)
    if not space.searched(Role.ARCHITECTURE):
        return _lanes_only(spec, trainings, comparison)
    return _lanes(spec, trainings, comparison)


def reward_forward(spec: Spec) -> float:
    """Training steps that a forward pass over a reward batch costs; less only where the reward split is smaller than a batch."""
    return FORWARD_SHARE * max(MIN_REWARD_BATCH, spec.task.recipe.batch_size) / spec.task.recipe.batch_size


def minimum_trainings(spec: Spec, space: Space, num_selection: int = 0, num_reward: int = 0) -> float:
    """The smallest budget, in trainings, with which every stage of the algorithm can do its work, repeats of the winner included.

    Args:
        spec: The search.
        space: Its space.
        num_selection: As for `plan_stages`.
        num_reward: As for `plan_stages`.
    """
    return _minimum_search(spec, space, price_comparisons(spec, num_selection), num_reward) + spec.training.seeds - 1


def _minimum_search(spec: Spec, space: Space, comparison: Comparisons, num_reward: int) -> float:
    if spec.algorithm.name == "RandomSharing":
        return 1 + comparison.last + MIN_SUPERNET_TRAININGS + _scoring_cost(spec, num_reward)
    if spec.algorithm.name == "RandomSearch":
        return max(MIN_TRIALS, 1 + _num_initial(spec)) * (1 + comparison.last)
    if not has_lanes(spec):
        return _race_cost(_num_candidates(spec) + 1, FINALISTS + 1, comparison) + MIN_SUPERNET_TRAININGS
    lanes = _lanes_cost(_fewest_lanes(spec), comparison)
    if not space.searched(Role.ARCHITECTURE):
        return lanes + _race_cost(0, 1, comparison)
    return lanes + _race_cost(MAX_NEW_CANDIDATES, FINALISTS + 1, comparison) + MIN_SUPERNET_TRAININGS


def _num_initial(spec: Spec) -> int:
    return len(spec.search_space.initial_points)


def _num_candidates(spec: Spec) -> int:
    """New candidates of a race without lanes: what the spec enqueues and what the supernet sends."""
    return MAX_NEW_CANDIDATES + _num_initial(spec)


def _fewest_lanes(spec: Spec) -> int:
    return max(MIN_LANES, 1 + _num_initial(spec))


def _num_survivors(num_lanes: int) -> int:
    return math.ceil(num_lanes / 3)


def _lanes_cost(num_lanes: int, comparison: Comparisons) -> float:
    """Trainings for `num_lanes` to 1/9 and the best third of them to 1/3."""
    survivors = _num_survivors(num_lanes)
    return num_lanes / 9 + survivors * 2 / 9 + (num_lanes + survivors) * comparison.early


def _most_lanes(spec: Spec, trainings: float, comparison: Comparisons) -> int:
    fewest = _fewest_lanes(spec)
    more = range(fewest + 1, max(fewest, math.ceil(trainings / _LANE_COSTS_AT_LEAST)) + 2)
    return fewest + bisect_right(more, trainings, key=lambda number: _lanes_cost(number, comparison))


def _race_cost(to_first: int, to_second: int, comparison: Comparisons) -> float:
    """Trainings of a race: so many candidates to 1/9, so many of them on to 1/3, two to the end."""
    return to_first / 9 + to_second * 2 / 9 + 2 * 2 / 3 + (to_first + to_second) * comparison.early + 2 * comparison.last


def _rungs(spec: Spec) -> tuple[int, int, int]:
    first, second, last = (math.ceil(spec.training.steps / divisor) for divisor in RUNG_DIVISORS)
    return first, second, last


def _supernet_steps(spec: Spec, trainings: float) -> tuple[int, int, float]:
    """(steps, of which uniform, trainings they cost): warm-up steps are not rewarded."""
    fraction, forward = float(knobs_of(spec).warmup_fraction), reward_forward(spec)
    steps = max(1, int(max(trainings, MIN_SUPERNET_TRAININGS) * spec.training.steps / (1 + forward * (1 - fraction))))
    warmup = math.ceil(steps * fraction)
    return steps, warmup, (warmup + (steps - warmup) * (1 + forward)) / spec.training.steps


def plan_at_batch_size(spec: Spec, plan: StagePlan, batch_size: int) -> StagePlan:
    """The plan with as many supernet steps of `batch_size` examples as its supernet's trainings pay for.

    A gradient of twice as many examples costs twice as much; a reward does not depend on it.
    """
    share, reward, fraction = batch_size / spec.task.recipe.batch_size, reward_forward(spec), float(knobs_of(spec).warmup_fraction)
    if share == 1 or not plan.supernet_steps:
        return plan
    steps = max(1, int(plan.supernet_trainings * spec.training.steps / (share + reward * (1 - fraction))))
    return replace(plan, supernet_steps=steps, schedule_steps=steps, warmup_steps=math.ceil(steps * fraction))


def _roles(space: Space) -> frozenset[Role]:
    """The kinds of decisions that are searched."""
    return frozenset(decision.role for decision in space.searched())


def _window(roles: Collection[Role], schedule: int) -> tuple[int, int]:
    """(first step, step after the last) in which hyperparameters are learned."""
    first, last = (math.ceil(schedule * bound) for bound in HYPERPARAMETER_WINDOW)
    return (first, last) if Role.UPDATE_RULE in roles else (0, 0)


def _steps_of_schedule(spec: Spec, roles: Collection[Role], schedule: int) -> tuple[int, int]:
    """(steps taken, of which uniform): all of them for an architecture; for hyperparameters alone no more than their window needs."""
    if Role.ARCHITECTURE not in roles:
        return _window(roles, schedule)[1], 0
    return schedule, math.ceil(schedule * float(knobs_of(spec).warmup_fraction))


def _cost_of_schedule(spec: Spec, roles: Collection[Role], schedule: int) -> float:
    """Training steps that a supernet stage of OneStep or Paired costs.

    Inside the window: one reward per update rule, a look at the training loss after the update, perhaps a gradient of its own;
    outside it one reward of the architecture once the warm-up is over. Paired rewards the architecture besides its update rules.
    """
    knobs, has_architecture = knobs_of(spec), Role.ARCHITECTURE in roles
    steps, warmup = _steps_of_schedule(spec, roles, schedule)
    first, last = _window(roles, schedule)
    window = last - first
    taught, taught_in_window = (steps - warmup, max(last - max(first, warmup), 0)) if has_architecture else (0, 0)
    rewards_in_window = num_paired(spec) * window + taught_in_window if knobs.strategy == "Paired" else window
    rewards = taught - taught_in_window + rewards_in_window
    gradients = steps + (window if knobs.temporary_batch == "Own" else 0)
    return gradients + reward_forward(spec) * rewards + FORWARD_SHARE * window


def _one_step_schedule(spec: Spec, roles: Collection[Role], trainings: float) -> tuple[int, float]:
    """(steps of the schedule, trainings that what is taken of it costs): as many as the trainings pay for."""
    paid = max(trainings, MIN_SUPERNET_TRAININGS) * spec.training.steps
    most = max(1, int(paid * 1000 / _cost_of_schedule(spec, roles, 1000)) + 1)
    # The cost is linear but for the rounding of its bounds: scaled from so near it is right to a few steps, however many there are.
    schedule = min(most, int(paid * most / _cost_of_schedule(spec, roles, most)) + _ROUNDING_STEPS)
    while schedule > 1 and _cost_of_schedule(spec, roles, schedule) > paid:
        schedule -= 1
    return schedule, _cost_of_schedule(spec, roles, schedule) / spec.training.steps


def num_paired(spec: Spec) -> int:
    """Update rules that Paired compares on one gradient."""
    return knobs_of(spec).paired_samples or PAIRED_SAMPLES


def _lanes_only(spec: Spec, trainings: float, comparison: Comparisons) -> StagePlan:
    race = _race_cost(0, 1, comparison)
    num_lanes = _most_lanes(spec, trainings - race, comparison)
    lanes = _lanes_cost(num_lanes, comparison)
    return StagePlan(
        rungs=_rungs(spec),
        num_lanes=num_lanes,
        num_survivors=_num_survivors(num_lanes),
        warmup_steps=0,
        supernet_steps=0,
        schedule_steps=0,
        num_candidates=0,
        num_samples=0,
        lane_trainings=lanes,
        predicted_trainings=lanes + race,
    )


def _lanes(spec: Spec, trainings: float, comparison: Comparisons) -> StagePlan:
    race = _race_cost(MAX_NEW_CANDIDATES, FINALISTS + 1, comparison)
    rest = trainings - race
    num_lanes = _most_lanes(spec, min(rest * LANE_SHARE, rest - MIN_SUPERNET_TRAININGS), comparison)
    lanes = _lanes_cost(num_lanes, comparison)
    steps, warmup, supernet = _supernet_steps(spec, rest - lanes)
    return StagePlan(
        rungs=_rungs(spec),
        num_lanes=num_lanes,
        num_survivors=_num_survivors(num_lanes),
        warmup_steps=warmup,
        supernet_steps=steps,
        schedule_steps=steps,
        num_candidates=MAX_NEW_CANDIDATES,
        num_samples=0,
        lane_trainings=lanes,
        supernet_trainings=supernet,
        predicted_trainings=race + lanes + supernet,
    )


def _one_step(spec: Spec, space: Space, trainings: float, comparison: Comparisons) -> StagePlan:
    race = _race_cost(_num_candidates(spec) + 1, FINALISTS + 1, comparison)
    roles = _roles(space)
    schedule, supernet = _one_step_schedule(spec, roles, trainings - race)
    steps, warmup = _steps_of_schedule(spec, roles, schedule)
    return StagePlan(
        rungs=_rungs(spec),
        num_lanes=0,
        num_survivors=0,
        warmup_steps=warmup,
        supernet_steps=steps,
        schedule_steps=schedule,
        num_candidates=_num_candidates(spec),
        num_samples=0,
        supernet_trainings=supernet,
        predicted_trainings=race + supernet,
    )


def _num_samples(spec: Spec) -> int:
    return (spec.algorithm.random_sharing or RandomSharing()).num_samples


def _scoring_cost(spec: Spec, num_reward: int) -> float:
    """Trainings to score the samples of RandomSharing: a gradient for the temporary update and SCORE_BATCHES forwards each.

    The best ones once more, on the whole reward split, which is one batch at least.
    """
    whole = max(FORWARD_SHARE * num_reward / spec.task.recipe.batch_size, reward_forward(spec))
    first, again = _num_samples(spec) * (1 + SCORE_BATCHES * reward_forward(spec)), num_rescored(_num_samples(spec)) * (1 + whole)
    return (first + again) / spec.training.steps


def _random_sharing(spec: Spec, trainings: float, comparison: Comparisons, num_reward: int) -> StagePlan:
    scoring = _scoring_cost(spec, num_reward)
    steps = max(1, int((trainings - 1 - comparison.last - scoring) * spec.training.steps))
    return StagePlan(
        rungs=_rungs(spec),
        num_lanes=0,
        num_survivors=0,
        warmup_steps=0,
        supernet_steps=steps,
        schedule_steps=steps,
        num_candidates=1,
        num_samples=_num_samples(spec),
        scoring_trainings=scoring,
        supernet_trainings=steps / spec.training.steps,
        predicted_trainings=1 + comparison.last + scoring + steps / spec.training.steps,
    )


def _random_search(spec: Spec, trainings: float, comparison: Comparisons) -> StagePlan:
    num_trials = max(MIN_TRIALS, 1 + _num_initial(spec), int(trainings / (1 + comparison.last)))
    return StagePlan(
        rungs=_rungs(spec),
        num_lanes=0,
        num_survivors=0,
        warmup_steps=0,
        supernet_steps=0,
        schedule_steps=0,
        num_candidates=0,
        num_samples=0,
        num_trials=num_trials,
        predicted_trainings=num_trials * (1 + comparison.last),
    )

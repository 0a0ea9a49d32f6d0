"""When a search ends before its plan does: goal reached, controller settled, time nearly used up. It always ends with a result.

    what happens                                                 in the stage        continues with
    a compared candidate reaches objective.goal                  any                 Evaluate: that candidate is finished
    entropy below budget.earlyStopping.normalizedEntropyBelow    Supernet            the race
    no rise of the averaged reward (budget.earlyStopping)        Supernet            the race
    maxActiveSeconds leaves time for the race only               Warmup, Supernet    the race
    ... for the final training of the leader only                any but Evaluate    Evaluate: the leader is finished

`look` after every step, then `leaves`: what was seen is part of the checkpoint, so a resumed search ends where the undisturbed one does.
Time is the exception: it promises the same kind of result, not the same digest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from autohas_api.budget.steps_per_stage import PLATEAU_FILLING_REWARDS
from autohas_api.wire.messages import Stage, StopReason
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.events import EarlyStopDecided

__all__ = ["EarlyStopping"]

_SUPERNET: Final = (Stage.WARMUP, Stage.SUPERNET)
_MIN_DELTA: Final = 0.001
_MARGIN: Final = 1.1
"""Ours: reserved seconds per estimated second; what is left over is far below the 1.2 at which the operator steps in."""


class EarlyStopping:
    """Watches one search. `reason` is None while it follows its plan."""

    def __init__(self, state: SearchState) -> None:
        """Nothing seen yet."""
        self.reason: StopReason | None = None
        self._state = state
        self._left: Stage | None = None
        """The stage that is left early; the one after it is whole again unless `_to_evaluate`."""
        self._to_evaluate = False
        self._best_average = -math.inf
        self._num_rewards_seen = 0
        self._rewards_since_rise = 0

    def leaves(self, stage: Stage) -> bool:
        """Whether `stage` ends now, although it has work left."""
        if stage is Stage.EVALUATE:
            return False
        return self._to_evaluate or self._left is stage or (self._left is Stage.WARMUP and stage is Stage.SUPERNET)

    @property
    def goes_to_evaluate(self) -> bool:
        """Whether the search skips all stages between the current one and Evaluate."""
        return self._to_evaluate

    def look(self, stage: Stage) -> None:
        """Judge the search after a step of `stage`."""
        is_rewarded = stage is Stage.SUPERNET and self._state.num_rewards_here > self._num_rewards_seen
        self._num_rewards_seen = self._state.num_rewards_here
        if is_rewarded:
            self._count_reward()
        if self.leaves(stage) or stage is Stage.EVALUATE or self._state.winner is not None:
            return
        self._look_for_goal()
        if not self._to_evaluate and is_rewarded:
            self._look_at_controller()
        if not self.leaves(stage):
            self._look_at_time(stage)

    def _look_for_goal(self) -> None:
        name = self._state.goal_reached_by
        if name is None:
            return
        objective = self._state.search_task.spec.objective
        best = max(newest.items())[1].metric if (newest := self._state.comparisons.get(name)) else math.nan
        text = f"{name} reached {objective.metric_name} {best:.4g} on the selection split (goal {objective.goal})"
        self._end(StopReason.GOAL_REACHED, f"{text}: it is finished and tested")
        self._finish(name)

    def _count_reward(self) -> None:
        stop = self._state.search_task.spec.budget.early_stopping
        min_delta = float(stop.min_delta) if stop is not None and stop.min_delta is not None else _MIN_DELTA
        average, num_averaged = self._state.algorithm.policy.baseline, self._state.algorithm.policy.num_rewards
        if num_averaged <= PLATEAU_FILLING_REWARDS or average >= self._best_average + min_delta:
            self._best_average, self._rewards_since_rise = average, 0
        else:
            self._rewards_since_rise += 1

    @property
    def _what_follows(self) -> str:
        """What comes after the supernet, as a clause."""
        has_race = self._state.search_task.spec.algorithm.has_race
        return "the race begins" if has_race else "the derived configuration is trained"

    def _look_at_controller(self) -> None:
        stop = self._state.search_task.spec.budget.early_stopping
        if stop is None:
            return
        entropy = self._state.algorithm.policy.normalized_entropy()
        if stop.normalized_entropy_below is not None and entropy < float(stop.normalized_entropy_below):
            text = f"the policy has converged: normalised entropy {entropy:.4f} is below {stop.normalized_entropy_below}"
            self._end(StopReason.CONVERGED, f"{text}; {self._what_follows}")
            self._leave(Stage.SUPERNET)
        elif stop.plateau_steps is not None and self._rewards_since_rise >= stop.plateau_steps:
            text = f"the averaged reward {self._best_average:.4f} has not risen for {self._rewards_since_rise} steps"
            self._end(StopReason.PLATEAU, f"{text}; {self._what_follows}")
            self._leave(Stage.SUPERNET)

    def _look_at_time(self, stage: Stage) -> None:
        limit = self._state.search_task.spec.budget.max_active_seconds
        if limit is None:
            return
        left = limit - self._state.ledger.active_seconds
        name = self.leader()
        if left <= self._seconds_to_finish(name):
            self._end(StopReason.BUDGET, f"maxActiveSeconds ({limit} s) leaves time only to finish {name}: it is finished and tested")
            self._finish(name)
        elif stage in _SUPERNET and left <= self._seconds_after_supernet():
            self._end(StopReason.BUDGET, f"maxActiveSeconds ({limit} s) leaves time only for the race and the final training")
            self._leave(stage)

    def _leave(self, stage: Stage) -> None:
        """The race comes next, as it is planned: what the supernet does not spend is saved."""
        self._left = stage
        state = self._state
        reserve = state.supernet_share.reserve
        planned = state.search_task.plan.race_trainings if reserve is None else reserve
        state.withheld = max(0.0, state.trainings_left - planned)

    def settle(self) -> StopReason:
        """The reason at the end: a goal that the finished winner misses is taken back, with a notice."""
        state = self._state
        if self.reason is not StopReason.GOAL_REACHED or state.winner is None:
            return self.reason or StopReason.COMPLETED
        metric = max(state.comparisons[state.winner].items())[1].metric
        if state.search_task.reaches_goal(metric):
            return self.reason
        goal = state.search_task.spec.objective.goal
        state.notify(
            NoticeReason.GOAL_MISSED, f"the finished {state.winner} has {metric:.4g} on the selection split, short of the goal {goal}"
        )
        return StopReason.COMPLETED

    def _end(self, reason: StopReason, message: str) -> None:
        """The first reason is the search's; later ones only issue a notice."""
        if self.reason is None:
            self.reason = reason
            self._state.sink.emit(EarlyStopDecided(reason=reason))
        self._state.notify(
            {
                StopReason.GOAL_REACHED: NoticeReason.GOAL_REACHED,
                StopReason.CONVERGED: NoticeReason.POLICY_CONVERGED,
                StopReason.PLATEAU: NoticeReason.REWARD_PLATEAU,
                StopReason.BUDGET: NoticeReason.TIME_BUDGET_REACHED,
            }[reason],
            message,
        )

    def _finish(self, name: str) -> None:
        """Evaluate comes next, with this winner; only its training is still ahead."""
        state = self._state
        state.winner = state.enter(name, state.configurations[name])
        self._to_evaluate = True

    def leader(self) -> str:
        """The candidate to finish when time is short: the furthest and then best compared, else the best scored, else the default."""
        newest = {n: max(self._state.comparisons[n].items()) for n in self._state.trainings if self._state.comparisons.get(n)}
        places = {
            name: (rung, comparison.key, name == DEFAULT) for name, (rung, comparison) in newest.items() if comparison.key > -math.inf
        }
        return max(places, key=places.__getitem__, default=self._state.best_sample or DEFAULT)

    def _seconds_to_finish(self, name: str) -> float:
        """Estimate for the rest of a candidate's training, its comparison and the test."""
        state, search_task = self._state, self._state.search_task
        training, configuration = state.trainings.get(name), state.configurations[name]
        missing = search_task.recipe(configuration).steps - (training.num_steps_done if training is not None else 0)
        work = (
            (1 + missing) * search_task.step_work(configuration)  # one more step passes before the next look
            + search_task.plan.num_repeats * search_task.work(configuration)
            + search_task.evaluation_work(configuration)
        )
        return _MARGIN * work * state.ledger.seconds_per_training(name)

    def _seconds_after_supernet(self) -> float:
        """Estimate for race and final training at the pace of the search so far."""
        state, search_task = self._state, self._state.search_task
        cost = search_task.plan.trainings_after_supernet(search_task.spec.training.steps) + search_task.evaluation_work(
            search_task.space.default
        )
        return _MARGIN * cost * state.ledger.seconds_per_training(None)

    def state_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "reason": self.reason,
            "left": self._left,
            "toEvaluate": self._to_evaluate,
            "bestAverage": None if math.isinf(self._best_average) else self._best_average,
            "rewardsSinceRise": self._rewards_since_rise,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.reason = StopReason(state["reason"]) if state["reason"] is not None else None
        self._left = Stage(state["left"]) if state["left"] is not None else None
        self._to_evaluate = bool(state["toEvaluate"])
        self._best_average = -math.inf if state["bestAverage"] is None else float(state["bestAverage"])
        self._rewards_since_rise = int(state["rewardsSinceRise"])

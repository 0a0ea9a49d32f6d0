"""Multi-trial: trials are proposed one after another, and cut short in brackets. The race of these algorithms.

The default is trained to its end first, and is one of the trials of the first bracket. It is compared at every rung, or at its end alone
where the schedule is that of RandomSearch, whose brackets have one trial that goes straight to the end. A trial enters where what is left
pays for it and for the way of its bracket to the end, at the price of the dearest trials in it; one that costs too much is passed over. A
trial that continues is trained further, not again. One that failed or diverged is worse than every other, also to the sampler. The winner
is the best trial that beats the default at its end by more than noise, otherwise the default.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from autohas_api.algorithms.brackets import Bracket, Schedule
from autohas_api.algorithms.multi_trial import TrialPlan
from autohas_api.space.decisions import Configuration, initial_points
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import TrialAlgorithm
from autohas_trainer.algorithms._proposer import TrialRecord
from autohas_trainer.engine.accounting.spending import SLACK
from autohas_trainer.engine.candidate_faults import fault_key
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.further_lanes import report_unaffordable
from autohas_trainer.engine.stages.ranking import choose_leader, rank_finite, report_rung
from autohas_trainer.engine.stages.trial_prices import TrialPrices

__all__ = ["MultiTrialStage", "find_fault_of_all"]

_PROPOSALS_PER_TRIAL: Final = 6
"""Proposals that are looked at for one trial: those that cost too much are passed over, and then the bracket begins without it.

RandomSearch looks at as many for each planned trial and for each trained one, all together: a draw costs nothing, and the search ends where
no draw is affordable."""
_MAX_FAILURES: Final = 50
"""Ours: trials in a row that fail before no further one is proposed. Each costs one step, so that a budget pays for thousands."""


class MultiTrialStage:
    """Leaves in the search state: the winner's name, its training finished, and the default's."""

    name = Stage.RACE

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._prices = TrialPrices(state.search_task)
        self._bracket = -1
        """Number of the bracket at work; -1 while the default is trained, which belongs to none then."""
        self._rung = 0
        """The rung that the trials at work are trained to."""
        self._trials: list[str] = []
        """Those that are trained to it, in order."""
        self._position = 0
        self._num_proposed = 1
        """Trials that were proposed, the default and those that were passed over among them: the number of the next one."""
        self._best = DEFAULT
        self.num_steps = state.search_task.plan.race_steps

    def begin(self) -> None:
        """Enter the default."""
        self._rung = self._trial_plan.first_rung_of_default
        self._trials = [self._state.enter(DEFAULT, self._state.search_task.space.default)]

    def advance(self) -> bool:
        """Train or compare one trial; after its comparison choose the next one, or those that continue."""
        state, name = self._state, self._trials[self._position]
        training = state.trainings[name]
        if training.num_steps_done < training.rung(self._rung) and not training.is_diverged:
            state.train(self.name, name)
            return True
        state.compare(self.name, name, self._rung)
        self._position += 1
        if state.goal_reached_by is not None:  # the search ends here with this trial (see `early_stopping`)
            self._report([name], [name])
            return True
        if self._bracket < 0:
            return self._continue_default()
        if self._rung == self._last:
            self._take(name)
        else:
            self._let_go()
        if self._position < len(self._trials) or self._enter_next():
            return True
        return self._end_rung()

    def _continue_default(self) -> bool:
        """From rung to rung; at its end the first bracket begins."""
        self._report([DEFAULT], [DEFAULT])
        if self._rung < self._last:
            self._state.forget_contributions(self._rung, [DEFAULT])
            self._rung, self._position = self._rung + 1, 0
            return True
        return self._begin_bracket()

    def _begin_bracket(self) -> bool:
        """Enter the first trial of the next bracket; False, with the winner chosen, where nothing is left to try or to pay with."""
        self._bracket += 1
        self._rung = self._shape.first_rung
        self._trials = [DEFAULT] if self._bracket == 0 else []
        self._position = len(self._trials)
        if self._enter_next():
            return True
        if self._bracket == 0 and self._shape.num_trials == 1:
            return self._begin_bracket()
        if (fault := find_fault_of_all(self._state)) is not None:
            text = f"the last {_MAX_FAILURES} trials failed, so that no further trial is proposed: {fault}"
            self._state.notify(NoticeReason.CANDIDATE_FAILED, text)
        self._state.winner = self._best
        return False

    def _enter_next(self) -> bool:
        """Enter one more trial of the bracket, at its first rung; returns whether there is one."""
        if self._rung != self._shape.first_rung or len(self._trials) == self._shape.num_trials:
            return False
        if find_fault_of_all(self._state) is not None:
            return False
        state, search_task = self._state, self._state.search_task
        initial, history = set(initial_points(search_task.spec, search_task.space)), self._list_history()
        left_out = set(state.configurations.values())
        for number in range(self._num_proposed, self._num_proposed + self._count_proposals(len(initial))):
            proposed = self._algorithm.propose(number, search_task.seed, history, left_out)
            if proposed is None:
                return False
            self._num_proposed += 1
            if self._is_affordable(proposed):
                self._trials.append(state.enter(f"trial {number}", proposed))
                self._replan()
                return True
            if proposed in initial:
                report_unaffordable(state, f"trial {number}", proposed)
        return False

    def _count_proposals(self, num_initial: int) -> int:
        """Proposals that are looked at for the next trial."""
        if self._trial_plan.schedule is not Schedule.AT_END:
            return _PROPOSALS_PER_TRIAL + num_initial
        num_draws = _PROPOSALS_PER_TRIAL * (self._state.search_task.plan.num_trials + len(self._state.comparisons))
        return max(0, num_draws - self._num_proposed)

    def _end_rung(self) -> bool:
        """Let the best trials of a rung continue; where none does, the next bracket begins."""
        state, ranked = self._state, rank_finite(self._state, self._rung, self._trials)
        if self._rung == self._last:
            return self._begin_bracket()
        kept = ranked[: self._count_following(len(self._trials))]
        self._report([name for name in self._trials if name != DEFAULT], kept)
        state.forget_contributions(self._rung, self._trials)
        self._keep_only(kept)
        self._rung, self._trials, self._position = self._rung + 1, kept, 0
        return True if kept else self._begin_bracket()

    def _let_go(self) -> None:
        """End the trainings of compared trials that cannot continue any more; further trials may still enter the bracket."""
        size = self._shape.num_trials if self._rung == self._shape.first_rung else len(self._trials)
        ranked = rank_finite(self._state, self._rung, self._trials[: self._position])
        self._keep_only([*ranked[: self._count_following(size)], *self._trials[self._position :]])

    def _count_following(self, size: int) -> int:
        """Of `size` trials at a rung, those that continue to the next one."""
        return max(1, size // self._state.search_task.rungs.eta)

    def _keep_only(self, names: list[str]) -> None:
        self._state.keep_only({DEFAULT, self._best, *names})

    def _take(self, name: str) -> None:
        """Keep the leader: the best score so far, unless the default is as good within noise."""
        state, last = self._state, self._last
        if name != DEFAULT:
            self._best = choose_leader(state, self._best, name)
            self._report([name], [name] if name == self._best else [])
            state.forget_contributions(last, [name])
        self._keep_only(self._trials[self._position :])

    def _report(self, names: Sequence[str], kept: Collection[str]) -> None:
        """Tell the sink how trials compared at the rung at work, and of which trial each was bred."""
        state, history = self._state, self._list_history()
        bred = {name: self._algorithm.find_parent(_number(name), state.configurations[name], history) for name in names}
        parents = {name: f"trial {number}" if number else DEFAULT for name, number in bred.items() if number is not None}
        report_rung(state, self.name, self._rung, names, kept, parents=parents)

    def _list_history(self) -> list[TrialRecord]:
        """What is known of every trial, by its number and then by rung."""
        state = self._state
        numbers = {name: _number(name) for name in state.comparisons}
        return [
            TrialRecord(
                number=number,
                configuration=state.configurations[name],
                rung=rung,
                score=comparison.key if comparison.key > -math.inf else None,
            )
            for name, number in sorted(numbers.items(), key=lambda item: item[1])
            for rung, comparison in sorted(state.comparisons[name].items())
        ]

    def _is_affordable(self, proposed: Configuration) -> bool:
        """Whether what is left pays for the trial, and for the way to the end of its bracket with it."""
        state, shape = self._state, self._shape
        trials = [state.configurations[name] for name in self._trials if name != DEFAULT] + [proposed]
        began, eta = len(self._trials) + 1, state.search_task.rungs.eta
        counts = {rung: shape.num_at(rung, eta, began) for rung in range(shape.first_rung + 1, self._last + 1)}
        price = self._prices.price_entry(proposed, shape.first_rung) + self._prices.price_ways(trials, counts)
        return price + self._prices.price_repeats([*trials, state.configurations[self._best]]) <= state.trainings_left + SLACK

    def _replan(self) -> None:
        """Let progress follow what the ledger pays for, at the price of the default; the newest trial is still to be trained."""
        state, plan, number, first = self._state, self._trial_plan, self._bracket, self._shape.first_rung
        num_done, whole = len(self._trials) - (number == 0) - 1, plan.count_new(number)
        left = state.trainings_left + num_done * self._prices.price_entry(state.search_task.space.default, first) + SLACK
        sizes = range(num_done + 1, whole + 1)  # up to 10^7 of them: their prices rise, so that no list of them is needed
        num_paid = bisect_right(sizes, left, key=lambda size: plan.price_of(number, size))
        size = num_done + max(1, num_paid)
        remaining = plan.steps_of(number, size) - num_done * plan.ends[first]
        if size == whole:
            remaining += plan.lay_out(left - plan.price_of(number, whole), number + 1)[1]
        if state.ledger.steps_in_stage + remaining != state.ledger.stages[self.name]:
            state.replan(self.name, remaining)

    @property
    def _algorithm(self) -> TrialAlgorithm:
        algorithm = self._state.algorithm
        assert isinstance(algorithm, TrialAlgorithm)  # noqa: S101 - the table gives this race to no other
        return algorithm

    @property
    def _trial_plan(self) -> TrialPlan:
        search_task = self._state.search_task
        schedule = search_task.spec.row.schedule
        assert schedule is not None  # noqa: S101 - as above
        return TrialPlan(schedule, search_task.rungs, search_task.spec.training.steps, search_task.comparisons)

    @property
    def _shape(self) -> Bracket:
        """The bracket at work."""
        return self._trial_plan.bracket(self._bracket)

    @property
    def _last(self) -> int:
        return self._state.search_task.rungs.last

    def state_dict(self) -> dict[str, Any]:
        """Bracket, rung, trials and leader."""
        return {
            "bracket": self._bracket,
            "rung": self._rung,
            "trials": self._trials,
            "position": self._position,
            "proposed": self._num_proposed,
            "best": self._best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._bracket, self._rung, self._position = int(state["bracket"]), int(state["rung"]), int(state["position"])
        self._trials, self._num_proposed, self._best = list(state["trials"]), int(state["proposed"]), str(state["best"])


def find_fault_of_all(state: SearchState) -> str | None:
    """Why the last trial failed, where all of the last `_MAX_FAILURES` did: an error in custom code that only the default avoids."""
    latest = [fault_key(state.configurations[name]) for name in sorted(state.comparisons, key=_number)[-_MAX_FAILURES:]]
    return state.faults[latest[-1]] if len(latest) == _MAX_FAILURES and all(key in state.faults for key in latest) else None


def _number(name: str) -> int:
    """The number of a trial by its name."""
    return 0 if name == DEFAULT else int(name.removeprefix("trial "))

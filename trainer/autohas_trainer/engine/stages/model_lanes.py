"""Lanes of a search for a model: the default's curve, then lanes while a step of search is worth more than a step of training.

Every lane is the beginning of a training as long as the budget. What comes next is a function of the seed, the comparisons and the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from autohas_api.algorithms.best_model import CURVE_RUNG, LANE_RUNG, MOST_CHALLENGERS, MOST_SEARCH
from autohas_api.space.decisions import Configuration, initial_points
from autohas_api.wire.messages import Effect, Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import Candidate
from autohas_trainer.algorithms.best_model import expect_gain, explain_end, list_gains, predict_combination
from autohas_trainer.algorithms.one_factor import (
    COMBINATION,
    INITIAL,
    REFINEMENT,
    Tried,
    find_change,
    list_changes,
    list_combinations,
    list_neighbours,
    list_refinements,
    name_change,
    shuffle,
)
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.model_judge import ModelJudge
from autohas_trainer.engine.stages.ranking import report_rung
from autohas_trainer.engine.training.comparison import paired_standard_error
from autohas_trainer.events import EffectMeasured
from autohas_trainer.seeding import stream

__all__ = ["ModelLanesStage"]


class _Worth(NamedTuple):
    """A configuration whose lane is worth more than its price, and by how much."""

    configuration: Configuration
    surplus: float


class ModelLanesStage:
    """Leaves in the search state: the default's training at CURVE_RUNG, those of the best lanes at LANE_RUNG, and measured effects."""

    name = Stage.LANES

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._judge = ModelJudge(state)
        self._lane = DEFAULT
        """The lane at work."""
        self._compared: list[str] = []
        """Every lane that was compared, in order."""
        self._numbers: dict[str, int] = {}
        """The last number of each kind of name."""
        self.num_steps = state.search_task.plan.lane_steps

    def begin(self) -> None:
        """Enter the default."""
        self._lane = self._state.enter(DEFAULT, self._state.search_task.space.default)

    def advance(self) -> bool:
        """Train or compare one lane; after its comparison enter the next one, unless the training is worth more."""
        state, name = self._state, self._lane
        training, rung = state.trainings[name], self._next_rung()
        if training.num_steps_done < training.rung(rung) and not training.is_diverged:
            state.train(self.name, name)
            return True
        state.compare(self.name, name, rung, keeps_contributions=True)
        if name == DEFAULT and rung < CURVE_RUNG:
            report_rung(state, self.name, rung, [name], [name])
            return True
        if name != DEFAULT:
            self._compared.append(name)
            self._note_effect(name)
        kept = self._let_go()
        report_rung(state, self.name, rung, [name], [name] if name in kept else [])
        if (following := self._choose_next()) is None:
            self._report_curve()
            return False
        self._lane = state.enter(following.name, following.configuration)
        self._replan()
        return True

    def _next_rung(self) -> int:
        """The default is compared at every rung to CURVE_RUNG, other lanes at LANE_RUNG."""
        if self._lane != DEFAULT:
            return LANE_RUNG
        return next(rung for rung in range(CURVE_RUNG + 1) if rung not in self._state.comparisons.get(DEFAULT, {}))

    def _advantage(self, name: str) -> float:
        return self._judge.advantage(name, LANE_RUNG)

    def _best(self) -> float:
        """The largest advantage, 0 without one."""
        return max([0.0, *(self._advantage(name) for name in self._compared)])

    def _let_go(self) -> set[str]:
        """End the trainings of all lanes that the race will not continue."""
        kept = {DEFAULT, *self._judge.rank_leading(self._compared)[:MOST_CHALLENGERS]}
        self._state.keep_only(kept)
        self._state.forget_contributions(LANE_RUNG, [other for other in self._compared if other not in kept])
        return kept

    def _note_effect(self, name: str) -> None:
        """The paired difference of a lane that differs from the default in one decision; one that diverged has none."""
        state, lane, default = self._state, *(self._state.comparisons[n][LANE_RUNG] for n in (name, DEFAULT))
        if (change := self._change_of(name)) is not None and lane.key > -math.inf:
            error = paired_standard_error(lane, default)
            effect = Effect(decision=change[0], value=change[1], effect=lane.key - default.key, standard_error=error)
            state.effects.append(effect)
            state.sink.emit(EffectMeasured(effect=effect))

    def _change_of(self, name: str) -> tuple[str, str] | None:
        space = self._state.search_task.space
        return find_change(space, space.default, self._state.configurations[name])

    def _gains(self) -> list[float]:
        """What the changes so far have added; combinations, which repeat them, are left out."""
        changed = [name for name in self._compared if not name.startswith(f"{COMBINATION} ")]
        pairs = [(change[0] if (change := self._change_of(name)) is not None else None, self._advantage(name)) for name in changed]
        return list_gains(pairs)

    def _choose_next(self) -> Candidate | None:
        """The next lane; None when nothing is left to try, or nothing is worth more than to train.

        Of a combination and a neighbour that are both worth it, the one that promises more; refinements come after both.
        """
        self._state.worth = None
        if (initial := self._choose_initial()) is not None:
            return initial
        gain = expect_gain(self._gains())
        worthy = [
            (worth.surplus, kind, worth.configuration)
            for kind, worth in ((REFINEMENT, self._choose_neighbour(gain)), (COMBINATION, self._choose_combination()))
            if worth is not None
        ]
        if worthy:
            _, kind, configuration = max(worthy, key=lambda option: option[0])
            return self._name(configuration, kind)
        refinement = self._choose_refinement(gain)
        return None if refinement is None else self._name(refinement.configuration, REFINEMENT)

    def _choose_neighbour(self, gain: float) -> _Worth | None:
        """The next neighbour of the default, in an order of the seed."""
        search_task = self._state.search_task
        neighbours = list_neighbours(search_task.space, search_task.space.default)
        return self._find_worthy(shuffle(neighbours, stream(search_task.seed, "neighbours", 1)), lambda _: gain)

    def _choose_initial(self) -> Candidate | None:
        """The next initial point, whatever it is worth; one without room in the search is left out, with a notice."""
        search_task = self._state.search_task
        points = initial_points(search_task.spec, search_task.space)
        while (number := self._numbers.get(INITIAL, 0) + 1) <= len(points):
            self._numbers[INITIAL], point = number, points[number - 1]
            if self._find_worthy([point], lambda _: math.inf) is not None:
                return Candidate(name=f"{INITIAL} {number}", configuration=point)
            self._report_left_out(f"{INITIAL} {number}", point)
        return None

    def _report_left_out(self, name: str, configuration: Configuration) -> None:
        """An initial point that costs more than lanes may still take, or than the budget can finish."""
        state, judge = self._state, self._judge
        state.notify(
            NoticeReason.CANDIDATE_UNAFFORDABLE,
            f"{name}, of searchSpace.initialPoints, is left out: its lane costs {judge.lane_price(configuration):.2f} trainings of the"
            f" default, and its shortest training {judge.shortest_price(configuration):.2f}; lanes may take"
            f" {max(0.0, self._most() - self._spent()):.2f} more, {MOST_SEARCH:.0%} of budget.trainings in all, and"
            f" {state.trainings_left:.2f} are left; raise budget.trainings; {state.search_task.values_text(configuration)}",
        )

    def _most(self) -> float:
        """Trainings that lanes other than the default's may take."""
        return MOST_SEARCH * self._state.search_task.plan.search_trainings

    def _choose_combination(self) -> _Worth | None:
        """A combination of the best changes, if the sum of what they promise is worth it."""
        space, best = self._state.search_task.space, self._best()
        changes = {change: self._advantage(name) for name in self._compared if (change := self._change_of(name)) is not None}

        def expect(combination: Configuration) -> float:
            return predict_combination(list_changes(space, space.default, combination), changes, best)

        return self._find_worthy(list_combinations(space, Tried(configuration=space.default, key=0.0), self._list_tried()), expect)

    def _list_tried(self) -> list[Tried]:
        """The compared lanes with their advantages, in order."""
        return [Tried(configuration=self._state.configurations[name], key=self._advantage(name)) for name in self._compared]

    def _choose_refinement(self, gain: float) -> _Worth | None:
        """A refinement of the best lane; nothing where no lane leads."""
        state, best = self._state, self._judge.rank_leading(self._compared)[:1]
        if not best:
            return None
        tried = self._list_tried()
        turn, rng = self._numbers.get(REFINEMENT, 0), stream(state.search_task.seed, "refinements", len(tried))
        refinements = list_refinements(state.search_task.space, state.configurations[best[0]], tried, turn, rng)
        return self._find_worthy(refinements, lambda _: gain)

    def _find_worthy(self, configurations: Iterable[Configuration], expect: Callable[[Configuration], float]) -> _Worth | None:
        """The first that was no candidate yet and is expected to gain more than its price; the best of all is kept for people."""
        state, candidates = self._state, set(self._state.configurations.values())
        for configuration in (c for c in configurations if c not in candidates):
            cost, value = self._judge.lane_price(configuration), expect(configuration)
            price = self._judge.price(cost)
            is_known = math.isfinite(value) and math.isfinite(price)  # neither an initial point, nor a lane that costs more than is left
            if is_known and (state.worth is None or value - price > state.worth[0] - state.worth[1]):
                state.worth = (value, price)
            if value > price and self._spent() + cost <= self._most() and self._judge.is_paid_for(configuration):
                return _Worth(configuration, value - price)
        return None

    def _spent(self) -> float:
        """Trainings that went to other lanes than the default's."""
        state, default = self._state, self._state.trainings[DEFAULT]
        return state.ledger.cost - default.num_steps_done * state.search_task.step_work(default.configuration)

    def _name(self, configuration: Configuration, kind: str) -> Candidate:
        """A change of one decision of the default has the name of that change, everything else the name of its kind and a number."""
        space = self._state.search_task.space
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        if (change := find_change(space, space.default, configuration)) is not None:
            return Candidate(name=name_change(*change), configuration=configuration)
        return Candidate(name=f"{kind} {self._numbers[kind]}", configuration=configuration)

    def _replan(self) -> None:
        """A lane's steps come from the winner's training."""
        ledger, rungs = self._state.ledger, self._state.search_task.plan.rungs
        lane = rungs[LANE_RUNG]
        winner = max(0, ledger.stages[Stage.EVALUATE] - lane)
        self._state.lay_out(self.name, {self.name: ledger.steps_in_stage + lane, Stage.EVALUATE: winner})

    def _report_curve(self) -> None:
        """Say what the curve said, once."""
        state, whole, number = self._state, self._judge.whole(DEFAULT), len(self._compared)
        tried = f"after {number} lane{'' if number == 1 else 's'} " if number else ""
        state.notify(
            NoticeReason.SEARCH_WORTH,
            f"by its curve the default loses {100 * self._judge.curve.gain_of_twice(whole):.1f} % of its error in twice the {whole:.2f}"
            f" trainings that are left for it: {tried}{explain_end(state.worth)}; {self._spent():.2f} trainings were spent on the search",
        )

    def state_dict(self) -> dict[str, Any]:
        """The lane at work, those that were compared, and the numbers of names."""
        return {"lane": self._lane, "compared": self._compared, "numbers": self._numbers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._lane, self._compared = str(state["lane"]), list(state["compared"])
        self._numbers = {kind: int(number) for kind, number in state["numbers"].items()}

"""Lanes of strategy OneFactor, and the race of leaders that follows them.

Lanes: the default, the initial points, neighbours, combinations and refinements, each to 1/9 of a training, one after another. What comes
next is a function of the seed, the comparisons and the ledger. Race: the best lanes to 1/3, the best of these to the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from autohas_api.algorithms.one_factor import KEPT_PER_FINALIST, NEIGHBOUR_SHARE, REFINEMENTS_PER_ROUND
from autohas_api.space.decisions import Configuration, initial_points
from autohas_api.wire.messages import Effect, Stage
from autohas_trainer.algorithms import Candidate
from autohas_trainer.algorithms.one_factor import (
    COMBINATION,
    INITIAL,
    REFINEMENT,
    Tried,
    find_change,
    list_combinations,
    list_neighbours,
    list_refinements,
    name_change,
    shuffle,
)
from autohas_trainer.engine.accounting.spending import SLACK
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.further_lanes import report_unaffordable
from autohas_trainer.engine.stages.race_prices import RacePrices
from autohas_trainer.engine.stages.ranking import rank_finite, report_rung
from autohas_trainer.engine.training.comparison import paired_standard_error
from autohas_trainer.events import EffectMeasured
from autohas_trainer.seeding import stream

__all__ = ["OneFactorStage"]

_FIRST: Final = 0
"""The rung that lanes reach."""


class _Phase(StrEnum):
    NEIGHBOURS = "Neighbours"
    COMBINATIONS = "Combinations"
    REFINEMENTS = "Refinements"


class OneFactorStage:
    """Leaves in the search state: the trainings of the best lanes and of the default at 1/9, and the effects of single changes."""

    name = Stage.LANES

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._prices = RacePrices(state.search_task)
        self._lane = DEFAULT
        """The lane at work."""
        self._errors: dict[str, float] = {}
        """Every lane that was compared, in order, with the standard error of its lead over the centre of its round."""
        self._centre = DEFAULT
        self._round = 1
        self._phase = _Phase.NEIGHBOURS
        self._neighbours_end = 0.0
        """Trainings spent by the search at which the neighbours of this round have had their share."""
        self._num_refinements = 0
        """Of this round."""
        self._numbers: dict[str, int] = {}
        """The last number of each kind of name."""
        self.num_steps = state.search_task.plan.lane_steps

    def begin(self) -> None:
        """Enter the default."""
        self._lane = self._state.enter(DEFAULT, self._state.search_task.space.default)
        self._neighbours_end = self._state.ledger.cost + NEIGHBOUR_SHARE * self._left()

    def advance(self) -> bool:
        """Train or compare one lane; after its comparison enter the next one."""
        state, name = self._state, self._lane
        training = state.trainings[name]
        if training.num_steps_done < training.rung(_FIRST) and not training.is_diverged:
            state.train(self.name, name)
            return True
        state.compare(self.name, name, _FIRST, keeps_contributions=True)
        self._errors[name] = paired_standard_error(state.comparisons[name][_FIRST], state.comparisons[self._centre][_FIRST])
        self._note_effect(name)
        if state.goal_reached_by is not None:  # the search ends here with this lane (see `early_stopping`)
            report_rung(state, self.name, _FIRST, [name], [name])
            return True
        kept = self._let_go()
        report_rung(state, self.name, _FIRST, [name], [name] if name in kept else [])
        if (following := self._choose_next()) is None:
            state.forget_contributions(_FIRST, self._errors)
            return False
        self._lane = state.enter(following.name, following.configuration)
        self._replan()
        return True

    def _let_go(self) -> set[str]:
        """End the trainings of the lanes that are too far behind for the race; returns the compared lanes that are kept.

        The networks of those that only a race wider than planned takes are freed: such a race repeats their steps.
        """
        state, planned = self._state, self._state.search_task.plan.num_finalists
        best = [other for other in self._rank() if other != DEFAULT]
        kept = {DEFAULT, self._centre, *best[: KEPT_PER_FINALIST * planned]}
        state.keep_only(kept)
        state.rewind(kept.difference([DEFAULT, *best[:planned]]))
        state.forget_contributions(_FIRST, [other for other in self._errors if other not in kept])
        return kept

    def _note_effect(self, name: str) -> None:
        """The paired difference of a lane that differs from the default in one decision; one that diverged has none."""
        state, space = self._state, self._state.search_task.space
        change = find_change(space, space.default, state.configurations[name])
        lane, default = state.comparisons[name][_FIRST], state.comparisons[DEFAULT][_FIRST]
        if change is not None and lane.key > -math.inf:
            error = paired_standard_error(lane, default)
            effect = Effect(decision=change[0], value=change[1], effect=lane.key - default.key, standard_error=error)
            state.effects.append(effect)
            state.sink.emit(EffectMeasured(effect=effect))

    def _rank(self) -> list[str]:
        """The compared lanes from best to worst; what diverged is out."""
        return rank_finite(self._state, _FIRST, self._errors)

    def _list_tried(self) -> list[Tried]:
        state = self._state
        return [
            Tried(configuration=state.configurations[name], key=state.comparisons[name][_FIRST].key, standard_error=error)
            for name, error in self._errors.items()
        ]

    def _choose_next(self) -> Candidate | None:
        """The next lane; None when nothing is left to try or to pay with."""
        if (initial := self._choose_initial()) is not None:
            return initial
        if self._phase is _Phase.NEIGHBOURS:
            if (neighbour := self._choose_neighbour()) is not None:
                return self._name(neighbour, REFINEMENT)
            self._phase = _Phase.COMBINATIONS
        if self._phase is _Phase.COMBINATIONS:
            centre = next(tried for tried in self._list_tried() if tried.configuration == self._state.configurations[self._centre])
            combinations = list_combinations(self._state.search_task.space, centre, self._list_tried())
            if (combination := self._find_affordable(combinations)) is not None:
                return self._name(combination, COMBINATION)
            self._phase = _Phase.REFINEMENTS
        if self._num_refinements >= REFINEMENTS_PER_ROUND and (neighbour := self._try_to_begin_round()) is not None:
            return self._name(neighbour, REFINEMENT)
        self._num_refinements += 1
        refinement = self._choose_refinement()
        return None if refinement is None else self._name(refinement, REFINEMENT)

    def _choose_initial(self) -> Candidate | None:
        """The next initial point; one whose way to the end is not paid for is left out, and a notice says so."""
        state, search_task = self._state, self._state.search_task
        points = initial_points(search_task.spec, search_task.space)
        while (number := self._numbers.get(INITIAL, 0) + 1) <= len(points):
            self._numbers[INITIAL], point = number, points[number - 1]
            if self._find_affordable([point]) is not None:
                return Candidate(name=f"{INITIAL} {number}", configuration=point)
            report_unaffordable(state, f"{INITIAL} {number}", point)
        return None

    def _choose_neighbour(self) -> Configuration | None:
        """The next neighbour of the centre, in random order, while the share of the neighbours pays for it."""
        search_task = self._state.search_task
        neighbours = list_neighbours(search_task.space, self._state.configurations[self._centre])
        neighbour = self._find_affordable(shuffle(neighbours, stream(search_task.seed, "neighbours", self._round)))
        is_paid = neighbour is not None and self._state.ledger.cost + self._prices.of(neighbour).first <= self._neighbours_end + SLACK
        return neighbour if is_paid else None

    def _try_to_begin_round(self) -> Configuration | None:
        """Begin a round around the best lane, if the share of its neighbours pays for one; returns the first."""
        before = self._centre, self._neighbours_end, self._round
        self._centre, self._round = self._rank()[0], self._round + 1
        self._neighbours_end = self._state.ledger.cost + NEIGHBOUR_SHARE * self._left()
        if (neighbour := self._choose_neighbour()) is None:
            self._centre, self._neighbours_end, self._round = before
            return None
        self._phase, self._num_refinements = _Phase.NEIGHBOURS, 0
        return neighbour

    def _choose_refinement(self) -> Configuration | None:
        """A refinement of the best lane; where all of them were tried, of the second best, and so on."""
        state, tried = self._state, self._list_tried()
        rng = stream(state.search_task.seed, "refinements", len(tried))
        for name in self._rank():
            refinements = list_refinements(state.search_task.space, state.configurations[name], tried, self._num_refinements - 1, rng)
            if (refinement := self._find_affordable(refinements)) is not None:
                return refinement
        return None

    def _find_affordable(self, configurations: Iterable[Configuration]) -> Configuration | None:
        """The first that was no candidate yet and whose way to the end what is left pays for, next to that of the leaders."""
        candidates = set(self._state.configurations.values())
        return next((c for c in configurations if c not in candidates and self._left(c) >= self._prices.of(c).first - SLACK), None)

    def _left(self, newcomer: Configuration | None = None) -> float:
        """Trainings that the lanes may still spend: without the race of the default and of the leaders, `newcomer` among them."""
        state, num_finalists = self._state, self._state.search_task.plan.num_finalists
        leaders = [newcomer] if newcomer is not None else []
        leaders += [state.configurations[name] for name in self._rank() if name != DEFAULT][: num_finalists - len(leaders)]
        leaders += [state.search_task.space.default] * (num_finalists - len(leaders))
        return state.trainings_left - self._prices.race(leaders)

    def _name(self, configuration: Configuration, kind: str) -> Candidate:
        """A change of one decision of the default has the name of that change, everything else the name of its kind and a number."""
        space = self._state.search_task.space
        if (change := find_change(space, space.default, configuration)) is not None:
            return Candidate(name=name_change(*change), configuration=configuration)
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return Candidate(name=f"{kind} {self._numbers[kind]}", configuration=configuration)

    def _replan(self) -> None:
        """Let progress follow the number of lanes that the ledger pays for, at the price of the default."""
        state, search_task = self._state, self._state.search_task
        left = self._left() - self._prices.of(state.configurations[self._lane]).first
        further = max(0, int((left + SLACK) / self._prices.of(search_task.space.default).first))
        remaining = (1 + further) * search_task.plan.rungs[_FIRST]
        if state.ledger.steps_in_stage + remaining != state.ledger.stages[self.name]:
            state.replan(self.name, remaining)

    def state_dict(self) -> dict[str, Any]:
        """The lane at work, those that were compared, and the position in the rounds."""
        return {
            "lane": self._lane,
            "errors": self._errors,
            "centre": self._centre,
            "round": self._round,
            "phase": self._phase,
            "neighboursEnd": self._neighbours_end,
            "refinements": self._num_refinements,
            "numbers": self._numbers,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._lane, self._errors = str(state["lane"]), {name: float(error) for name, error in state["errors"].items()}
        self._centre, self._round, self._phase = str(state["centre"]), int(state["round"]), _Phase(state["phase"])
        self._neighbours_end, self._num_refinements = float(state["neighboursEnd"]), int(state["refinements"])
        self._numbers = {kind: int(number) for kind, number in state["numbers"].items()}

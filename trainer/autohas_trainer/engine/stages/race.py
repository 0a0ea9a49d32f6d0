"""Race: default, lanes and the supernet's proposals, trained to 1/9, 1/3 and 1, compared on the selection split.

The race spends what earlier stages left: it is as wide as the trainings that are left pay for, at its beginning and at each rung.
After a whole race nothing but the default is returned unless it beat the default there, and nothing new takes the best lane's place
unless it beat the lane at 1/3; ties within noise go to the default, and to the lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.algorithms.stage_plan import num_challengers
from autohas_api.space.decisions import initial_points
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import Candidate
from autohas_trainer.engine.accounting.spending import (
    FINALISTS_PER_CHALLENGER,
    OVERDRAFT,
    TOLERANCE,
    Race,
    choose_affordable,
    name_range,
    num_finalists,
    price_of_ends,
)
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.further_lanes import further_lanes, report_unaffordable
from autohas_trainer.engine.stages.halving import Halving
from autohas_trainer.engine.stages.ranking import choose_winner, rank_finite
from autohas_trainer.engine.training.comparison import beats
from autohas_trainer.seeding import stream

__all__ = ["RaceStage"]

_MORE_PROPOSALS: Final = 64
"""Proposals beyond the plan that a wider race may take from the supernet before it takes lanes of the design."""
_LOOK_AHEAD: Final = 24
"""Lanes of the design that are looked at, and as many again for each training that is left."""


class RaceStage:
    """Leaves in the search state: the winner's name, its training finished, and the default's."""

    name = Stage.RACE

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._halving = Halving(state, self.name, self._choose, keep=self._keep)
        self.num_steps = state.search_task.plan.race_steps

    def begin(self) -> None:
        """Enter the default and the new candidates next to the lanes that reached 1/3; as many as the trainings that are left pay for."""
        state, plan = self._state, self._state.search_task.plan
        entrants = [state.enter(DEFAULT, state.search_task.space.default)]
        lane = state.best_lane if state.best_lane not in (None, DEFAULT) else None
        field = Race(state.trainings_left - self._price_of_default(), None if lane is None else state.prices(lane))
        initial, proposed = self._list_initial(), self._propose()
        state.release_supernet()
        planned = plan.num_candidates - len(initial)
        self._enter([*initial, *proposed[:planned]], field, entrants, TOLERANCE * plan.search_trainings)
        base, spare = len(entrants) - 1, field.spare
        self._enter(self._list_new(proposed[planned:]), field, entrants)
        self._enter(further_lanes(state, _LOOK_AHEAD + int(_LOOK_AHEAD * max(0.0, field.spare))), field, entrants)
        if new := entrants[1 + base :]:
            state.notify(NoticeReason.BUDGET_MOVED, f"{spare:.2f} trainings are left for a wider race: {name_range(new)} join it")
        self._halving.begin([*entrants, *(name for name in state.trainings if name not in entrants)])
        finalists = num_finalists(len(entrants) - 1)
        first = self._steps(0, len(entrants) - 1 + self._lacks(0))
        challengers = num_challengers(finalists, FINALISTS_PER_CHALLENGER)
        self.num_steps = first + self._steps(1, finalists + self._lacks(1)) + self._steps(2, 1 + challengers)

    def _list_initial(self) -> list[Candidate]:
        """What the spec enqueues, unless the lanes had it."""
        search_task = self._state.search_task
        initial = () if search_task.plan.num_lanes else initial_points(search_task.spec, search_task.space)
        return [Candidate(name=f"initial {n}", configuration=c) for n, c in enumerate(initial, start=1)]

    def _propose(self) -> list[Candidate]:
        """What the supernet proposes, the most trusted first, unless it was abandoned or there is none."""
        state, plan = self._state, self._state.search_task.plan
        if state.supernet_is_abandoned or not plan.supernet_steps:
            return []
        return state.algorithm.candidates(plan.num_candidates + _MORE_PROPOSALS, stream(state.search_task.seed, "race", "candidates"))

    def _list_new(self, proposed: Iterable[Candidate]) -> list[Candidate]:
        """The proposals that were no candidates before."""
        configurations = set(self._state.configurations.values())
        return [candidate for candidate in proposed if candidate.configuration not in configurations]

    def _enter(self, candidates: Iterable[Candidate], field: Race, entrants: list[str], tolerance: float = 0.0) -> None:
        """Enter the candidates that what is left pays for, in their order; one that runs already stays as it is."""
        state = self._state
        initial = set(initial_points(state.search_task.spec, state.search_task.space))
        running = {training.configuration for training in state.trainings.values()}
        for candidate in candidates:
            configuration = candidate.configuration
            if configuration in running or field.enter(state.search_task.prices(configuration), tolerance):
                running.add(configuration)
                name = state.enter(candidate.name, configuration)
                if name not in entrants:
                    entrants.append(name)
            elif configuration in initial:
                report_unaffordable(state, candidate.name, configuration)

    def _price_of_default(self) -> float:
        return self._state.prices(DEFAULT).rest(sum(rung in self._state.comparisons.get(DEFAULT, {}) for rung in range(LAST_RUNG)))

    def _lacks(self, rung: int) -> int:
        """1 where the default was not compared at a rung yet, 0 where it was."""
        return int(rung not in self._state.comparisons.get(DEFAULT, {}))

    def _steps(self, rung: int, count: int) -> int:
        """Steps that bring `count` candidates to a rung from the one before."""
        rungs = (0, *self._state.search_task.plan.rungs)
        return count * (rungs[rung + 1] - rungs[rung])

    def advance(self) -> bool:
        """Train or compare one candidate."""
        return self._halving.advance()

    def state_dict(self) -> dict[str, Any]:
        """Position in the halving."""
        return self._halving.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._halving.load_state_dict(state)

    def _choose(self, rung: int, names: list[str]) -> list[str]:
        match rung:
            case 0:
                kept = self._after_first(names)
                self._state.keep_only(set(kept))
                new = sum(1 not in self._state.comparisons[name] for name in kept)
                self._state.replan(self.name, self._steps(1, new) + self._steps(2, 1 + num_challengers(new, FINALISTS_PER_CHALLENGER)))
            case 1:
                kept = [DEFAULT, *self._challengers(rung, names)]
                self._state.forget_contributions(rung, names)
                self._state.keep_only(set(kept))
                self._state.replan(self.name, self._steps(2, len(kept)))
            case _:
                self._state.winner = choose_winner(self._state, names)
                return [self._state.winner]
        return kept

    def _keep(self, rung: int, names: list[str], _: int) -> list[str]:
        """Those that would continue if no further one was compared; at 1/9 no more new ones than a race as wide as planned has."""
        match rung:
            case 0:
                ahead = [name for name in names if name == DEFAULT or 1 in self._state.comparisons[name]]
                new = [name for name in self._after_first(names) if name not in ahead]
                return [*ahead, *new[: max(0, self._state.search_task.plan.num_candidates - 1)]]
            case 1:
                return [DEFAULT, *self._challengers(rung, names)]
            case _:
                return names

    def _after_first(self, names: list[str]) -> list[str]:
        """The default, the lanes that are further already, and as many new ones as the remaining trainings pay for, the best first."""
        state, plan = self._state, self._state.search_task.plan
        ahead = [name for name in names if name != DEFAULT and 1 in state.comparisons[name]]
        new = [name for name in rank_finite(state, 0, names) if name != DEFAULT and name not in ahead]
        left = state.trainings_left - self._price_of_default()
        lanes = [state.prices(name) for name in ahead if name == state.best_lane]
        # a race of lanes alone plans, and pays for, no new finalist
        tolerance = TOLERANCE * plan.search_trainings if plan.num_candidates else 0.0
        return [DEFAULT, *ahead, *choose_affordable(new, state.prices, left, lanes, tolerance)]

    def _challengers(self, rung: int, names: list[str]) -> list[str]:
        """The candidates that are trained to the end next to the default: those whose end the remaining trainings pay for.

        The best lane is the first unless a new candidate beats it; without such a lane they go by their order.
        """
        comparisons, lane = self._state.comparisons, self._state.best_lane
        order = [name for name in rank_finite(self._state, rung, names) if name != DEFAULT]
        if lane is not None and lane in order:
            better = [name for name in order if beats(comparisons[name][rung], comparisons[lane][rung])]
            order = list(dict.fromkeys((*better, lane, *order)))
        left = self._state.trainings_left - self._state.prices(DEFAULT).last
        overdraft = OVERDRAFT * self._state.search_task.plan.search_trainings
        chosen: list[str] = []
        for name in order:
            prices = [self._state.prices(other) for other in (*chosen, name)]
            if price_of_ends(prices, len(prices)) <= left + (0.0 if chosen else overdraft):
                chosen.append(name)
        return chosen

"""The race of leaders: the default and the best lanes from 1/9 to 1/3, the best of these to the end, as many as the budget pays for.

Nothing but the default is returned unless it beat the default at the end; ties within noise go to the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autohas_api.algorithms.one_factor import LANES_PER_CHALLENGER
from autohas_api.algorithms.rungs import LAST_RUNG
from autohas_api.algorithms.stage_plan import num_challengers
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.engine.accounting.spending import SLACK, name_range
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages.halving import Halving
from autohas_trainer.engine.stages.race_prices import RacePrices
from autohas_trainer.engine.stages.ranking import choose_winner, rank_finite

__all__ = ["LeadersStage"]

_THIRD: Final = 1


class LeadersStage:
    """Leaves in the search state: the winner's name, its training finished, and the default's."""

    name = Stage.RACE

    def __init__(self, state: SearchState) -> None:
        self._state = state
        self._prices = RacePrices(state.search_task)
        self._halving = Halving(state, self.name, self._choose, keep=self._keep)
        self.num_steps = state.search_task.plan.race_steps

    def begin(self) -> None:
        """Enter the default and the best lanes, as many as the trainings that are left pay for."""
        state, planned = self._state, self._state.search_task.plan.num_finalists
        order = [name for name in rank_finite(state, 0, state.trainings) if name != DEFAULT]
        finalists = order[: self._count_finalists(order)]
        if len(finalists) > planned:
            names = name_range(finalists[planned:])
            verb = "continues" if len(finalists) == planned + 1 else "continue"
            state.notify(NoticeReason.BUDGET_MOVED, f"the trainings that are left pay for a wider race: {names} {verb} to 1/3 too")
        state.keep_only({DEFAULT, *finalists})
        self._halving.begin([DEFAULT, *finalists], _THIRD)
        _, second, third, last = (0, *state.search_task.plan.rungs)
        challengers = num_challengers(len(finalists), LANES_PER_CHALLENGER)
        self.num_steps = (1 + len(finalists)) * (third - second) + (1 + challengers) * (last - third)

    def advance(self) -> bool:
        """Train or compare one candidate."""
        return self._halving.advance()

    def state_dict(self) -> dict[str, Any]:
        """Position in the halving."""
        return self._halving.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._halving.load_state_dict(state)

    def _count_finalists(self, order: list[str]) -> int:
        """The most lanes, of the best, whose race is paid for; one at least."""
        leaders = [self._state.configurations[name] for name in order]
        left = self._state.trainings_left + SLACK
        return max((number for number in range(1, len(order) + 1) if self._prices.race(leaders[:number]) <= left), default=1)

    def _choose(self, rung: int, names: list[str]) -> list[str]:
        state = self._state
        if rung == LAST_RUNG:
            state.winner = choose_winner(state, names)
            return [state.winner]
        kept = [DEFAULT, *self._choose_challengers(rank_finite(state, rung, names))]
        state.forget_contributions(rung, names)
        state.keep_only(set(kept))
        _, third, last = state.search_task.plan.rungs
        state.replan(self.name, len(kept) * (last - third))
        return kept

    def _keep(self, rung: int, names: list[str], _: int) -> list[str]:
        """At 1/3 those that would continue if no further one was compared."""
        return names if rung == LAST_RUNG else [DEFAULT, *self._choose_challengers(rank_finite(self._state, rung, names))]

    def _choose_challengers(self, order: list[str]) -> list[str]:
        """From the best on, every lane whose way to the end is paid for next to the default's; the best one in any case."""
        prices, challengers, repeats = self._prices, list[str](), 0.0
        left = self._state.trainings_left - prices.of(self._state.search_task.space.default).last
        for name in order:
            lane = prices.of(self._state.configurations[name])
            further = max(repeats, lane.repeats)
            if name != DEFAULT and (lane.last + further <= left + SLACK or not challengers):
                challengers.append(name)
                left, repeats = left - lane.last, further
        return challengers

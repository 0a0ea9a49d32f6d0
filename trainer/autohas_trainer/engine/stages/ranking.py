"""The order of candidates at a rung, its report, and who wins at the end: what every race has in common."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from autohas_api.wire.messages import Stage
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.training.comparison import beats, rank
from autohas_trainer.events import CandidateRecord, finite

__all__ = ["choose_leader", "choose_winner", "rank_finite", "report_rung"]

_NO_PARENTS: Final[Mapping[str, str]] = MappingProxyType({})


def rank_finite(state: SearchState, rung: int, names: Iterable[str]) -> list[str]:
    """From best to worst; what diverged is out."""
    comparisons = {name: state.comparisons[name][rung] for name in names}
    return [name for name in rank(comparisons) if comparisons[name].key > -math.inf]


def choose_leader(state: SearchState, leader: str, name: str) -> str:
    """The better of two trials at the end of their trainings: the new one only where it also beats the default by more than noise."""
    last = state.search_task.rungs.last
    new, best, default = (state.comparisons[each][last] for each in (name, leader, DEFAULT))
    return name if new.score > best.score and beats(new, default) else leader


def choose_winner(state: SearchState, names: Iterable[str]) -> str:
    """The best candidate that beats the default at the end of its training, otherwise the default."""
    comparisons, last = state.comparisons, state.search_task.rungs.last
    challengers = [name for name in rank_finite(state, last, names) if name != DEFAULT]
    winners = [name for name in challengers if beats(comparisons[name][last], comparisons[DEFAULT][last])]
    return winners[0] if winners else DEFAULT


def report_rung(  # noqa: PLR0913 - what a record consists of
    state: SearchState, stage: Stage, rung: int, names: Iterable[str], kept: Collection[str], *, parents: Mapping[str, str] = _NO_PARENTS
) -> None:
    """Tell the sink how the candidates of a rung compared; `parents` are those of candidates that were bred."""
    rungs, space = state.search_task.plan.rungs, state.search_task.space
    for name in names:
        comparison = state.comparisons[name][rung]
        record = CandidateRecord(
            stage=stage,
            name=name,
            values=space.as_mapping(state.configurations[name]),
            step=state.ledger.step,
            cost=state.ledger.cost,
            fraction=rungs[rung] / rungs[-1],
            score=finite(comparison.score),
            metric=comparison.metric,
            loss=finite(comparison.loss),
            kept=name in kept,
            parent=parents.get(name),
        )
        state.records.append(record)
        state.sink.emit(record)

"""Lanes of the design beyond those that were planned, and initial points that are left out."""

from __future__ import annotations

from autohas_api.space.decisions import Configuration, initial_points
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.algorithms import Candidate, lane_candidates
from autohas_trainer.engine.search_state import SearchState

__all__ = ["further_lanes", "report_unaffordable"]


def further_lanes(state: SearchState, count: int) -> list[Candidate]:
    """The next `count` lanes of the design whose configuration was no candidate yet; fewer when the space is smaller."""
    search_task, configurations = state.search_task, set(state.configurations.values())
    initial = initial_points(search_task.spec, search_task.space)
    lanes = lane_candidates(search_task.space, count + len(configurations) + 1, search_task.seed, initial) if count > 0 else []
    return [lane for lane in lanes if lane.configuration not in configurations][:count]


def report_unaffordable(state: SearchState, name: str, configuration: Configuration) -> None:
    """A configuration that the spec asks for costs more than what is left can finish."""
    price, left = state.search_task.price(configuration, 0, state.search_task.rungs.count), state.trainings_left
    text = (
        f"{name}, of searchSpace.initialPoints, is left out: its training costs {price:.2f} trainings of the default, and all candidates"
        f" together have {left:.2f}; raise budget.trainings; {state.search_task.values_text(configuration)}"
    )
    state.notify(NoticeReason.CANDIDATE_UNAFFORDABLE, text)

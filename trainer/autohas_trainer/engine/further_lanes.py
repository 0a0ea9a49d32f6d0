"""Lanes of the design beyond those that were planned."""

from __future__ import annotations

from autohas_api.space.decisions import initial_points
from autohas_trainer.algorithms import Candidate, lane_candidates
from autohas_trainer.engine.search_state import SearchState

__all__ = ["further_lanes"]


def further_lanes(state: SearchState, count: int) -> list[Candidate]:
    """The next `count` lanes of the design whose configuration was no candidate yet; fewer when the space is smaller."""
    search_task, configurations = state.search_task, set(state.configurations.values())
    initial = initial_points(search_task.spec, search_task.space)
    lanes = lane_candidates(search_task.space, count + len(configurations) + 1, search_task.seed, initial) if count > 0 else []
    return [lane for lane in lanes if lane.configuration not in configurations][:count]

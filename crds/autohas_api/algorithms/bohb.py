"""BOHB: Hyperband whose trials come from two kernel densities (Source: Falkner et al.)."""

from __future__ import annotations

from typing import Final

from autohas_api.algorithms.brackets import Schedule, find_bracket
from autohas_api.algorithms.learning_trials import LearningTrials, build_learning_row
from autohas_api.algorithms.plan_request import PlanRequest
from autohas_api.algorithms.rungs import Rungs

__all__ = ["BOHB", "BOHB_ROW", "count_points", "count_random_trials", "count_trials"]


class BOHB(LearningTrials):
    """Settings of algorithm BOHB, Hyperband with kernel densities (Falkner et al. 2018)."""


def count_points(num_decisions: int) -> int:
    """The fewest configurations of a density (Source: the paper)."""
    return num_decisions + 1


def count_trials(num_decisions: int) -> int:
    """The fewest trials at a rung from which two densities are made (Source: the paper)."""
    return count_points(num_decisions) + 2


def count_random_trials(num_decisions: int, ladder: Rungs) -> int:
    """The trials before the first one that densities propose: until then no rung has enough of them.

    The default is one of them. Trials of a bracket are proposed before any of them continues.
    """
    needed, number, trials = count_trials(num_decisions), 0, 0
    at_rung = [0] * ladder.count
    while True:
        bracket = find_bracket(Schedule.HYPERBAND, number, eta=ladder.eta, num_rungs=ladder.count)
        missing = needed - at_rung[bracket.first_rung]
        if missing <= bracket.num_trials:
            return trials + missing
        for rung in range(bracket.first_rung, ladder.count):
            at_rung[rung] += bracket.num_at(rung, ladder.eta)
        if max(at_rung) >= needed:
            return trials + bracket.num_trials
        trials, number = trials + bracket.num_trials, number + 1


def _num_known(request: PlanRequest) -> int:
    return count_random_trials(request.num_decisions, request.ladder)


def _fewest(request: PlanRequest) -> str:
    needed = count_trials(request.num_decisions)
    return f"{needed} trials at one rung, which the densities of {request.num_decisions} decisions need, and one that they propose"


BOHB_ROW: Final = build_learning_row(
    Schedule.HYPERBAND,
    name="BOHB",
    description="Hyperband whose trials are proposed where good ones are dense and bad ones are not.",
    knobs=BOHB,
    num_known=_num_known,
    fewest=_fewest,
    trial_text="a configuration that was drawn at random or proposed by the densities, numbered in their order",
    stage_texts={"Race": "the default, then brackets of trials, a third of them random; the best of each continue from rung to rung"},
)

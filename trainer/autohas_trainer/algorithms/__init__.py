"""The search algorithms: each decides what a supernet step does and which configurations enter the race.

A new algorithm is a file here with a class and a row in `BUILDERS`, next to its file and row in `autohas_api.algorithms`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from autohas_api.space.decisions import Space
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Algorithm, Candidate, StepContext, SupernetAlgorithm
from autohas_trainer.algorithms._trials import TrialAlgorithm
from autohas_trainer.algorithms.autohas_lanes import AutoHASLanes
from autohas_trainer.algorithms.autohas_one_step import AutoHASOneStep
from autohas_trainer.algorithms.autohas_paired import AutoHASPaired
from autohas_trainer.algorithms.bohb import build_bohb
from autohas_trainer.algorithms.default_only import DefaultOnly
from autohas_trainer.algorithms.lanes import lane_candidates
from autohas_trainer.algorithms.multi_trial import MultiTrial
from autohas_trainer.algorithms.one_factor import OneFactor
from autohas_trainer.algorithms.random_search import RandomSearch
from autohas_trainer.algorithms.random_sharing import RandomSharing
from autohas_trainer.algorithms.random_trials import build_random_trials
from autohas_trainer.algorithms.regularized_evolution import build_evolution
from autohas_trainer.algorithms.tpe import build_tpe

__all__ = [
    "BUILDERS",
    "Algorithm",
    "Candidate",
    "MultiTrial",
    "StepContext",
    "SupernetAlgorithm",
    "TrialAlgorithm",
    "build_algorithm",
    "lane_candidates",
]

BUILDERS: Final[dict[tuple[str, str | None], Callable[[Spec, Space], Algorithm]]] = {
    ("AutoHAS", "Lanes"): AutoHASLanes.from_spec,
    ("AutoHAS", "OneFactor"): OneFactor.from_spec,
    ("AutoHAS", "OneStep"): AutoHASOneStep.from_spec,
    ("AutoHAS", "Paired"): AutoHASPaired.from_spec,
    ("RandomSharing", None): RandomSharing.from_spec,
    ("RandomSearch", None): RandomSearch.from_spec,
    ("SuccessiveHalving", None): build_random_trials,
    ("Hyperband", None): build_random_trials,
    ("TPE", None): build_tpe,
    ("BOHB", None): build_bohb,
    ("RegularizedEvolution", None): build_evolution,
    ("DefaultOnly", None): DefaultOnly.from_spec,
}
"""Name and strategy of a row of the table to what builds the algorithm at its start."""


def build_algorithm(spec: Spec, space: Space) -> Algorithm:
    """The algorithm that a spec names, at its start."""
    row = spec.algorithm.row
    return BUILDERS[row.name, row.strategy](spec, space)

"""The search algorithms: each decides what a supernet step does and which configurations enter the race."""

from __future__ import annotations

from autohas_api.budget.plan import knobs_of
from autohas_api.space.decisions import Space, initial_points
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms._base import Algorithm, Candidate, StepContext, SupernetStep
from autohas_trainer.algorithms.autohas_lanes import AutoHASLanes
from autohas_trainer.algorithms.autohas_one_step import AutoHASOneStep
from autohas_trainer.algorithms.autohas_paired import AutoHASPaired
from autohas_trainer.algorithms.lanes import lane_candidates
from autohas_trainer.algorithms.random_search import RandomSearch
from autohas_trainer.algorithms.random_sharing import RandomSharing

__all__ = ["Algorithm", "Candidate", "StepContext", "SupernetStep", "build_algorithm", "lane_candidates"]


def build_algorithm(spec: Spec, space: Space) -> Algorithm:
    """The algorithm that a spec names, at its start."""
    match spec.algorithm.name:
        case "RandomSharing":
            return RandomSharing(space, initial_points(spec, space))
        case "RandomSearch":
            return RandomSearch(space, initial_points(spec, space))
        case "AutoHAS":
            knobs = knobs_of(spec)
            match knobs.strategy:
                case "Lanes":
                    return AutoHASLanes(space, float(knobs.policy_learning_rate))
                case "OneStep":
                    return AutoHASOneStep(space, knobs)
                case "Paired":
                    return AutoHASPaired(space, knobs)

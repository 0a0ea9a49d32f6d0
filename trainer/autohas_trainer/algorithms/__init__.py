"""The search algorithms: each decides what a supernet step does and which configurations enter the race."""

from __future__ import annotations

from autohas_api.budget import knobs_of
from autohas_api.search import Spec
from autohas_api.space import Space
from autohas_trainer.algorithms._base import Algorithm, Candidate, StepContext, SupernetStep
from autohas_trainer.algorithms.autohas_lanes import AutoHASLanes
from autohas_trainer.algorithms.autohas_one_step import AutoHASOneStep
from autohas_trainer.algorithms.lanes import lane_candidates
from autohas_trainer.algorithms.random_sharing import RandomSharing

__all__ = ["Algorithm", "Candidate", "StepContext", "SupernetStep", "build_algorithm", "lane_candidates"]


def build_algorithm(spec: Spec, space: Space) -> Algorithm:
    """The algorithm that a spec names, at its start."""
    if spec.algorithm.name == "RandomSharing":
        return RandomSharing(space)
    knobs = knobs_of(spec)
    learning_rate = float(knobs.policy_learning_rate)
    if knobs.strategy == "Lanes":
        return AutoHASLanes(space, learning_rate)
    return AutoHASOneStep(space, learning_rate)

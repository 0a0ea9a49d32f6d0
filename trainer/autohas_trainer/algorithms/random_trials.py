"""SuccessiveHalving and Hyperband: uniform draws inside the schedule of the row.

Sources: Jamieson & Talwalkar (2016), "Non-stochastic Best Arm Identification"; Li et al. (2018), "Hyperband".
Ours: the default is a trial of the first bracket, passes all rungs first, and wins ties within noise.
"""

from __future__ import annotations

from autohas_api.space.decisions import Space, initial_points
from autohas_api.spec.search import Spec
from autohas_trainer.algorithms.multi_trial import MultiTrial
from autohas_trainer.algorithms.uniform import UniformSampler

__all__ = ["build_random_trials"]


def build_random_trials(spec: Spec, space: Space) -> MultiTrial:
    """The algorithm of a search, at its start."""
    return MultiTrial(space, UniformSampler(space), initial=initial_points(spec, space))

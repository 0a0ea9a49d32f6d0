"""The steps of a plan by stage, for progress."""

from __future__ import annotations

from autohas_api.algorithms.stage_plan import StagePlan
from autohas_api.wire.messages import Stage

__all__ = ["stage_steps"]


def stage_steps(plan: StagePlan) -> dict[Stage, int]:
    """Steps planned per stage, in order; stages without work are left out, Evaluate never is."""
    planned = {
        Stage.LANES: plan.lane_steps,
        Stage.WARMUP: plan.warmup_steps,
        Stage.SUPERNET: plan.supernet_steps - plan.warmup_steps,
        Stage.RACE: plan.race_steps or plan.scoring_steps,
        Stage.EVALUATE: plan.evaluate_steps,
    }
    return {stage: steps for stage, steps in planned.items() if steps or stage is Stage.EVALUATE}

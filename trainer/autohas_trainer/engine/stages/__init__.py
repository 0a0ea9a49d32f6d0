"""The stages of a search in their order: Lanes, Warmup, Supernet, Race, Evaluate."""

from __future__ import annotations

from autohas_api.budget.stage_plan import StagePlan
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.search_state import Board
from autohas_trainer.engine.stages._base import SearchStage
from autohas_trainer.engine.stages.best_of import BestOfStage
from autohas_trainer.engine.stages.evaluate import EvaluateStage
from autohas_trainer.engine.stages.lanes import LanesStage
from autohas_trainer.engine.stages.race import RaceStage
from autohas_trainer.engine.stages.supernet import SupernetStage
from autohas_trainer.engine.stages.trials import TrialsStage

__all__ = ["EvaluateStage", "SearchStage", "build_stages"]


def build_stages(board: Board) -> tuple[SearchStage, ...]:
    """The stages that the plan gives work to; the last one is always Evaluate."""
    plan = board.problem.plan
    stages: list[SearchStage] = []
    if plan.num_lanes:
        stages.append(LanesStage(board))
    if plan.warmup_steps:
        stages.append(SupernetStage(board, Stage.WARMUP, plan.warmup_steps))
    if plan.supernet_steps:
        stages.append(SupernetStage(board, Stage.SUPERNET, plan.supernet_steps - plan.warmup_steps))
    stages.append(_race(board, plan))
    stages.append(EvaluateStage(board))
    return tuple(stages)


def _race(board: Board, plan: StagePlan) -> SearchStage:
    """What names the winner: the best of scored samples, of full trainings, or of a halving."""
    if plan.num_samples:
        return BestOfStage(board)
    if plan.num_trials:
        return TrialsStage(board)
    return RaceStage(board)

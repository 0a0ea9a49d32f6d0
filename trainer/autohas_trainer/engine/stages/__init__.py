"""The stages of a search in their order: Lanes, Warmup, Supernet, Race, Evaluate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from autohas_api.algorithms.algorithm_spec import Race
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

_RACES: Final[dict[Race, Callable[[Board], SearchStage]]] = {
    Race.HALVING: RaceStage,
    Race.SAMPLES: BestOfStage,
    Race.TRIALS: TrialsStage,
}


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
    stages.append(_RACES[board.problem.spec.algorithm.row.race](board))
    stages.append(EvaluateStage(board))
    return tuple(stages)

"""The stages of a search; `autohas_api.wire.messages.Stage` has their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from autohas_api.algorithms.algorithm_spec import Race
from autohas_api.wire.messages import Stage
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages._base import SearchStage
from autohas_trainer.engine.stages.best_of import BestOfStage
from autohas_trainer.engine.stages.derive import DeriveStage
from autohas_trainer.engine.stages.evaluate import EvaluateStage
from autohas_trainer.engine.stages.lanes import LanesStage
from autohas_trainer.engine.stages.leaders import LeadersStage
from autohas_trainer.engine.stages.model_lanes import ModelLanesStage
from autohas_trainer.engine.stages.model_race import ModelRaceStage
from autohas_trainer.engine.stages.multi_trial import MultiTrialStage
from autohas_trainer.engine.stages.one_factor import OneFactorStage
from autohas_trainer.engine.stages.race import RaceStage
from autohas_trainer.engine.stages.supernet import SupernetStage

__all__ = ["EvaluateStage", "SearchStage", "build_stages", "end_early"]

_LANES: Final[dict[Race, Callable[[SearchState], SearchStage]]] = {
    Race.HALVING: LanesStage,
    Race.LEADERS: OneFactorStage,
    Race.MODEL: ModelLanesStage,
}
_RACES: Final[dict[Race, Callable[[SearchState], SearchStage]]] = {
    Race.HALVING: RaceStage,
    Race.LEADERS: LeadersStage,
    Race.SAMPLES: BestOfStage,
    Race.BRACKETS: MultiTrialStage,
    Race.MODEL: ModelRaceStage,
}


def build_stages(state: SearchState) -> tuple[SearchStage, ...]:
    """The stages that the plan gives work to; the last one is always Evaluate."""
    plan, race = state.search_task.plan, state.search_task.spec.row.race
    stages: list[SearchStage] = []
    if plan.num_lanes:
        stages.append(_LANES[race](state))
    if plan.warmup_steps:
        stages.append(SupernetStage(state, Stage.WARMUP, plan.warmup_steps))
    if plan.supernet_steps:
        stages.append(SupernetStage(state, Stage.SUPERNET, plan.supernet_steps - plan.warmup_steps))
    if race in _RACES:
        stages.append(_RACES[race](state))
    stages.append(EvaluateStage(state) if race in _RACES else DeriveStage(state))
    return tuple(stages)


def end_early(stage: SearchStage) -> None:
    """Leave a stage that has work left: a supernet still reads the step that it has taken."""
    if isinstance(stage, SupernetStage):
        stage.settle()

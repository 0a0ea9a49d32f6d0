"""Hand-made records and clocks for the tests of reporting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autohas_api.accept.acceptance import accept
from autohas_api.base.digest import configuration_digest, result_digest
from autohas_api.budget.plan import plan_stages
from autohas_api.budget.stage_plan import stage_steps
from autohas_api.testing.rejections import a_search, changed
from autohas_api.wire.messages import CheckpointInfo, Result, Stage, StopReason
from autohas_trainer.events import CandidateRecord, Identity, Outcome, PolicyRecord, RunInfo, StepRecord
from autohas_trainer.provenance import Environment

DIGEST = "sha256:" + "0" * 64
ENVIRONMENT = Environment(autohas="0.1.0", python="3.11.7", torch="2.13.0", machine="x86_64", device="cpu", threads=1)


@dataclass
class FakeClock:
    """Time that passes only when told."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def run_info(workdir: Path, document: dict[str, Any] | None = None, **changes: Any) -> RunInfo:
    """A run at its beginning."""
    search, space = accept(document or a_search())
    plan = plan_stages(search.spec, space)
    info = RunInfo(
        search=search,
        space=space,
        plan=plan,
        identity=Identity(search_uid="uid", pod_uid="pod", attempt=2),
        workdir=workdir,
        step=0,
        stages=stage_steps(plan),
        starts=1,
        interruptions=0,
        active_seconds=0.0,
        history_bytes=0,
        threads=1,
        checkpoint=None,
        environment=ENVIRONMENT,
    )
    return replace(info, **changes)


def lane_step(step: int, *, loss: float | None = 2.25, cost: float | None = None) -> StepRecord:
    return StepRecord(
        stage=Stage.LANES,
        step=step,
        steps=200,
        cost=step / 27 if cost is None else cost,
        loss=loss,
        learning_rate=0.1,
        candidate="default",
    )


def supernet_step(step: int, reward: float | None = 0.5) -> StepRecord:
    return StepRecord(
        stage=Stage.SUPERNET,
        step=step,
        steps=200,
        cost=step / 27,
        loss=1.5,
        learning_rate=0.1,
        reward=reward,
        advantage=None if reward is None else 0.25,
        sample={"depth": "2", "width_1": "64"},
    )


def policy(step: int, probabilities: dict[str, Sequence[float]] | None = None) -> PolicyRecord:
    rows = probabilities or {"depth": (0.1, 0.7, 0.2), "activation": (0.5, 0.25, 0.25)}
    return PolicyRecord(
        step=step,
        cost=step / 27,
        probabilities={name: tuple(row) for name, row in rows.items()},
        entropy=dict.fromkeys(rows, 0.75),
        normalized_entropy=0.8,
        baseline=0.4,
    )


def candidate(name: str, fraction: float, score: float | None, **changes: Any) -> CandidateRecord:
    record = CandidateRecord(
        stage=Stage.RACE,
        name=name,
        values={"learning_rate": "0.3"},
        step=150,
        cost=3.0 + fraction,
        fraction=fraction,
        score=score,
        metric=score or 0.0,
        loss=0.5,
        kept=True,
    )
    return replace(record, **changes)


def checkpoint_info(step: int, time: float = 500.0) -> CheckpointInfo:
    return CheckpointInfo(step=step, time=time, digest=DIGEST)


def outcome(info: RunInfo, *, test: float = 0.9, default_test: float | None = 0.8, candidates: Sequence[CandidateRecord] = ()) -> Outcome:
    """An end with a configuration that differs from the default in every decision it can."""
    values = {d.name: next((c for c in d.choices if c != d.default), d.default) for d in info.space.decisions}
    configuration = info.space.configuration(values)
    mapping = info.space.as_mapping(configuration)
    digest = configuration_digest(mapping)
    result = Result(
        search_uid=info.identity.search_uid,
        pod_uid=info.identity.pod_uid,
        attempt=info.identity.attempt,
        choices=list(info.space.indices(configuration)),
        values=[v for d, v in mapping.items() if d in ("learning_rate", "weight_decay")],
        test_score=test,
        selection_score=0.91,
        default_test_score=default_test,
        default_selection_score=0.82,
        trainings=3.96,
        parameters=12345,
        stop_reason=StopReason.COMPLETED,
        configuration_digest=digest,
        model_digest=DIGEST,
        digest=result_digest(configuration=digest, test_score=test, model=DIGEST),
    )
    return Outcome(
        result=result,
        winner="argmax",
        configuration=mapping,
        recipe={"batchSize": 64, "optimizer": "sgd", "learningRate": mapping["learning_rate"], "steps": 27},
        default=info.space.as_mapping(info.space.default),
        candidates=tuple(candidates),
        test_scores=(test,),
        cost_by_stage={"Lanes": 1.5, "Race": 1.46, "Supernet": 0.8, "Warmup": 0.2},
        seconds_by_stage={"Lanes": 15.0, "Race": 14.0, "Supernet": 8.0, "Warmup": 2.0},
        preprocessing_digest=DIGEST,
    )


def without_architecture() -> dict[str, Any]:
    """A search of hyperparameters only."""
    return changed(a_search(), "spec.searchSpace.architecture")

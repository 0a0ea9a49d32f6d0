"""The files of a finished search: result.json (the complete outcome) and config.yaml (the winner, to train it again).

result.json is written last: its presence means that the search is finished.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic.alias_generators import to_camel, to_snake

from autohas_api.base.spec_errors import SpecError
from autohas_api.space.decisions import Space, resolve
from autohas_api.spec.search import Search, read
from autohas_api.wire.messages import Effect, Result, Stage, StopReason
from autohas_trainer.atomic_file import write_atomically
from autohas_trainer.config_yaml import config_text
from autohas_trainer.errors import DataError
from autohas_trainer.events import (
    DEFAULT,
    CandidateRecord,
    Event,
    LongerTraining,
    ModelBudget,
    Outcome,
    RunInfo,
    SearchFinished,
    SearchStarted,
    StageUse,
    rank_runners_up,
)
from autohas_trainer.provenance import DataIdentity, Environment
from autohas_trainer.reporting.sinks.rungs import correlate_rungs

__all__ = [
    "CONFIG_FILE",
    "COST_UNITS",
    "ENDINGS",
    "RESULT_FILE",
    "Environment",
    "FilesSink",
    "FinishedSearch",
    "OtherFormatError",
    "list_costs",
    "read_result",
]

RESULT_FILE: Final = "result.json"
CONFIG_FILE: Final = "config.yaml"
FORMAT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSearch:
    """A finished search, read back from its folder."""

    search: Search
    space: Space
    search_digest: str
    outcome: Outcome
    environment: Environment
    starts: int
    data: DataIdentity | None = None
    """The examples of the search; None in a result of an earlier version."""
    steps: int
    """Number of steps of one full training."""
    num_train: int = 0
    """Number of examples of the train split; 0 in a result of an earlier version."""

    @property
    def is_default_alone(self) -> bool:
        """Whether nothing but the default was compared, as where a search for a model begins no lane: then nothing has lost to it."""
        return {record.name for record in self.outcome.candidates} == {DEFAULT}


class FilesSink:
    """Writes both files when the search is finished."""

    def __init__(self, workdir: Path, *, search_digest: str) -> None:
        """Nothing is written before the end."""
        self._workdir = workdir
        self._search_digest = search_digest
        self._info: RunInfo | None = None

    def emit(self, event: Event) -> None:
        """Remember the run when it starts and write both files when it is finished; other events leave no file.

        Raises:
            OSError: the disk is full, read-only or gone; names the file.
        """
        if isinstance(event, SearchStarted):
            self._info = event.info
        elif isinstance(event, SearchFinished):
            self._write(event.outcome)

    def _write(self, outcome: Outcome) -> None:
        """Write config.yaml, then result.json.

        Raises:
            OSError: the disk is full, read-only or gone; names the file.
        """
        if self._info is None or self._info.environment is None:
            raise RuntimeError("the search finished before it started")
        data = self._info.data
        write_atomically(self._workdir / CONFIG_FILE, config_text(self._info.search, self._info.space, outcome, data).encode())
        record = {
            "format": FORMAT,
            "search": self._info.search.to_json(),
            "searchDigest": self._search_digest,
            "starts": self._info.starts,
            "training": {"steps": self._info.plan.training_steps, "examples": self._info.num_train},
            "environment": asdict(self._info.environment),
            **({"data": data.to_json()} if data is not None else {}),
            **_record(self._info.space, outcome),
        }
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(self._workdir / RESULT_FILE, text.encode() + b"\n")


COST_UNITS: Final = {"macs": "multiply-accumulates", "latencyMilliseconds": "ms per forward"}
"""Display units of objective.cost.metric, parameters aside."""
ENDINGS: Final = {
    StopReason.BUDGET: "the search ended early: budget.maxActiveSeconds was nearly used up",
    StopReason.PLATEAU: "the supernet ended early: its averaged reward no longer rose (budget.earlyStopping)",
    StopReason.CONVERGED: "the supernet ended early: its policy had converged (budget.earlyStopping)",
    StopReason.GOAL_REACHED: "the search ended early: objective.goal was reached",
}
"""Sentences on why a search ended before its plan did."""


class OtherFormatError(DataError):
    """The result is of another version of AutoHAS, and not damaged."""


def read_result(workdir: Path) -> FinishedSearch | None:
    """Read the finished search of a folder; None when there is no result.json.

    Raises:
        OtherFormatError: result.json is of another version of AutoHAS.
        DataError: result.json is damaged.
        OSError: the folder cannot be read.
    """
    path = workdir / RESULT_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    try:
        if record["format"] != FORMAT:
            raise OtherFormatError(
                f"{path} has format {record['format']}, AutoHAS {importlib.metadata.version('autohas')} reads format {FORMAT}:"
                " read it with the version that wrote it, or start again in a new folder"
            )
        search = read(record["search"])
        space = resolve(search.spec)
        return FinishedSearch(
            search=search,
            space=space,
            search_digest=str(record["searchDigest"]),
            outcome=_outcome(record, space),
            environment=Environment(**record["environment"]),
            starts=int(record["starts"]),
            data=DataIdentity.from_json(record["data"]) if "data" in record else None,
            steps=record["training"]["steps"] if "training" in record else search.spec.training.steps,
            num_train=record["training"]["examples"] if "training" in record else 0,
        )
    except (KeyError, TypeError, ValueError, SpecError) as error:
        raise DataError(f"{path} is no result of this version: {type(error).__name__}: {error}") from error


def list_costs(finished: FinishedSearch) -> list[str]:
    """List the costs of the winner in addition to its parameters, as text; empty unless objective.cost names one."""
    cost, amount = finished.search.spec.objective.cost, finished.outcome.result.cost
    if cost is None or amount is None or cost.metric not in COST_UNITS:
        return []
    return [f"{amount:,.0f} {COST_UNITS[cost.metric]}" if cost.metric == "macs" else f"{amount:.3g} {COST_UNITS[cost.metric]}"]


def _record(space: Space, outcome: Outcome) -> dict[str, Any]:
    """Return the outcome in reading order: winner, default and runners-up, cost, digests."""
    result = outcome.result
    return {
        "winner": _winner(space, outcome),
        "default": {
            "testScore": result.default_test_score,
            "selectionScore": result.default_selection_score,
            "configuration": dict(outcome.default),
        },
        "runnersUp": _runners_up(outcome),
        **({"rungCorrelations": correlations} if (correlations := _correlations(outcome)) else {}),
        **({"longer": _longer(outcome.longer)} if outcome.longer is not None else {}),
        **({"modelBudget": _model_budget(outcome.model_budget)} if outcome.model_budget is not None else {}),
        **({"effects": [effect.to_json() for effect in outcome.effects]} if outcome.effects else {}),
        "stopReason": result.stop_reason.value,
        "cost": {
            "trainings": result.trainings,
            "byStage": dict(outcome.cost_by_stage),
            "secondsByStage": {stage: round(seconds, 3) for stage, seconds in outcome.seconds_by_stage.items()},
            "usageByStage": {stage: _usage(use) for stage, use in outcome.use_by_stage.items()},
        },
        "digests": {
            "configuration": result.configuration_digest,
            "model": result.model_digest,
            "result": result.digest,
            **({"preprocessing": outcome.preprocessing_digest} if outcome.preprocessing_digest is not None else {}),
        },
        "candidates": [_candidate(record) for record in outcome.candidates],
        "message": result.to_json(),
    }


def _winner(space: Space, outcome: Outcome) -> dict[str, Any]:
    """Return the winner's scores, size and decisions."""
    result = outcome.result
    return {
        "name": outcome.winner,
        "testScore": result.test_score,
        "testScores": list(outcome.test_scores),
        "testMean": result.test_mean,
        "testStandardDeviation": result.test_standard_deviation,
        "selectionScore": result.selection_score,
        "parameters": result.parameters,
        **({"cost": result.cost} if result.cost is not None else {}),
        "configuration": dict(outcome.configuration),
        "inactive": [d.name for d in space.decisions if not space.is_active(d, outcome.configuration)],
        "recipe": dict(outcome.recipe),
    }


def _runners_up(outcome: Outcome) -> list[dict[str, Any]]:
    """List every candidate but the winner, the longest trained and best first, with its score at each share of a training."""
    return [
        {
            "name": last.name,
            "configuration": dict(last.values),
            "scores": [{"fraction": r.fraction, "score": r.score, "metric": r.metric} for r in outcome.candidates if r.name == last.name],
        }
        for last in rank_runners_up(outcome.candidates, outcome.winner)
    ]


def _correlations(outcome: Outcome) -> list[dict[str, Any]]:
    """Return how well each rung predicts a later one, among the candidates that reached both."""
    return [
        {"from": pair.early, "to": pair.late, "candidates": pair.num_candidates, "spearman": pair.spearman}
        for pair in correlate_rungs(outcome.candidates)
    ]


def _usage(use: StageUse) -> dict[str, Any]:
    """Return what a stage used; `flops` is null where it could not be counted."""
    return {
        "examples": use.num_examples,
        "flops": use.flops or None,
        "dataWaitSeconds": round(use.waited_s, 3),
        "peakMemoryBytes": dict(use.peak_memory),
    }


def _read_usage(record: Mapping[str, Any]) -> StageUse:
    waited_s, peaks = float(record["dataWaitSeconds"]), dict(record["peakMemoryBytes"])
    return StageUse(num_examples=int(record["examples"]), flops=float(record["flops"] or 0.0), waited_s=waited_s, peak_memory=peaks)


def _longer(longer: LongerTraining) -> dict[str, Any]:
    record = asdict(longer)
    return {**{name: value for name, value in record.items() if name != "is_clear"}, "isClear": longer.is_clear}


def _read_longer(record: Mapping[str, Any]) -> LongerTraining:
    return LongerTraining(**{name: value for name, value in record.items() if name != "isClear"}, is_clear=record["isClear"])


def _model_budget(split: ModelBudget) -> dict[str, Any]:
    """Return the split; what was not considered is left out."""
    return {to_camel(name): value for name, value in asdict(split).items() if value is not None}


def _read_model_budget(record: Mapping[str, Any]) -> ModelBudget:
    return ModelBudget(**{to_snake(name): value for name, value in record.items()})


def _candidate(record: CandidateRecord) -> dict[str, Any]:
    fields = {**asdict(record), "values": dict(record.values), "stage": record.stage.value}
    return fields if record.parent is not None else {name: value for name, value in fields.items() if name != "parent"}


def _outcome(record: Mapping[str, Any], space: Space) -> Outcome:
    names = {d.name for d in space.decisions}
    if set(record["winner"]["configuration"]) != names:
        raise ValueError("the winner's configuration does not fit the space")
    return Outcome(
        result=Result.model_validate(record["message"]),
        winner=record["winner"]["name"],
        configuration=record["winner"]["configuration"],
        recipe=record["winner"]["recipe"],
        default=record["default"]["configuration"],
        test_scores=tuple(record["winner"]["testScores"]),
        candidates=tuple(CandidateRecord(**{**c, "stage": Stage(c["stage"])}) for c in record["candidates"]),
        cost_by_stage=record["cost"]["byStage"],
        seconds_by_stage=record["cost"]["secondsByStage"],
        use_by_stage={stage: _read_usage(use) for stage, use in record["cost"].get("usageByStage", {}).items()},
        preprocessing_digest=record["digests"].get("preprocessing"),
        longer=_read_longer(record["longer"]) if "longer" in record else None,
        model_budget=_read_model_budget(record["modelBudget"]) if "modelBudget" in record else None,
        effects=tuple(Effect.model_validate(effect) for effect in record.get("effects", ())),
    )

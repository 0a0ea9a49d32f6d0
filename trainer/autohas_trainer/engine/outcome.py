"""From a finished search state to the outcome: model file, digests, message. Called once, at the end of `search.run`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path

from autohas_api.base.digest import configuration_digest, result_digest
from autohas_api.space.decisions import OFF_GRID, Role
from autohas_api.wire.messages import Result, RunnerUp, StopReason, order_effects
from autohas_api.wire.result import add_runners_up, index_effects, list_changes, name_decisions
from autohas_trainer.atomic_file import replace_file, write_atomically
from autohas_trainer.data.preprocessing import PREPROCESSING_FILE
from autohas_trainer.engine.checkpointing.tensor_file import write_tensors
from autohas_trainer.engine.search_state import DEFAULT, SearchState
from autohas_trainer.engine.stages import EvaluateStage
from autohas_trainer.engine.stages.model_budget import describe_model_budget
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.events import Identity, Outcome, rank_runners_up
from autohas_trainer.provenance import digest_bytes, digest_file
from autohas_trainer.templates import OwnNetworks

__all__ = ["MODEL_FILE", "build_outcome", "save_model", "save_preprocessing"]

MODEL_FILE = "model.safetensors"


def build_outcome(state: SearchState, evaluated: EvaluateStage, workdir: Path, identity: Identity, stop_reason: StopReason) -> Outcome:
    """Write the winner's model and state everything that was found."""
    if state.winner is None:
        raise RuntimeError("the search ended without a winner")
    search_task, configuration = state.search_task, state.configurations[state.winner]
    model_digest = save_model(state.trainings[state.winner], workdir / MODEL_FILE)
    preprocessing_digest = save_preprocessing(search_task, workdir)
    return Outcome(
        result=_result(state, state.winner, evaluated, model_digest=model_digest, identity=identity, stop_reason=stop_reason),
        winner=state.winner,
        configuration=search_task.space.as_mapping(configuration),
        recipe=state.trainings[state.winner].length.recipe.record(),
        default=search_task.space.as_mapping(search_task.space.default),
        candidates=tuple(state.records),
        test_scores=(evaluated.test_scores[state.winner], *evaluated.repeat_scores),
        cost_by_stage=state.ledger.cost_by_stage(),
        seconds_by_stage=state.ledger.seconds_by_stage(),
        use_by_stage=state.ledger.usage.by_stage(),
        preprocessing_digest=preprocessing_digest,
        effects=order_effects(state.effects),
        model_budget=describe_model_budget(state),
    )


def _result(  # noqa: PLR0913 - what a termination message consists of
    state: SearchState, winner: str, evaluated: EvaluateStage, *, model_digest: str, identity: Identity, stop_reason: StopReason
) -> Result:
    """The termination message about the winner."""
    test_scores = evaluated.test_scores
    repeated = (test_scores[winner], *evaluated.repeat_scores)
    search_task, configuration = state.search_task, state.configurations[winner]
    last = search_task.rungs.last
    compared = {name: by_rung[last].metric for name, by_rung in state.comparisons.items() if last in by_rung}
    selection = {name: metric for name, metric in compared.items() if metric is not None}
    digest = configuration_digest(search_task.space.as_mapping(configuration))
    choices = search_task.space.indices(configuration)
    decided = zip(search_task.space.decisions, choices, configuration.values, strict=True)
    message = Result(
        search_uid=identity.search_uid,
        pod_uid=identity.pod_uid,
        attempt=identity.attempt,
        choices=list(choices),
        values=[value if index == OFF_GRID else "" for decision, index, value in decided if decision.role is not Role.ARCHITECTURE],
        test_score=test_scores[winner],
        selection_score=selection[winner],
        default_test_score=test_scores.get(DEFAULT),
        default_selection_score=selection.get(DEFAULT),
        test_mean=statistics.fmean(repeated) if len(repeated) > 1 else None,
        test_standard_deviation=statistics.stdev(repeated) if len(repeated) > 1 else None,
        seeds=len(repeated),
        trainings=round(state.ledger.cost, 6),
        cost=search_task.costs.of(configuration) if search_task.spec.objective.cost is not None else None,
        parameters=search_task.num_parameters(configuration),
        stop_reason=stop_reason,
        active_seconds=round(state.ledger.active_seconds, 3),
        configuration_digest=digest,
        model_digest=model_digest,
        digest=result_digest(configuration=digest, test_score=test_scores[winner], model=model_digest),
        effects=index_effects(state.effects, search_task.space),
    )
    if search_task.has_read_decisions:
        message = name_decisions(message, configuration, state.effects, search_task.spec, search_task.space)
    return add_runners_up(message, _runners_up(state, winner))


def _runners_up(state: SearchState, winner: str) -> Iterator[RunnerUp]:
    """The next best candidates; what diverged, or has another name for the winner's configuration, is none."""
    search_task = state.search_task
    space, best = search_task.space, search_task.space.as_mapping(state.configurations[winner])
    for record in rank_runners_up(state.records, winner):
        if record.metric is None or record.score is None or dict(record.values) == best:
            continue
        configuration = space.configuration(record.values)
        yield RunnerUp(
            name=record.name[:128],
            fraction=round(record.fraction, 6),
            score=record.metric,
            parameters=None if isinstance(search_task.template, OwnNetworks) else search_task.num_parameters(configuration),
            cost=search_task.costs.of(configuration) if search_task.spec.objective.cost is not None else None,
            changes=list_changes(record.values, best, search_task.spec, space),
        )


def save_preprocessing(search_task: SearchTask, folder: Path) -> str:
    """Write preprocessing.json durably; returns `sha256:` and the digest of the file.

    Raises:
        OSError: the disk is full, read-only or gone; names the file.
    """
    text = json.dumps(search_task.splits.preprocessing, indent=1, ensure_ascii=False, allow_nan=False)
    content = text.encode("utf-8") + b"\n"
    write_atomically(folder / PREPROCESSING_FILE, content)
    return digest_bytes(content)


def save_model(training: Training, path: Path) -> str:
    """Write a model durably; returns `sha256:` and the digest of the file.

    Raises:
        OSError: the disk is full, read-only or gone; names `path`.
    """
    with replace_file(path) as temporary:
        write_tensors(training.model_tensors(), temporary)
        digest = digest_file(temporary)
        temporary.chmod(0o644)  # safetensors makes it private; every process that can read the claim may read the model
    return digest

"""The search: stages in their order, a checkpoint now and then, one outcome. Read this first.

Called by the command line and by the container's entry point. Knows no Kubernetes, no HTTP and no terminal: it emits events to a
`Sink`, a wish to stop is read from a `StopRequest`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from autohas_api.base.digest import sha256
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_api.wire.messages import CheckpointInfo, Stage
from autohas_api.wire.reasons import NoticeReason
from autohas_trainer.engine.accounting.costs import stopwatch
from autohas_trainer.engine.accounting.ledger import Ledger
from autohas_trainer.engine.budget_notices import predict_default, report_longer, report_unspent, warn_at_start
from autohas_trainer.engine.candidate_faults import device_faults, explain_default_failure, fault_key, leaving_out_at_next_start
from autohas_trainer.engine.checkpointing.checkpoint import Checkpoint, CheckpointStore
from autohas_trainer.engine.checkpointing.checkpointer import Checkpointer, Snapshot
from autohas_trainer.engine.checkpointing.history_size import history_bytes, history_loss
from autohas_trainer.engine.checkpointing.origin import Origin
from autohas_trainer.engine.checkpointing.space_file import keep_space
from autohas_trainer.engine.checkpointing.start_counter import CHECKPOINTS, count_start
from autohas_trainer.engine.early_stopping import EarlyStopping
from autohas_trainer.engine.memory_plan import refuse_without_room
from autohas_trainer.engine.outcome import build_outcome
from autohas_trainer.engine.search_state import SearchState
from autohas_trainer.engine.stages import EvaluateStage, SearchStage, build_stages, end_early
from autohas_trainer.engine.training.compute import apply_compute
from autohas_trainer.engine.training.own_training import BuildTraining, begin_training, try_own_training
from autohas_trainer.engine.training.search_task import SearchTask, reading_text
from autohas_trainer.errors import CandidateError, CheckpointError, DeviceError, Interrupted
from autohas_trainer.events import (
    Identity,
    Outcome,
    RunInfo,
    SearchFinished,
    SearchStarted,
    Sink,
    StopRequest,
    WorkStarted,
)
from autohas_trainer.seeding import make_deterministic

__all__ = ["Clocks", "Job", "choose", "run", "search_digest"]

_DIGESTED: Final = ("task", "objective", "searchSpace", "algorithm", "budget", "training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to run and where: at most `threads` CPU threads; a resumed search keeps the number it began with."""

    search: Search
    space: Space
    workdir: Path
    identity: Identity
    threads: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Time as the search sees it: monotonic seconds for durations, seconds since the epoch for dates."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


def search_digest(search: Search) -> str:
    """Digest of everything that a checkpoint depends on; trainer, storage and failure policy are not part of it.

    The folder of the data is not either: the same files may be mounted elsewhere. Nor is the number of processes that read them.
    """
    spec = search.spec.to_json()
    for name in ("path", "workers"):
        spec["task"]["data"].pop(name, None)
    return sha256({name: spec.get(name) for name in _DIGESTED})


def run(job: Job, sink: Sink, stop: StopRequest, clocks: Clocks | None = None) -> Outcome:
    """Run a search to its end, from its newest checkpoint when there is one.

    Raises:
        DataError, ConfigurationError, CheckpointError, NumericalError: see `autohas_trainer.errors`.
        Interrupted: `stop` was requested and a checkpoint is written, or the device failed and the next process leaves a candidate out.
        OSError: the working folder cannot be written.
    """
    state, stages, early_stopping = _run_stages(job, sink, stop, clocks or Clocks(), begin_training)
    last = stages[-1]
    assert isinstance(last, EvaluateStage)  # noqa: S101 - build_stages ends with it
    report_unspent(state, early_stopping.reason)
    outcome = replace(build_outcome(state, last, job.workdir, job.identity, early_stopping.settle()), longer=predict_default(state))
    sink.emit(SearchFinished(outcome=outcome))
    return outcome


def choose(job: Job, sink: Sink, stop: StopRequest, build_training: BuildTraining, clocks: Clocks | None = None) -> SearchState:
    """Run a search up to its winner, with trainings of `build_training`: no final training, no test, no outcome. For benchmarks.

    Raises:
        The same as `run`.
    """
    state, stages, _ = _run_stages(job, sink, stop, clocks or Clocks(), build_training, until=Stage.EVALUATE)
    stages[-1].begin()  # without a race it is the last stage that names the winner
    return state


def _run_stages(  # noqa: PLR0913 - what a search consists of
    job: Job, sink: Sink, stop: StopRequest, clocks: Clocks, build_training: BuildTraining, *, until: Stage | None = None
) -> tuple[SearchState, tuple[SearchStage, ...], EarlyStopping]:
    """Begin or continue a search and let its stages work, before stage `until` if it is given."""
    job.workdir.mkdir(parents=True, exist_ok=True)
    digest = search_digest(job.search)
    store = _store(job, clocks)
    damage: list[str] = []
    checkpoint = store.newest(damage.append)
    _refuse_silent_restart(job.workdir, checkpoint)
    starts = count_start(job.workdir)

    make_deterministic(job.threads)
    search_task = _load(job, sink)
    apply_compute(search_task.spec, search_task.device)
    space_digest = None
    if search_task.has_read_decisions:
        listed = job.search.replace(spec=job.search.spec.replace(search_space=search_task.spec.search_space))
        job, space_digest = replace(job, search=listed, space=search_task.space), keep_space(job.workdir, search_task.space)
    torch.set_num_threads(checkpoint.state["threads"] if checkpoint is not None else search_task.useful_threads(job.threads))
    origin = Origin.of(search_task, checkpoint, threads=torch.get_num_threads())
    state, stages = _assemble(search_task, sink, clocks)
    state.starts, state.build_training = starts, build_training
    place = (job.workdir, digest, fault_key(job.space.default))
    state.faults = device_faults(*place)
    early_stopping = EarlyStopping(state)
    with leaving_out_at_next_start(*place):
        position = _restore(state, stages, early_stopping, checkpoint)
    damage += history_loss(job.workdir, checkpoint)
    info = _run_info(job, state, early_stopping, checkpoint, origin)
    sink.emit(SearchStarted(info=replace(info, space_digest=space_digest)))
    _report_resume(state, checkpoint, damage, origin)
    running = _Running(state=state, stages=stages, early_stopping=early_stopping, origin=origin, sink=sink)
    period = job.search.spec.checkpoint.period_seconds
    checkpointer = Checkpointer(store, running.take, state.ledger, sink, state.notify, period_seconds=period, clock=clocks.monotonic)
    with closing(search_task.splits), checkpointer, leaving_out_at_next_start(*place):
        if checkpoint is None:
            _begin(running, checkpointer, clocks)
        _work_through(running, position, checkpointer, stop, until=until)
    return state, stages, early_stopping


def _load(job: Job, sink: Sink) -> SearchTask:
    """Read the data, which may take minutes: an event names the data before and after."""
    sink.emit(WorkStarted(description=reading_text(job.search.spec)))
    search_task = SearchTask.load(job.search.spec, job.space, torch.device(job.device))
    torch.set_default_dtype(torch.float32)  # custom code that was imported may have changed it
    sink.emit(WorkStarted(description=search_task.data_text))
    return search_task


def _begin(running: _Running, checkpointer: Checkpointer, clocks: Clocks) -> None:
    """Before step 0: say what became of the data and what the file warns of, learn the costs, write the first checkpoint."""
    state, stages = running.state, running.stages
    if notes := state.search_task.splits.notes:
        state.notify(NoticeReason.DATA_CONVERTED, "; ".join(notes))
    try_own_training(state.search_task)
    _learn_costs(state, clocks)
    refuse_without_room(state.search_task)
    warn_at_start(state)
    stages[0].begin()
    planned = {stage.name: stage.num_steps for stage in stages}
    if planned != state.ledger.stages:  # the first stage knows the prices of its candidates only now
        state.lay_out(stages[0].name, planned)
    checkpointer.save(0)


def _work_through(running: _Running, position: int, checkpointer: Checkpointer, stop: StopRequest, *, until: Stage | None) -> None:
    """Let one stage after another work, from the one at `position` on and before `until`; an early end may pass over some.

    Raises:
        Interrupted: `stop` was requested; a checkpoint is written.
    """
    index, stages, ledger = position, running.stages, running.state.ledger
    while True:
        _work(running, index, checkpointer, stop)
        if index + 1 == len(stages):
            break
        following = len(stages) - 1 if running.early_stopping.goes_to_evaluate else index + 1
        for ended in stages[index:following]:
            ledger.close(ended.name)
        index = following
        if stages[index].name is until:
            return
        stages[index].begin()
        running.state.lay_out(stages[index].name, {stage.name: stage.num_steps for stage in stages[index:]})
        checkpointer.try_to_save(index)
    ledger.close(stages[-1].name)


def _work(running: _Running, index: int, checkpointer: Checkpointer, stop: StopRequest) -> None:
    """Let a stage work to its end or to an early one, with a checkpoint now and then.

    Raises:
        Interrupted: `stop` was requested; a checkpoint is written.
    """
    stage, early_stopping = running.stages[index], running.early_stopping
    while not early_stopping.leaves(stage.name):
        has_more = stage.advance()
        early_stopping.look(stage.name)
        report_longer(running.state)
        if not has_more:
            return
        if stop.is_requested:
            saved, step = checkpointer.stop(index), running.state.ledger.step
            written = "a checkpoint is written" if saved == step else f"the checkpoint of step {saved} is written"
            raise Interrupted(f"stopped on request in stage {stage.name} at step {step}; {written}")
        checkpointer.look(index)
    end_early(stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """A search at work."""

    state: SearchState
    stages: tuple[SearchStage, ...]
    early_stopping: EarlyStopping
    origin: Origin
    sink: Sink

    def take(self, index: int) -> Snapshot:
        """What a checkpoint before the next step of stage `index` holds.

        Raises:
            OSError: the history cannot be made durable.
        """
        self.state.ledger.book_time(self.stages[index].name)
        self.state.ledger.usage.observe_memory(self.stages[index].name)
        state = {
            "threads": torch.get_num_threads(),
            "stage": index,
            "earlyStopping": self.early_stopping.state_dict(),
            "stages": [stage.state_dict() for stage in self.stages],
            "search": self.state.state_dict(),
            "historyBytes": self.sink.flush(),
        }
        return Snapshot(state=state, parts=self.state.parts(), origin=self.origin.begun.to_json())


def _store(job: Job, clocks: Clocks) -> CheckpointStore:
    return CheckpointStore(
        job.workdir / CHECKPOINTS,
        search_digest=search_digest(job.search),
        keep_last=job.search.spec.checkpoint.keep_last,
        clock=clocks.wall,
    )


def _refuse_silent_restart(workdir: Path, checkpoint: Checkpoint | None) -> None:
    """A history without a checkpoint means that checkpoints were lost.

    Raises:
        CheckpointError: the search ran here before and nothing to resume from is left.
    """
    if checkpoint is None and history_bytes(workdir) > 0:
        raise CheckpointError(f"{workdir} holds the history of a search but no checkpoint to resume from; remove the folder to start again")


def _assemble(search_task: SearchTask, sink: Sink, clocks: Clocks) -> tuple[SearchState, tuple[SearchStage, ...]]:
    ledger = Ledger(0, clocks.monotonic)
    state = SearchState(search_task, sink, ledger, clocks.wall)
    stages = build_stages(state)
    ledger.lay_out({stage.name: stage.num_steps for stage in stages})
    return state, stages


def _restore(state: SearchState, stages: tuple[SearchStage, ...], early_stopping: EarlyStopping, checkpoint: Checkpoint | None) -> int:
    """Load a checkpoint into state and stages; returns the index of the stage that continues."""
    if checkpoint is None:
        return 0
    saved: dict[str, Any] = checkpoint.state
    state.load(saved["search"], checkpoint.tensors)
    early_stopping.load_state_dict(saved["earlyStopping"])
    for stage, position in zip(stages, saved["stages"], strict=True):
        stage.load_state_dict(position)
    return int(saved["stage"])


def _run_info(job: Job, state: SearchState, early_stopping: EarlyStopping, checkpoint: Checkpoint | None, origin: Origin) -> RunInfo:
    info: CheckpointInfo | None = checkpoint.info if checkpoint is not None else None
    return RunInfo(
        search=job.search,
        space=job.space,
        plan=state.search_task.plan,
        identity=job.identity,
        workdir=job.workdir,
        step=state.ledger.step,
        stages=dict(state.ledger.stages),
        starts=state.starts,
        interruptions=state.starts - 1,
        active_seconds=state.ledger.active_seconds,
        history_bytes=int(checkpoint.state["historyBytes"]) if checkpoint is not None else 0,
        checkpoint=info,
        threads=torch.get_num_threads(),
        data=origin.begun.data,
        num_train=state.search_task.splits.num_train,
        environment=origin.environment,
        stop_reason=early_stopping.reason,
        notices=tuple(state.notices),
        effects=tuple(state.effects),
    )


def _learn_costs(state: SearchState, clocks: Clocks) -> None:
    """Before step 0: measure latency if the objective has it, and refuse a cost that no network of the space can have.

    Raises:
        ConfigurationError: objective.cost.target is out of reach, or the default's network cannot be run.
        DeviceError: the device failed.
    """
    if (search_task := state.search_task).spec.objective.cost is not None:
        state.sink.emit(WorkStarted(description=f"measuring {search_task.costs.metric} of networks on {search_task.device.type}"))
    if not search_task.costs.is_measured:
        try:
            measured = search_task.costs.measure(search_task.seed, stopwatch(search_task.costs.example, clocks.monotonic))
        except DeviceError:
            raise
        except CandidateError as error:
            raise explain_default_failure(error) from error
        state.notify(NoticeReason.LATENCY_MEASURED, measured)
    search_task.costs.check_target()


def _report_resume(state: SearchState, checkpoint: Checkpoint | None, damage: list[str], origin: Origin) -> None:
    """Say what was restored, and what could not be."""
    for sentence in damage:
        state.notify(NoticeReason.RESTORE_FAILED, sentence)
    if checkpoint is not None:
        state.notify(NoticeReason.CHECKPOINT_RESTORED, f"continued from step {checkpoint.info.step}")
    state.say_faults()
    messages = {notice.message for notice in state.notices}
    for sentence in origin.differences():
        if sentence not in messages:
            state.notify(NoticeReason.ENVIRONMENT_CHANGED, sentence)

"""Connects the engine to its sinks, for the pod and for the laptop. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_api.wire.messages import Result
from autohas_trainer.cli.devices import choose_device, gpu_memory
from autohas_trainer.cli.environment import ContainerEnvironment, available_threads
from autohas_trainer.engine.search import Job, run, search_digest
from autohas_trainer.errors import DataError
from autohas_trainer.events import Identity, Listener, Outcome, StopRequest
from autohas_trainer.folder_lock import WAIT_S, wait_for_folder
from autohas_trainer.reporting.http.server import TrainerServer
from autohas_trainer.reporting.sinks.fan_out import FanOutSink
from autohas_trainer.reporting.sinks.history import HistorySink
from autohas_trainer.reporting.sinks.live_state import LiveState
from autohas_trainer.reporting.sinks.log import LogSink
from autohas_trainer.reporting.sinks.profile_trace import ProfileSink
from autohas_trainer.reporting.sinks.result_files import FilesSink, FinishedSearch, read_result

__all__ = ["add_report", "build_pod_job", "find_finished", "repeat_result", "run_in_pod", "run_with", "serve_and_hold"]


def find_finished(search: Search, workdir: Path) -> FinishedSearch | None:
    """Return the result of this search if `workdir` holds it.

    Raises:
        DataError: result.json is there and cannot be read.
    """
    finished = read_result(workdir)
    return finished if finished is not None and finished.search_digest == search_digest(search) else None


def repeat_result(search: Search, workdir: Path, identity: Identity) -> Result | None:
    """Return the result that an earlier pod of the same search wrote, under the uid of this pod.

    A damaged result counts as none: the last checkpoint holds the end of the search, which is then written again.
    """
    try:
        finished = find_finished(search, workdir)
    except DataError as error:
        structlog.get_logger().warning("result not readable", error=str(error))
        return None
    if finished is None or finished.outcome.result.search_uid != identity.search_uid:
        return None
    return finished.outcome.result.replace(pod_uid=identity.pod_uid, attempt=identity.attempt)


def run_in_pod(job: Job, port: int, state: LiveState, stop: StopRequest) -> Result:
    """Run a job with its HTTP server and log; returns the termination message.

    Raises:
        FolderInUseError: a pod that should have ended works in the folder, and still did at the end of the wait.
        TrainerError, OSError: see `autohas_trainer.engine.search.run`.
    """
    log = structlog.get_logger()
    with serve_and_hold(job, port, state, stop):
        result = run_with(job, stop, state, LogSink(log)).result
        add_report(job.search, job.workdir)
        return result


@contextmanager
def serve_and_hold(job: Job, port: int, state: LiveState, stop: StopRequest) -> Iterator[None]:
    """Serve `state` over HTTP and hold the folder of the job during the block.

    Raises:
        FolderInUseError: a pod that should have ended works in the folder, and still did at the end of the wait.
        ConfigurationError: the port is not available.
        OSError: the folder cannot be made.
    """
    stall_timeout_s = float(job.search.spec.failure_policy.stall_timeout_seconds)
    with TrainerServer(state, port, stall_timeout_s=stall_timeout_s, gpu_memory=gpu_memory if job.device == "cuda" else None) as server:
        log = structlog.get_logger()
        log.info("server started", port=server.port, device=job.device, folder=str(job.workdir))
        job.workdir.mkdir(parents=True, exist_ok=True)
        wait_s = min(WAIT_S, stall_timeout_s / 2)  # the kubelet stops a trainer that has done nothing for stall_timeout_s
        with wait_for_folder(job.workdir, stop, lambda text: log.warning("folder in use", message=text), seconds=wait_s) as unlocked:
            if unlocked is not None:
                log.warning("folder not locked", message=unlocked)
            yield


def build_pod_job(search: Search, space: Space, environment: ContainerEnvironment, identity: Identity) -> Job:
    """Build the job of this container.

    Raises:
        ConfigurationError: a GPU is asked for and none is there.
    """
    return Job(
        search=search,
        space=space,
        workdir=environment.workdir,
        identity=identity,
        threads=available_threads(environment.cpu_limit),
        device=choose_device(search.spec, pod_device=environment.device),
    )


def add_report(search: Search, workdir: Path) -> None:
    """Write the report next to the result, which is valid without it: an error here is only logged."""
    from autohas_trainer.reporting.report.report import write_report  # noqa: PLC0415 - matplotlib is loaded when training is over

    finished = find_finished(search, workdir)
    if finished is None:
        return
    structlog.get_logger().info("work started", message="writing the report")
    try:
        write_report(workdir, finished)
    except Exception as error:  # noqa: BLE001 - see above
        structlog.get_logger().warning("report not written", error=f"{type(error).__name__}: {error}")


def run_with(job: Job, stop: StopRequest, *listeners: Listener) -> Outcome:
    """Run a job with its history and result files; `listeners` receive every event before result.json appears.

    Raises:
        TrainerError, OSError: see `autohas_trainer.engine.search.run`.
    """
    job.workdir.mkdir(parents=True, exist_ok=True)
    history = HistorySink(job.workdir)
    files = FilesSink(job.workdir, search_digest=search_digest(job.search))
    num_profiled = job.search.spec.monitoring.profile_steps
    profiles = [ProfileSink(job.workdir, num_profiled)] if num_profiled is not None else []
    try:
        return run(job, FanOutSink(history, *listeners, *profiles, files), stop)
    finally:
        for profile in profiles:
            profile.close()
        history.close()

"""The container's entry point: environment, search.json, engine. Every exit writes one line, the termination message."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from autohas_api.base import names
from autohas_api.base.exit_codes import ExitCode
from autohas_api.base.names import MAX_TERMINATION_MESSAGE_BYTES
from autohas_api.space.decisions import Space, resolve
from autohas_api.spec.search import Search, read
from autohas_api.wire.messages import Error, Interrupted, Message, Result, Stage, encode_termination_message
from autohas_trainer import errors
from autohas_trainer.atomic_file import name_os_errors
from autohas_trainer.cli.environment import ContainerEnvironment, let_threads_sleep
from autohas_trainer.cli.exits import UsageError, exit_of
from autohas_trainer.cli.judging import accept_unless_begun
from autohas_trainer.cli.signals import StopOnSignal
from autohas_trainer.comparison import RECORD_FILE
from autohas_trainer.events import Identity
from autohas_trainer.reporting.sinks.live_state import LiveState

__all__ = ["run_container"]

_MAX_TEXT: Final = 1024
_WRONG_PATH: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What every attempt to read a file would meet again."""


def run_container(variables: Mapping[str, str], stop: StopOnSignal) -> int:
    """Run the search that the environment names; returns the exit code. Never raises."""
    _configure_logs()
    log = structlog.get_logger()
    state = LiveState(time.monotonic)
    identity = _identity(variables)
    message: Message
    try:
        message, code = _search(ContainerEnvironment.read(variables), identity, state, stop), ExitCode.RESULT
    except errors.Interrupted as error:
        message, code = _interrupted_message(identity, state), ExitCode.INTERRUPTED
        log.info("trainer interrupted", message=str(error))
    except BaseException as error:  # noqa: BLE001 - every exit must write its termination message
        end = exit_of(error)
        message, code = _error_message(identity, end.code, end.sentence), end.code
        trace = {"exception": "".join(traceback.format_exception(error))} if end.is_bug else {}
        log.error("search failed", exit_code=int(end.code), error=end.sentence, **trace)  # noqa: TRY400 - a traceback only for bugs
    _write_termination_message(Path(variables.get(names.ENV_TERMINATION_LOG, names.TERMINATION_LOG)), message, log)
    return int(code)


def _search(environment: ContainerEnvironment, identity: Identity, state: LiveState, stop: StopOnSignal) -> Result:
    """Run the search, or repeat the result that an earlier pod wrote."""
    search, space = _read_search(environment)
    _refuse_home_folder(search)
    let_threads_sleep()
    structlog.get_logger().info("work started", message="loading PyTorch")
    from autohas_trainer.cli.assembly import build_pod_job, repeat_result, run_in_pod  # noqa: PLC0415 - loads torch, after the signals are taken over

    if search.spec.algorithm.compare is not None:
        from autohas_trainer.cli.pod_comparison import compare_in_pod  # noqa: PLC0415 - loads torch

        return compare_in_pod(build_pod_job(search, space, environment, identity), environment.port, state, stop)
    earlier_result = repeat_result(search, environment.workdir, identity)
    if earlier_result is not None:
        structlog.get_logger().info("result repeated", folder=str(environment.workdir), digest=earlier_result.digest)
        return earlier_result
    return run_in_pod(build_pod_job(search, space, environment, identity), environment.port, state, stop)


def _read_search(environment: ContainerEnvironment) -> tuple[Search, Space]:
    """Read the search of this container, and judge it unless it has begun.

    Raises:
        UsageError: the file is missing or holds no JSON object.
        OSError: the storage failed while it was read, which another attempt may not meet.
        SpecError: the schema or a rule is violated.
    """
    path = environment.search_file
    try:
        with name_os_errors(path):
            document = json.loads(path.read_bytes())
    except (*_WRONG_PATH, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} must hold one JSON object")
    if (environment.workdir / RECORD_FILE).exists():  # a comparison that has begun is not judged again
        search = read(document)
        return search, resolve(search.spec)
    return accept_unless_begun(document, environment.workdir)


def _refuse_home_folder(search: Search) -> None:
    """Refuse a data path in a home folder, which a pod's user does not have.

    Raises:
        ConfigurationError: task.data.path begins with ~.
    """
    path = search.spec.task.data.path
    if path is not None and path.startswith("~"):
        message = (
            f"spec.task.data.path {path!r} begins with ~, a home folder, which only a laptop has; in a cluster give the mountPath of"
            " a volume in spec.trainer.volumeMounts"
        )
        raise errors.ConfigurationError(message)


def _identity(variables: Mapping[str, str]) -> Identity:
    """Identify search, pod and attempt, even where the environment is wrong otherwise."""
    attempt = variables.get(names.ENV_ATTEMPT, "")
    return Identity(
        search_uid=variables.get(names.ENV_SEARCH_UID, "")[:128],
        pod_uid=variables.get(names.ENV_POD_UID, "")[:128],
        attempt=int(attempt) if attempt.isascii() and attempt.isdigit() and len(attempt) <= 10 else 0,  # noqa: PLR2004 - as the reader allows
    )


def _interrupted_message(identity: Identity, state: LiveState) -> Interrupted:
    snapshot = state.snapshot()
    info = snapshot.total_checkpoint
    return Interrupted(
        search_uid=identity.search_uid,
        pod_uid=identity.pod_uid,
        attempt=identity.attempt,
        step=info.step if info is not None else snapshot.total_position,  # of the checkpoint, which is what a resume begins from
        stage=Stage(snapshot.stage),
        checkpoint_digest=info.digest if info is not None else None,
        starts=snapshot.starts,
    )


def _error_message(identity: Identity, code: ExitCode, sentence: str) -> Error:
    """Build an error whose encoded line fits: characters are cut until it does, since their width in bytes varies."""
    text = sentence if len(sentence) <= _MAX_TEXT else sentence[: _MAX_TEXT - 1] + "…"
    while True:
        message = Error(
            search_uid=identity.search_uid, pod_uid=identity.pod_uid, attempt=identity.attempt, exit_code=int(code), message=text
        )
        try:
            encode_termination_message(message)
        except ValueError:
            text = text[: len(text) * 3 // 4] + "…"
            continue
        return message


def _write_termination_message(path: Path, message: Message, log: Any) -> None:  # noqa: ANN401 - structlog's lazy proxy
    """Write the message in one write(): the file is a bind mount, so a rename cannot replace it."""
    line = encode_termination_message(message)
    if len(line) + 1 <= MAX_TERMINATION_MESSAGE_BYTES:
        line += b"\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError as error:
        log.warning("termination log not written", path=str(path), error=str(error), termination_message=line.decode())


def _configure_logs() -> None:
    """Write logs as JSON lines on stderr."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )

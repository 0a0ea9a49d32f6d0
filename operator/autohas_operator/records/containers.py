"""Containers of a pod, read from its document: the trainer and the others. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from autohas_api.base.names import TRAINER_CONTAINER, TRAINER_PORT, TRAINER_PORT_NAME
from autohas_operator.lenient import get_int, get_object, get_objects, get_text
from autohas_operator.wording import epoch

_Document: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How the trainer container ended."""

    exit_code: int
    reason: str
    message: str
    finished_s: float | None


def trainer_in(document: _Document, name: str) -> _Document:
    """The trainer's entry in a list of containers or of container statuses."""
    return next((c for c in get_objects(document, name) if c.get("name") == TRAINER_CONTAINER), {})


def metrics_port(spec: _Document) -> int:
    """The port of /progress, as the operator wrote it into the pod template."""
    ports = get_objects(trainer_in(spec, "containers"), "ports")
    return next((get_int(port, "containerPort", TRAINER_PORT) for port in ports if port.get("name") == TRAINER_PORT_NAME), TRAINER_PORT)


def read_waiting(state: _Document) -> tuple[str, str] | None:
    """Reason and message of a waiting container; None for any other."""
    waiting = get_object(state, "waiting")
    return (get_text(waiting, "reason"), get_text(waiting, "message")) if "waiting" in state else None


def list_living(status: _Document) -> tuple[str, ...]:
    """Names of running containers other than the trainer, without native sidecars, which are init containers and end with the pod."""
    statuses = get_objects(status, "containerStatuses")
    return tuple(get_text(c, "name") for c in statuses if c.get("name") != TRAINER_CONTAINER and "running" in get_object(c, "state"))


def end_of(state: _Document) -> End | None:
    """How a container ended; None while it runs or waits."""
    if "terminated" not in state:
        return None
    terminated = get_object(state, "terminated")
    return End(
        exit_code=get_int(terminated, "exitCode", -1),
        reason=get_text(terminated, "reason"),
        message=get_text(terminated, "message"),
        finished_s=epoch(terminated.get("finishedAt")),
    )

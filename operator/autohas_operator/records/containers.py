"""What a pod's document says of its containers, the trainer's and the others'. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from autohas_api.base.names import TRAINER_CONTAINER, TRAINER_PORT, TRAINER_PORT_NAME
from autohas_operator.lenient import number, part, parts, text
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
    """What a list of containers, or of their statuses, says of the trainer."""
    return next((c for c in parts(document, name) if c.get("name") == TRAINER_CONTAINER), {})


def metrics_port(spec: _Document) -> int:
    """Where the trainer says its progress: the port that the operator wrote into the pod's template."""
    ports = parts(trainer_in(spec, "containers"), "ports")
    return next((number(port, "containerPort", TRAINER_PORT) for port in ports if port.get("name") == TRAINER_PORT_NAME), TRAINER_PORT)


def waiting_of(state: _Document) -> tuple[str, str] | None:
    """Reason and message of a container that cannot start; None for any other."""
    waiting = part(state, "waiting")
    return (text(waiting, "reason"), text(waiting, "message")) if "waiting" in state else None


def living_in(status: _Document) -> tuple[str, ...]:
    """Containers that run next to the trainer. Native sidecars are none: they are init containers, which the kubelet stops."""
    statuses = parts(status, "containerStatuses")
    return tuple(text(c, "name") for c in statuses if c.get("name") != TRAINER_CONTAINER and "running" in part(c, "state"))


def end_of(state: _Document) -> End | None:
    """How a container ended; None while it has not."""
    if "terminated" not in state:
        return None
    terminated = part(state, "terminated")
    return End(
        exit_code=number(terminated, "exitCode", -1),
        reason=text(terminated, "reason"),
        message=text(terminated, "message"),
        finished_s=epoch(terminated.get("finishedAt")),
    )

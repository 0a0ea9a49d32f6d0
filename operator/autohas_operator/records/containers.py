"""Containers of a pod, read from its document: the trainer, the init containers and the others. Pure."""

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
    """How a container ended."""

    exit_code: int
    reason: str
    message: str
    finished_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InitContainer:
    """The init container that a pod has come to: it waits, runs, or has failed.

    `waiting` is (reason, message) while it waits, `started_s` when it began to run, `end` how it ended, or how it ended before it was
    restarted `num_restarts` times.
    """

    name: str
    image: str
    waiting: tuple[str, str] | None
    started_s: float | None
    end: End | None
    num_restarts: int

    @property
    def has_failed(self) -> bool:
        """Whether it has ended, and the trainer therefore never starts: one that succeeded is not the current one."""
        return self.end is not None and self.waiting is None and self.started_s is None


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


def current_init_container(spec: _Document, status: _Document) -> InitContainer | None:
    """The first init container that has not succeeded; None once the trainer has run, and before the kubelet has seen the pod.

    A native sidecar (`restartPolicy: Always`) has done its part when it has started; until then the kubelet restarts it. It may end
    after the trainer.
    """
    if get_object(trainer_in(status, "containerStatuses"), "state").keys() & {"running", "terminated"}:
        return None
    statuses = {get_text(entry, "name"): entry for entry in get_objects(status, "initContainerStatuses")}
    for container in get_objects(spec, "initContainers") if statuses else []:
        entry = statuses.get(get_text(container, "name"), {})
        state = get_object(entry, "state")
        end = end_of(state)
        is_sidecar = get_text(container, "restartPolicy") == "Always"
        if (end is not None and end.exit_code == 0 and not is_sidecar) or (is_sidecar and entry.get("started") is True):
            continue
        is_running = "running" in state
        return InitContainer(
            name=get_text(container, "name"),
            image=get_text(container, "image"),
            waiting=None if is_running or (end is not None and not is_sidecar) else read_waiting(state) or ("", ""),
            started_s=epoch(get_object(state, "running").get("startedAt")) or 0.0 if is_running else None,
            end=end or end_of(get_object(entry, "lastState")),
            num_restarts=get_int(entry, "restartCount", 0),
        )
    return None


def init_ended_s(status: _Document) -> float | None:
    """When the last init container so far ended, in seconds since the epoch; None if none has ended."""
    ends = (end_of(get_object(entry, "state")) for entry in get_objects(status, "initContainerStatuses"))
    return max((end.finished_s for end in ends if end is not None and end.finished_s is not None), default=None)

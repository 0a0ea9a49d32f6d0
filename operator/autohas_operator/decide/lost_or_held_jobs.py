"""Jobs that cannot continue although their search can: a sidecar keeps their pod, or they failed because of lost pods. Pure.

Used by `job_rules`, which deletes such a Job and creates the next attempt.
"""

from __future__ import annotations

from dataclasses import dataclass

from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import Phase, Status
from autohas_operator.decide import intervals, trainer_exits
from autohas_operator.decide.conditions import continuation
from autohas_operator.decide.readiness import Readiness, not_ready
from autohas_operator.decide.termination_message import describe_end
from autohas_operator.hints import add_hint
from autohas_operator.records.observed import JobRecord, PodRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Why a Job is replaced, and the seconds until then."""

    readiness: Readiness
    rest_s: float


def find_replacement(job: JobRecord, pods: tuple[PodRecord, ...], previous: Status, now_s: float) -> Replacement | None:
    """Whether and when a Job is replaced; not while a trainer that exited with 0 has a result to read."""
    newest = pods[-1] if pods else None
    if newest is not None and newest.is_outlived and trainer_exits.successful_pod(pods) is None:
        sidecars = f"{describe_sidecars(newest)} ({describe_end(newest)})"
        message = f"{sidecars}; Job {job.name} is deleted, and the next attempt {continuation(previous)}"
        readiness = not_ready(Phase.INTERRUPTED, Reason.SIDECAR_RUNNING, add_hint(Reason.SIDECAR_RUNNING, message))
        return Replacement(readiness=readiness, rest_s=intervals.SIDECAR_S - (intervals.outlived_s(newest, now_s) or 0.0))
    if trainer_exits.is_failed_by_lost_pods(job, pods):
        message = f"Job {job.name} gave up because it counts lost pods as failures; the next attempt {continuation(previous)}"
        pod = f"pod {newest.name}: {describe_end(newest)}; " if newest is not None else ""  # no pod: its node was deleted
        readiness = not_ready(Phase.INTERRUPTED, Reason.POD_LOST, f"{pod}{message}")
        return Replacement(readiness=readiness, rest_s=0.0)
    return None


def is_held(pod: PodRecord, now_s: float) -> bool:
    """Whether the other containers have used up their time to end after the trainer."""
    held_s = intervals.outlived_s(pod, now_s)
    return held_s is not None and held_s >= intervals.SIDECAR_S


def describe_sidecars(pod: PodRecord) -> str:
    """The containers that keep a pod from ending, as a clause."""
    containers = " and ".join(pod.living)
    return f"container {containers} of pod {pod.name} still runs after the trainer has ended"

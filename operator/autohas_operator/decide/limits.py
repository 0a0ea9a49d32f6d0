"""Limits of the spec that the operator enforces: deadlines and counts. Pure.

A Job that still exists is deleted after the end is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autohas_api.accept.comparison import count_runs
from autohas_api.base.structural_schema import MAX_COUNT
from autohas_api.spec.search import Search, Spec
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Status
from autohas_operator.decide import intervals, trainer_exits
from autohas_operator.decide.conditions import is_durable, last_flip_s, verdict_of
from autohas_operator.decide.trainer_exits import Ending
from autohas_operator.records.observed import JobRecord, Observed, PodRecord
from autohas_operator.wording import duration


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """One Job at one time; `waits_for` is reason and message of TrainerReady."""

    search: Search
    job: JobRecord
    observed: Observed
    previous: Status
    waits_for: str
    now_s: float

    @property
    def spec(self) -> Spec:
        """The spec of the search."""
        return self.search.spec


def find_broken_limit(context: JobContext) -> Ending | None:
    """How the search ends if a limit is exceeded now."""
    limits: tuple[Callable[[JobContext], Ending | None], ...] = (_check_start_deadline, _check_interruptions, _check_active_time)
    return next((ending for limit in limits if (ending := limit(context)) is not None), None)


def next_limit_s(context: JobContext) -> float | None:
    """Seconds until a deadline passes; None without one."""
    deadline_s = context.spec.budget.start_deadline_seconds
    if deadline_s is None or _has_started(context):
        return None
    return max(0.0, context.job.created_s + deadline_s - context.now_s)


COULD_START: Final = {ConditionType.ACCEPTED: "True", ConditionType.SUSPENDED: "False", ConditionType.RECONCILIATION_PAUSED: "False"}
"""Conditions under which the first Job can be created: the start deadline does not count the time outside of them."""


def start_due_s(spec: Spec, previous: Status) -> float | None:
    """Deadline for the first Job, in seconds since the epoch, counted from when it could be created; None without one."""
    needed = [c for c in previous.conditions if c.type in COULD_START]
    if len(needed) < len(COULD_START) or any(c.status != COULD_START[ConditionType(c.type)] for c in needed):
        return None
    since_s, deadline_s = last_flip_s(previous, *COULD_START), spec.budget.start_deadline_seconds
    return None if since_s is None or deadline_s is None or previous.attempt is not None else since_s + deadline_s


def end_without_job(spec: Spec, previous: Status, waits_for: str, now_s: float) -> Ending | None:
    """How a search ends whose first Job could not be created before the start deadline."""
    due_s, deadline_s = start_due_s(spec, previous), spec.budget.start_deadline_seconds
    return None if due_s is None or deadline_s is None or now_s < due_s else _end_not_started(deadline_s, waits_for)


def _end_not_started(deadline_s: int, waits_for: str) -> Ending:
    message = f"no trainer started within {deadline_s} s (budget.startDeadlineSeconds); it waited for: {waits_for}"
    return Ending(reason=Reason.START_DEADLINE_EXCEEDED, message=message)


def _has_started(context: JobContext) -> bool:
    """Whether a trainer of the search has run, even if it cannot be reached: a NetworkPolicy must not fail a search.

    Failures of pods that are gone count as starts.
    """
    pods = context.observed.pods_of(context.job)
    has_failed = context.job.num_failed > _num_unstarted(pods)
    return context.previous.last_report_time is not None or has_failed or any(pod.is_running or pod.end for pod in pods)


def _num_unstarted(pods: tuple[PodRecord, ...]) -> int:
    """Number of pods that failed without their trainer: the kubelet refused them, or an init container failed."""
    return sum(trainer_exits.is_failure(pod) and pod.end is None for pod in pods)


def _check_start_deadline(context: JobContext) -> Ending | None:
    if next_limit_s(context) != 0.0:
        return None
    return _end_not_started(context.spec.budget.start_deadline_seconds or 0, context.waits_for)


def _check_interruptions(context: JobContext) -> Ending | None:
    limit = context.spec.failure_policy.max_interruptions
    interruptions = num_interruptions(context.job, context.observed, context.previous, is_suspended=context.spec.suspend)
    if limit is None or interruptions <= limit:
        return None
    message = f"the search was interrupted {interruptions} times, more than failurePolicy.maxInterruptions allows ({limit})"
    message += "; its checkpoints are kept" if is_durable(context.previous) else ""
    return Ending(reason=Reason.INTERRUPTION_LIMIT, message=message)


def _check_active_time(context: JobContext) -> Ending | None:
    """A backstop: the trainer itself keeps the time and ends with a result."""
    limit_s, report = context.spec.budget.max_active_seconds, context.observed.report
    running = [pod for pod in context.observed.pods_of(context.job) if pod.is_running and pod.end is None]
    if limit_s is None or report is None or report.progress is None or not running or report.pod_uid != running[-1].uid:
        return None
    active_s = report.progress.active_seconds + max(0.0, context.now_s - report.time_s)
    runs = count_runs(context.search)  # each run of algorithm.compare may take as long
    if active_s <= intervals.OVERTIME * limit_s * runs:
        return None
    limit = f"budget.maxActiveSeconds ({f'{runs} runs of ' if runs > 1 else ''}{limit_s} s)"
    message = f"the trainer has worked {duration(active_s)}, longer than {limit}, and did not end by itself"
    return Ending(reason=Reason.DEADLINE_EXCEEDED, message=message)


def _was_suspended(previous: Status) -> bool:
    """Whether the deleted Job was stopped by a suspension, even one that was taken back since."""
    verdict = verdict_of(previous, ConditionType.SUSPENDED)
    return verdict is not None and verdict.reason in (Reason.SUSPENDING, Reason.SUSPEND_REQUESTED, Reason.RESUMED)


def num_interruptions(job: JobRecord, observed: Observed, previous: Status, *, is_suspended: bool = False) -> int:
    """Number of trainers that were stopped from outside, over all Jobs: ended starts minus failures and successes.

    Evicted pods may be gone, so the number of starts (counted by the trainers on their claim, else by their reports) is more reliable
    than the pods. A trainer that ends because its search is suspended was not interrupted, whenever the operator sees its end.
    """
    earlier = max(previous.interruptions or 0, job.interruptions_before)
    if job.is_deleting and (is_suspended or _was_suspended(previous)):
        return earlier
    pods, report = observed.pods_of(job), observed.report
    reported = report.progress.starts if report is not None and report.progress is not None else 0
    starts = max(previous.starts or 0, reported) - job.starts_before
    num_alive = 1 if any(not pod.is_over and pod.end is None for pod in pods) else 0
    num_noted = (previous.failures or 0) - job.failures_before  # of pods that were deleted before their Job could count them
    num_failed = max(num_noted, trainer_exits.num_failures(job, pods) - _num_unstarted(pods))
    num_succeeded = 1 if trainer_exits.successful_pod(pods) is not None else 0
    num_seen = sum(trainer_exits.is_interruption(pod) and pod.end is not None for pod in pods)
    counted = max(num_seen, starts - num_alive - num_failed - num_succeeded)
    return min(max(earlier, job.interruptions_before + counted), MAX_COUNT)

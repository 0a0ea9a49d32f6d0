"""The rules for one accepted search, in order: each one decides, or leaves the decision to the next. Pure.

Read `apply_rules` from top to bottom. Called by `plan` only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide import intervals, trainer_exits
from autohas_operator.decide.actions import CreateAttempt, DeleteJob, TouchJob
from autohas_operator.decide.admission import has_been_admitted, image_for, is_relabelled
from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.decide.conditions import last_flip_s, verdict_of
from autohas_operator.decide.limits import COULD_START, JobContext, end_without_job, find_broken_limit, next_limit_s, start_due_s
from autohas_operator.decide.lost_or_held_jobs import describe_sidecars, find_replacement, is_held
from autohas_operator.decide.readiness import (
    Readiness,
    judge_end_by_ignored_pods,
    judge_readiness,
    judge_stopping,
    judge_unpullable,
    not_ready,
)
from autohas_operator.decide.trainer_exits import Ending
from autohas_operator.errors import Blocker
from autohas_operator.hints import add_hint
from autohas_operator.manifests.job import Attempt, build_config_map, build_job
from autohas_operator.records.observed import JobRecord, Observed, PodRecord, child_name
from autohas_operator.settings import PodSettings
from autohas_operator.wording import epoch

_MOST_LOST_ATTEMPTS: Final = 100
"""Upper bound of attempts that were created without their number reaching the status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The input of the rules: the search and its space, the observed objects, the previous status, the settings and the time."""

    search: Search
    space: Space
    observed: Observed
    previous: Status
    pods: PodSettings
    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a rule decides.

    `attempt` and `image` are set if a Job exists or is created. `reason` is that of the condition Succeeded while the search has not
    ended; None stands for the phase. `failures`: the failures that the next Job starts with, if they change.
    """

    readiness: Readiness
    action: CreateAttempt | DeleteJob | TouchJob | CleanUp | None = None
    ending: Ending | None = None
    attempt: int | None = None
    image: str | None = None
    reason: Reason | None = None
    failures: int | None = None


def apply_rules(context: Context) -> Outcome:
    """The outcome of the first rule that applies."""
    job = context.observed.job
    if job is None:
        return _rest(context) or _start_attempt(context)
    rules = (
        _replace_outdated,
        _end,
        _await_deletion,
        _replace_after_ignored_pods,
        _recover_result,
        _suspend,
        _enforce_limits,
        _requeue,
        _replace,
        _recreate,
        _replace_unpullable,
    )
    for rule in rules:
        outcome = rule(context, job)
        if outcome is not None:
            return outcome
    going_on = _await_completion(context, job) or judge_readiness(job, context.observed, context.previous, context.now_s)
    limit_s = next_limit_s(_job_context(context, job, going_on))
    touch_s = intervals.next_touch_s(job, context.observed.pods_of(job), epoch(context.previous.last_report_time))
    action = TouchJob(name=job.name, uid=job.uid) if touch_s is not None and touch_s <= context.now_s else None
    rest_s = None if touch_s is None else max(intervals.TERMINATION_REQUEUE_S, touch_s - context.now_s)
    requeue_after_s = min((s for s in (going_on.requeue_after_s, limit_s, rest_s) if s is not None), default=None)
    going_on = replace(going_on, requeue_after_s=requeue_after_s)
    return _keep_job(context, job, going_on, action=action)


def block(context: Context, outcome: Outcome, blocker: Blocker) -> Outcome:
    """The API server refused the action: show why, note nothing as done, and retry at growing intervals."""
    attempted = outcome.action if isinstance(outcome.action, CreateAttempt) else None
    phase = outcome.readiness.phase
    if attempted is not None:
        late = end_without_job(context.search.spec, context.previous, f"{blocker.reason}: {blocker.message}", context.now_s)
        if late is not None:
            left = CleanUp(config_maps=(attempted.config_map["metadata"]["name"],), jobs=())
            return Outcome(readiness=not_ready(Phase.FAILED, Reason.FINISHED, "no Job was created"), action=left, ending=late)
        phase = Phase.INTERRUPTED if context.previous.attempt else Phase.PENDING
    since_s = last_flip_s(context.previous, ConditionType.TRAINER_READY, *COULD_START)
    requeue_after_s, due_s = intervals.retry_s(since_s, context.now_s), start_due_s(context.search.spec, context.previous)
    if due_s is not None:
        requeue_after_s = min(requeue_after_s, max(0.0, due_s - context.now_s))
    shown = not_ready(phase, blocker.reason, blocker.message, requeue_after_s)
    attempt, image = (None, None) if attempted is not None else (outcome.attempt, outcome.image)
    reason = _succeeded_reason(context, None) if attempted is not None else outcome.reason
    return Outcome(readiness=shown, attempt=attempt, image=image, reason=reason)


def _rest(context: Context) -> Outcome | None:
    """A suspended search without a Job; it counts as Suspended once no pod is left."""
    if not context.search.spec.suspend:
        return None
    resting = not_ready(Phase.SUSPENDED, Reason.SUSPENDED, "no pod runs while the search is suspended")
    return Outcome(readiness=_await_remaining_pod(context, Phase.SUSPENDING) or resting, reason=_succeeded_reason(context, None))


def _await_remaining_pod(context: Context, phase: Phase) -> Readiness | None:
    """Wait for a pod whose Job is gone: it could still write to the checkpoint."""
    left = [pod for pod in context.observed.pods if pod.search_uid == context.observed.search.uid and not pod.is_over]
    if not left:
        return None
    stuck = judge_stopping(left[-1], phase, context.now_s) if left[-1].deletion_s is not None else None
    if stuck is not None and stuck.verdict.reason == Reason.NODE_UNREACHABLE:
        return stuck
    message = f"pod {left[-1].name} of an earlier attempt still runs, although its Job is gone; the operator waits until it has ended"
    return not_ready(phase, Reason.WAITING_FOR_POD_TERMINATION, message, intervals.TERMINATION_REQUEUE_S)


def _choose_number(context: Context) -> int:
    """The next attempt number: higher than every known attempt, and without a name conflict.

    Any user may write labels of pods, so a label with a far higher number is ignored.
    """
    newest = context.previous.attempt or 0
    labelled = (pod.attempt for pod in context.observed.pods if pod.search_uid == context.observed.search.uid)
    first = max([newest, *(number for number in labelled if number <= newest + _MOST_LOST_ATTEMPTS)]) + 1
    return next(number for number in count(first) if number not in context.observed.taken)


def _start_attempt(context: Context) -> Outcome:
    """Create the next Job, once no pod of the search is left that could still write to its checkpoint."""
    record, previous = context.observed.search, context.previous
    waiting = _await_remaining_pod(context, Phase.INTERRUPTED)
    if waiting is not None:
        return Outcome(readiness=waiting, reason=_succeeded_reason(context, None))
    number = _choose_number(context)
    image = image_for(context.search, previous, context.pods)
    name = child_name(record, number)
    attempt = Attempt(
        number=number,
        image=image,
        starts_before=previous.starts or 0,
        step_before=previous.checkpoint.step if previous.checkpoint is not None else 0,
        interruptions_before=previous.interruptions or 0,
        failures_before=previous.failures or 0,
    )
    return Outcome(
        readiness=not_ready(
            Phase.STARTING, Reason.WAITING_FOR_POD, f"Job {name} is created, and its pod is not there yet", intervals.PODS_EXPECTED_S
        ),
        action=CreateAttempt(
            number=number,
            config_map=build_config_map(record, number),
            job=build_job(record, context.search, attempt, context.pods),
        ),
        attempt=number,
        image=image,
        reason=Reason.RECOVERING_RESULT if _succeeded_reason(context, None) is not None else None,
    )


def _replace_outdated(context: Context, job: JobRecord) -> Outcome | None:
    """Replace a Job whose spec was edited before its attempt was noted in status; later edits are refused by the API server."""
    is_noted = job.attempt <= (context.previous.attempt or 0)
    if is_noted or job.spec_hash == context.observed.search.spec_hash:
        return None
    waiting = not_ready(
        Phase.STARTING, Reason.SPEC_CHANGED, f"Job {job.name} runs an older spec and is replaced", intervals.TERMINATION_REQUEUE_S
    )
    return Outcome(readiness=waiting, action=None if job.is_deleting else DeleteJob(name=job.name, uid=job.uid))


def _await_deletion(context: Context, job: JobRecord) -> Outcome | None:
    """Wait for a Job that is being deleted, by a user or by one of these rules."""
    if not job.is_deleting:
        return None
    is_suspended = context.search.spec.suspend
    phase = Phase.SUSPENDING if is_suspended else Phase.INTERRUPTED
    follows = "" if is_suspended else "; the next attempt follows"
    waiting = not_ready(phase, Reason.JOB_DELETED, f"Job {job.name} is being deleted{follows}", intervals.TERMINATION_REQUEUE_S)
    lost = next(
        (judge_stopping(pod, phase, context.now_s) for pod in context.observed.pods_of(job) if pod.deletion_s and not pod.is_over), None
    )
    if lost is not None and lost.verdict.reason == Reason.NODE_UNREACHABLE:
        waiting = lost
    return _keep_job(context, job, waiting)


def _end(context: Context, job: JobRecord) -> Outcome | None:
    """End a search whose trainer exited with 0 and left a message, or whose Job failed."""
    pods, ignored = context.observed.pods_of(job), context.observed.ignored
    succeeded = trainer_exits.successful_pod(pods)
    if succeeded is not None and trainer_exits.has_termination_message(succeeded):
        return _finish(trainer_exits.judge_result(succeeded, context.search, context.space), job, pods)
    failure = job.failure or trainer_exits.certain_failure(job, pods)
    is_on_its_way = job.is_deleting and _previous_ready_reason(context) in (Reason.POD_LOST, Reason.JOB_DELETED)
    if failure is None or trainer_exits.is_failed_by_lost_pods(job, pods) or (is_on_its_way and failure.reason == trainer_exits.BY_LIMIT):
        return None
    if trainer_exits.is_ended_by_ignored_pods(job, pods, ignored):
        return None
    return _finish(trainer_exits.judge_failure(job, failure, pods), job, pods)


def _replace_after_ignored_pods(context: Context, job: JobRecord) -> Outcome | None:
    """Replace a Job that was ended by ignored pods."""
    ignored_end = judge_end_by_ignored_pods(job, context.observed, context.previous, is_suspended=context.search.spec.suspend)
    if ignored_end is None:
        return None
    waiting, is_replaced = ignored_end
    return _delete(context, job, waiting) if is_replaced else _keep_job(context, job, waiting)


def _delete(context: Context, job: JobRecord, waiting: Readiness, *, failures: int | None = None) -> Outcome:
    """Delete the Job; its counts stay in status."""
    waiting = replace(waiting, requeue_after_s=intervals.TERMINATION_REQUEUE_S)
    return _keep_job(context, job, waiting, action=DeleteJob(name=job.name, uid=job.uid), failures=failures)


def _keep_job(
    context: Context, job: JobRecord, readiness: Readiness, *, action: DeleteJob | TouchJob | None = None, failures: int | None = None
) -> Outcome:
    """Keep this Job, or the wait for its deletion, as the search's attempt."""
    reason = _succeeded_reason(context, job)
    return Outcome(readiness=readiness, action=action, attempt=job.attempt, image=job.image, reason=reason, failures=failures)


def _finish(ending: Ending, job: JobRecord, pods: tuple[PodRecord, ...] = ()) -> Outcome:
    phase, message = Phase.SUCCEEDED if ending.result is not None else Phase.FAILED, f"attempt {job.attempt} has ended"
    if pods and pods[-1].is_outlived:
        message = add_hint(Reason.SIDECAR_RUNNING, f"{message}; its Job is deleted, because {describe_sidecars(pods[-1])}")
    over = not_ready(phase, Reason.FINISHED, message)
    return Outcome(readiness=over, ending=ending, attempt=job.attempt, image=job.image)


def _recover_result(context: Context, job: JobRecord) -> Outcome | None:
    """Repeat a complete Job whose result is lost, once: the trainer finds its result on the claim and reports it again.

    The intention is written to status before the Job is deleted, so that it survives a restart of the operator.
    """
    silent = trainer_exits.successful_pod(context.observed.pods_of(job))
    if not job.is_complete and (silent is None or not is_held(silent, context.now_s)):
        return None
    before, attempt = _succeeded_reason(context, job), context.previous.attempt or 0
    if before == Reason.RECOVERING_RESULT:
        message = f"attempt {job.attempt} is complete, as the one before it, but neither result could be read"
        return _finish(Ending(reason=Reason.RESULT_MISSING, message=message), job)
    waiting = not_ready(
        Phase.FINALIZING, Reason.RESULT_MISSING, f"Job {job.name} is complete, but left no result; it is repeated once", 0.0
    )
    is_noted = before == Reason.RESULT_MISSING and attempt == job.attempt
    action = DeleteJob(name=job.name, uid=job.uid) if is_noted else None
    return Outcome(readiness=waiting, action=action, attempt=job.attempt, image=job.image, reason=Reason.RESULT_MISSING)


def _suspend(context: Context, job: JobRecord) -> Outcome | None:
    """Suspend the search: delete its Job, and with it its pod, which writes a checkpoint first.

    A trainer that has just exited with 0 is not stopped: its result comes first.
    """
    ended_well = trainer_exits.successful_pod(context.observed.pods_of(job))
    if not context.search.spec.suspend or (ended_well is not None and not ended_well.is_outlived):
        return None
    waiting = not_ready(
        Phase.SUSPENDING, Reason.SUSPENDING, f"Job {job.name} is deleted because spec.suspend is true", intervals.TERMINATION_REQUEUE_S
    )
    action = DeleteJob(name=job.name, uid=job.uid)
    return Outcome(
        readiness=waiting, action=action, attempt=job.attempt, image=job.image, reason=_succeeded_reason(context, job), failures=0
    )


def _enforce_limits(context: Context, job: JobRecord) -> Outcome | None:
    """End a search that exceeds a limit of its spec, unless its trainer has just exited with 0."""
    if trainer_exits.successful_pod(context.observed.pods_of(job)) is not None:
        return None
    ending = find_broken_limit(_job_context(context, job, judge_readiness(job, context.observed, context.previous, context.now_s)))
    return _finish(ending, job) if ending is not None else None


def _job_context(context: Context, job: JobRecord, going_on: Readiness) -> JobContext:
    waits_for = f"{going_on.verdict.reason}: {going_on.verdict.message}"
    return JobContext(
        search=context.search, job=job, observed=context.observed, previous=context.previous, waits_for=waits_for, now_s=context.now_s
    )


def _requeue(context: Context, job: JobRecord) -> Outcome | None:
    """Replace a Job that no queue has admitted if its labels or annotations for Kueue have changed: Kueue reads them at creation."""
    if not is_relabelled(context.observed.search, job) or has_been_admitted(job, context.previous) or context.observed.pods_of(job):
        return None
    message = f"Job {job.name} was created with other labels or annotations for Kueue, and no queue has admitted it; it is replaced"
    waiting = not_ready(Phase.QUEUED, Reason.QUEUE_CHANGED, message, intervals.TERMINATION_REQUEUE_S)
    return _delete(context, job, waiting)


def _replace(context: Context, job: JobRecord) -> Outcome | None:
    """Replace a Job that cannot continue although its search can (see `lost_or_held_jobs`).

    The reason and the failures that count towards backoffLimit are written to status before the Job is deleted, because its pods may be
    gone afterwards.
    """
    pods = context.observed.pods_of(job)
    replacement = find_replacement(job, pods, context.previous, context.now_s)
    if replacement is None:
        return None
    failures = job.failures_before + trainer_exits.num_failures(job, pods)
    has_reason = _previous_ready_reason(context) == replacement.readiness.verdict.reason
    is_noted = has_reason and failures == (context.previous.failures or 0)
    if replacement.rest_s <= 0 and is_noted:
        return _delete(context, job, replacement.readiness, failures=failures)
    waiting = replace(replacement.readiness, requeue_after_s=max(0.0, replacement.rest_s))
    return _keep_job(context, job, waiting, failures=failures)


def _previous_ready_reason(context: Context) -> str:
    """The reason of TrainerReady in the previous status."""
    before = verdict_of(context.previous, ConditionType.TRAINER_READY)
    return before.reason if before is not None else ""


def _recreate(context: Context, job: JobRecord) -> Outcome | None:
    """Recreate a Job whose pods were interrupted repeatedly and made progress, because its back-off has grown up to 10 minutes.

    Kubernetes counts no failure for interruptions, but its back-off treats them like failures (measured, Kubernetes 1.35). A Job that a
    queue has admitted is kept: a new one would have to queue again.
    """
    previous, pods = context.previous, context.observed.pods_of(job)
    is_between_pods = all(pod.is_over for pod in pods) and (not pods or trainer_exits.is_interruption(pods[-1]))
    num_interrupted = (previous.starts or 0) - job.starts_before - trainer_exits.num_failures(job, pods)
    step = previous.checkpoint.step if previous.checkpoint is not None else 0
    if (
        job.is_suspended
        or job.resumed_s is not None
        or not is_between_pods
        or num_interrupted < intervals.MAX_IGNORED_ENDS
        or step <= job.step_before
    ):
        return None
    message = f"Job {job.name} was interrupted {num_interrupted} times and made progress; a new Job has a shorter back-off"
    waiting = not_ready(Phase.INTERRUPTED, Reason.JOB_RECREATED, message, intervals.TERMINATION_REQUEUE_S)
    action = DeleteJob(name=job.name, uid=job.uid)
    return Outcome(
        readiness=waiting, action=action, attempt=job.attempt, image=job.image, reason=_succeeded_reason(context, job), failures=0
    )


def _replace_unpullable(context: Context, job: JobRecord) -> Outcome | None:
    """Replace a Job whose image cannot be pulled if a new Job would use another image."""
    waiting = judge_unpullable(job, context.observed, image_for(context.search, context.previous, context.pods))
    return _delete(context, job, waiting) if waiting is not None else None


def _await_completion(context: Context, job: JobRecord) -> Readiness | None:
    """Wait for the Job controller after a trainer exited with 0 without a message."""
    succeeded = trainer_exits.successful_pod(context.observed.pods_of(job))
    if succeeded is None:
        return None
    return not_ready(
        Phase.FINALIZING,
        Reason.TRAINER_EXITED,
        f"the trainer of pod {succeeded.name} exited with 0; its Job is not complete yet",
        intervals.TERMINATION_REQUEUE_S,
    )


def _succeeded_reason(context: Context, job: JobRecord | None) -> Reason | None:
    """The reason of Succeeded while a lost result is recovered; it lasts until the search ends."""
    before = verdict_of(context.previous, ConditionType.SUCCEEDED)
    if before is None or before.reason not in (Reason.RESULT_MISSING, Reason.RECOVERING_RESULT):
        return None
    is_next = job is not None and job.attempt > (context.previous.attempt or 0)
    return Reason.RECOVERING_RESULT if is_next else Reason(before.reason)

"""The decision: from what is observed to what is done and what is said. Pure; the clock is an argument.

Called by `reconcile` only. A plan that cannot be taken back is made twice: `reconcile` repeats it on fresh reads
before it acts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from autohas_api.accept.acceptance import accept
from autohas_api.base.names import ANNOTATION_PAUSED, ExitCode
from autohas_api.base.spec_errors import SpecError
from autohas_api.space.decisions import Space, resolve
from autohas_api.space.rates import shared_rate
from autohas_api.spec.search import Search, read
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status, TrainerStatus
from autohas_operator.decide import policy
from autohas_operator.decide.admission import admitted_verdict, find_platform_refusal, pinned_image, suspended_verdict
from autohas_operator.decide.announcements import Announcement, announce
from autohas_operator.decide.cleanup import CleanUp, plan_cleanup
from autohas_operator.decide.conditions import Verdict, add_summary, is_finished, last_flip_s, merge_conditions, verdict_of
from autohas_operator.decide.limits import num_interruptions
from autohas_operator.decide.phases import Context, CreateAttempt, DeleteJob, Outcome, TouchJob, apply_rules, block
from autohas_operator.decide.recognition import recognize
from autohas_operator.decide.reports import (
    apply_progress,
    apply_termination_messages,
    checkpoint_verdict,
    continue_counts,
    converged_verdict,
    is_progress_only,
    work_began_s,
    write_due_in_s,
)
from autohas_operator.errors import Blamed
from autohas_operator.records.observed import JobRecord, Observed, PodRecord
from autohas_operator.records.pod_template import identity_in
from autohas_operator.settings import PodSettings
from autohas_operator.wording import clean, timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one pass does: `action`, then `status` when it differs, then `announcements`.

    `strays` are Jobs to be deleted that claim to be the search's; `warnings` are posted once for each uid, whatever becomes of the status.
    """

    status: Status
    action: CreateAttempt | DeleteJob | TouchJob | CleanUp | None = None
    announcements: tuple[Announcement, ...] = ()
    requeue_after_s: float | None = None
    is_irreversible: bool = False
    strays: tuple[JobRecord, ...] = ()
    warnings: Mapping[str, Announcement] = field(default_factory=dict)

    @property
    def needs_fresh_reads(self) -> bool:
        """Whether it cannot be taken back: then the cache is not good enough."""
        return self.action is not None or self.is_irreversible or bool(self.strays)

    @property
    def is_first_attempt(self) -> bool:
        """Whether the action makes the first Job of the search."""
        return isinstance(self.action, CreateAttempt) and self.status.attempt == 1


def plan(observed: Observed, previous: Status, pods: PodSettings, now_s: float) -> Plan:
    """Decide one pass over one search."""
    record = observed.search
    if record.is_deleting:
        return Plan(status=previous)
    if is_finished(previous):
        return _plan_finished(observed, previous, now_s)
    if record.is_paused:
        return _plan_paused(observed, previous, now_s)
    judged = _judge(record.document, has_begun=previous.attempt is not None)
    if isinstance(judged, Verdict):
        return _reject(observed, previous, judged, now_s)
    search, space = judged
    recognized = recognize(observed, previous, search, pods)
    context = Context(search=search, space=space, observed=recognized.observed, previous=previous, pods=pods, now_s=now_s)
    decided = _decide(context)
    return replace(decided, strays=recognized.strays, warnings=recognized.warnings)


def _decide(context: Context) -> Plan:
    """The decision about a search that can be read, from what counts as its Job and pods."""
    observed, previous, blocker = context.observed, context.previous, context.observed.blocker
    refused = _find_refusal(context)
    if refused is not None and not context.search.spec.suspend:
        return _reject(observed, previous, refused, context.now_s)
    report = continue_counts(observed.report, previous, observed.pods, context.search.spec)
    context = replace(context, observed=replace(observed, report=report))
    decided = apply_rules(context)
    if blocker is not None and decided.action is not None:
        decided = block(context, decided, blocker)
    return _publish(context, decided)


_PAUSED = Verdict(
    status="True",
    reason=Reason.PAUSED_BY_ANNOTATION,
    message=f"the annotation {ANNOTATION_PAUSED} is there: the operator does nothing for this search until it is removed",
)
_NOT_PAUSED = Verdict(status="False", reason=Reason.NOT_PAUSED, message=f"the annotation {ANNOTATION_PAUSED} is not there")


def _plan_finished(observed: Observed, previous: Status, now_s: float) -> Plan:
    """A search that has ended: its status stays, its children go when their time has come, unless it is paused."""
    pause = _PAUSED if observed.search.is_paused else _NOT_PAUSED
    is_said = verdict_of(previous, ConditionType.RECONCILIATION_PAUSED) == pause and len(previous.conditions) == len(ConditionType)
    status = previous if is_said else _keep_conditions(observed, previous, pause, now_s)
    status = status.model_copy(update={"observed_generation": observed.search.generation})
    told = announce(previous, status, None)
    if observed.search.is_paused:
        return Plan(status=status, announcements=told)
    judged = _judge(observed.search.document, has_begun=True)
    if isinstance(judged, Verdict):
        return Plan(status=status, announcements=told)  # of a version that this operator does not know: nothing is deleted on a guess
    action, requeue_after_s = plan_cleanup(judged[0], observed, previous, now_s)
    return Plan(status=status, action=action, announcements=told, requeue_after_s=requeue_after_s)


def _plan_paused(observed: Observed, previous: Status, now_s: float) -> Plan:
    """Nothing is done and nothing else is said: what the other conditions say was true when the annotation was set."""
    status = _keep_conditions(observed, previous, _PAUSED, now_s)
    status = status.model_copy(update={"phase": previous.phase or Phase.PENDING})
    return Plan(status=status, announcements=announce(previous, status, None))


def _keep_conditions(observed: Observed, previous: Status, pause: Verdict, now_s: float) -> Status:
    """The status as it was, but for the condition ReconciliationPaused, and the summary where an older operator gave none."""
    generation = observed.search.generation
    unseen = Verdict(status="Unknown", reason=_PAUSED.reason, message=_PAUSED.message)
    verdicts = {kind: verdict_of(previous, kind) or unseen for kind in ConditionType}
    if previous.phase is not None and verdict_of(previous, ConditionType.READY) is None:
        verdicts = add_summary(previous.phase, verdicts)
    verdicts[ConditionType.RECONCILIATION_PAUSED] = pause
    conditions = merge_conditions(previous, verdicts, generation, now_s)
    return previous.model_copy(update={"observed_generation": generation, "conditions": conditions})


def _find_refusal(context: Context) -> Verdict | None:
    """Why the API server or the platform makes no Job of this; a Job that is there is left alone."""
    blocker = context.observed.blocker
    if blocker is not None and blocker.blamed is Blamed.SPEC:
        return Verdict(status="False", reason=blocker.reason, message=blocker.message)
    return find_platform_refusal(context.search, context.previous, context.pods) if context.observed.job is None else None


@lru_cache(maxsize=512)
def _judge(document: str, *, has_begun: bool) -> tuple[Search, Space] | Verdict:
    """Acceptance or refusal of one text: judged once, not at every pass, and never again by a stricter operator once it has begun."""
    try:
        if not has_begun:
            return accept(json.loads(document))
        search = read(json.loads(document))
        return search, resolve(search.spec)
    except SpecError as error:
        return Verdict(status="False", reason=Reason.INVALID_SPEC, message=clean(str(error)))


def _reject(observed: Observed, previous: Status, accepted: Verdict, now_s: float) -> Plan:
    """No Job is made; one that runs already (an older operator accepted it) is left alone."""
    message = "nothing is started until the search is accepted"
    waiting = Verdict(status="Unknown", reason=Reason.NOT_ACCEPTED, message=message)
    stopped = Verdict(status="False", reason=Reason.NOT_ACCEPTED, message=message)
    verdicts = {
        ConditionType.ACCEPTED: accepted,
        ConditionType.ADMITTED: admitted_verdict(observed.search, observed.job, previous, now_s),
        ConditionType.TRAINER_READY: stopped,
        ConditionType.CHECKPOINT_READY: verdict_of(previous, ConditionType.CHECKPOINT_READY) or waiting,
        ConditionType.CONVERGED: converged_verdict(previous, None, None),
        ConditionType.SUSPENDED: suspended_verdict(Phase.REJECTED, previous, is_wanted=False),
        ConditionType.RECONCILIATION_PAUSED: _NOT_PAUSED,
        ConditionType.SUCCEEDED: waiting,
        ConditionType.FINISHED: stopped,
    }
    generation = observed.search.generation
    conditions = merge_conditions(previous, add_summary(Phase.REJECTED, verdicts), generation, now_s)
    update = {"phase": Phase.REJECTED, "observed_generation": generation, "conditions": conditions}
    status = previous.model_copy(update=update)
    # What the API server refused may be accepted once somebody has mended a policy; what the spec says wrong is mended by an edit.
    requeue_after_s = policy.retry_s(last_flip_s(status, ConditionType.ACCEPTED), now_s) if observed.blocker is not None else None
    return Plan(status=status, announcements=announce(previous, status, None), requeue_after_s=requeue_after_s)


def _publish(context: Context, decided: Outcome) -> Plan:
    """The status that says all this, its events, and when time alone will change it."""
    previous, report = context.previous, context.observed.report
    status = _build_status(context, decided)
    requeue_after_s = decided.readiness.requeue_after_s if decided.ending is None else 0.0  # there is something to clean up, now or later
    is_last_word = apply_termination_messages(previous, _own_pods(context)) != previous  # its pod is soon gone: written now or never
    if status != previous and is_progress_only(previous, status) and not is_last_word:
        due_s = write_due_in_s(previous, context.now_s)
        if due_s > 0:
            status, requeue_after_s = previous, min(due_s, requeue_after_s if requeue_after_s is not None else due_s)
    return Plan(
        status=status,
        action=decided.action,
        announcements=announce(previous, status, report),
        requeue_after_s=requeue_after_s,
        is_irreversible=decided.ending is not None or decided.reason is Reason.RESULT_MISSING,
    )


def _build_status(context: Context, decided: Outcome) -> Status:
    previous, ending, generation = context.previous, decided.ending, context.observed.search.generation
    update: dict[str, Any] = {"phase": decided.readiness.phase, "observed_generation": generation}
    if decided.attempt is not None:
        update["attempt"] = max(decided.attempt, previous.attempt or 0)
        update["start_time"] = previous.start_time or timestamp(context.now_s)
        update["trainer"] = _trainer_status(context, decided)
        job = None if isinstance(decided.action, CreateAttempt) else context.observed.job
        update["job_uid"] = job.uid if job is not None else None  # of a Job that is about to be made, `reconcile` notes it
        update["lost_pods"] = (list(policy.lost_pods(job, _own_pods(context))) or None) if job is not None else None
    if decided.failures is not None and decided.failures != (previous.failures or 0):
        update["failures"] = decided.failures
    status = apply_progress(previous.model_copy(update=update), context.observed.report)
    if status.phase is not Phase.RUNNING:
        status = status.model_copy(update={"eta": None})
    status, heard = (apply_termination_messages(said, _own_pods(context)) for said in (status, previous))
    if context.observed.job is not None:
        is_suspended = context.search.spec.suspend
        counted = num_interruptions(context.observed.job, context.observed, heard, is_suspended=is_suspended)
        status = status.model_copy(update={"interruptions": counted})
    if ending is not None:
        done = {"best": ending.result.scores.test, "progress": "100%", "stage": Stage.EVALUATE.value} if ending.result is not None else {}
        ended = {"completion_time": timestamp(context.now_s), "result": ending.result}
        status = status.model_copy(update={**ended, **done})
    verdicts = {
        ConditionType.ACCEPTED: _judge_acceptance(context, status, decided),
        ConditionType.ADMITTED: _judge_admission(context, decided),
        ConditionType.TRAINER_READY: decided.readiness.verdict,
        ConditionType.CHECKPOINT_READY: _judge_checkpoint(context, status, decided),
        ConditionType.CONVERGED: converged_verdict(previous, context.observed.report, ending),
        ConditionType.RECONCILIATION_PAUSED: _NOT_PAUSED,
        ConditionType.SUSPENDED: suspended_verdict(status.phase or Phase.PENDING, previous, is_wanted=context.search.spec.suspend),
        **_end_verdicts(decided),
    }
    summed_up = add_summary(status.phase or Phase.PENDING, verdicts)
    return status.model_copy(update={"conditions": merge_conditions(previous, summed_up, generation, context.now_s)})


def _own_pods(context: Context) -> tuple[PodRecord, ...]:
    """The pods of the newest Job."""
    job = context.observed.job
    return context.observed.pods_of(job) if job is not None else ()


def _trainer_status(context: Context, decided: Outcome) -> TrainerStatus | None:
    """What the Job at hand runs, or the one that is about to be made."""
    if not decided.image:
        return context.previous.trainer
    job = context.observed.job
    if isinstance(decided.action, CreateAttempt):
        known = identity_in(decided.action.job)
    elif job is not None:
        known = job.identity
    else:
        return context.previous.trainer
    return TrainerStatus(
        image=decided.image,
        pinned_image=decided.image if _has_started(context, decided) else pinned_image(context.previous) or None,
        run_as_user=known.run_as_user,
        fs_group=known.fs_group,
        image_pull_secrets=list(known.pull_secrets) or None,
    )


def _has_started(context: Context, decided: Outcome) -> bool:
    """Whether a trainer has started with this image: one that was never pulled pins nothing."""
    return not isinstance(decided.action, CreateAttempt) and any(policy.has_started(pod) for pod in _own_pods(context))


def _judge_admission(context: Context, decided: Outcome) -> Verdict:
    """The end of a search says nothing new about its quota."""
    was = verdict_of(context.previous, ConditionType.ADMITTED)
    if was is not None and decided.ending is not None:
        return was
    return admitted_verdict(context.observed.search, context.observed.job, context.previous, context.now_s)


def _judge_checkpoint(context: Context, status: Status, decided: Outcome) -> Verdict:
    """The end of a search says nothing new about its checkpoints, unless none of them could be read."""
    if decided.ending is not None and decided.ending.reason == policy.FAILURE_REASONS[ExitCode.NO_CHECKPOINT]:
        return Verdict(status="False", reason=Reason.RESTORE_FAILED, message=decided.ending.message)
    was = verdict_of(context.previous, ConditionType.CHECKPOINT_READY)
    if was is not None and decided.ending is not None:
        return was
    since_s = work_began_s(_own_pods(context))
    return checkpoint_verdict(
        context.search.spec, status, context.observed.report, decided.readiness.verdict, since_s=since_s, now_s=context.now_s
    )


def _judge_acceptance(context: Context, status: Status, decided: Outcome) -> Verdict:
    report, was = context.observed.report, verdict_of(context.previous, ConditionType.ACCEPTED)
    is_running = decided.readiness.phase is Phase.RUNNING
    if is_running and report is None and was is not None and was.reason == Reason.VERSION_SKEW:
        return was  # this operator has just started and has not asked yet
    if is_running and report is not None and report.is_version_skew:
        image = status.trainer.image if status.trainer is not None else ""
        message = f"the trainer image {image} is of another version than the operator: {report.problem}"
        return Verdict(status="False", reason=Reason.VERSION_SKEW, message=message)
    if (refusal := _find_refusal(context)) is not None:
        return refusal
    warning = shared_rate(context.search.spec)
    message = "the search can be run as it is written"
    return Verdict(status="True", reason=Reason.VALID, message=message if warning is None else f"{message}; warning: {warning}")


def _end_verdicts(decided: Outcome) -> dict[ConditionType, Verdict]:
    phase, ending = decided.readiness.phase, decided.ending
    if ending is None:
        message = "the search has not ended"
        succeeded = Verdict(status="Unknown", reason=decided.reason or phase, message=message)
        finished = Verdict(status="False", reason=Reason.IN_PROGRESS, message=message)
    else:
        succeeded = Verdict(status="True" if ending.result is not None else "False", reason=ending.reason, message=ending.message)
        finished = Verdict(status="True", reason=phase, message=ending.message)
    return {ConditionType.SUCCEEDED: succeeded, ConditionType.FINISHED: finished}

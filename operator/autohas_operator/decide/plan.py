"""The plan of one pass: from the observed objects to an action, a status and events. Pure; the time is an argument.

Called by `reconcile` only. An irreversible plan is made twice: `reconcile` repeats it on fresh reads before it acts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from autohas_api.accept.acceptance import accept
from autohas_api.accept.comparison import describe_comparison
from autohas_api.accept.volume_check import unmounted_volumes
from autohas_api.base.exit_codes import ExitCode
from autohas_api.base.names import ANNOTATION_PAUSED
from autohas_api.base.spec_errors import SpecError
from autohas_api.budget.epochs import few_epochs_of_spec
from autohas_api.space.decisions import Space, reads_decisions_from_code, resolve
from autohas_api.space.rates import shared_rate
from autohas_api.spec.search import Search, read
from autohas_api.wire.messages import Stage
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status, TrainerStatus
from autohas_operator.decide import intervals, trainer_exits
from autohas_operator.decide.actions import CreateAttempt, DeleteJob, TouchJob
from autohas_operator.decide.admission import admitted_verdict, find_platform_refusal, pinned_image, suspended_verdict
from autohas_operator.decide.announcements import Announcement, announce
from autohas_operator.decide.cleanup import CleanUp, plan_cleanup
from autohas_operator.decide.conditions import Verdict, add_summary, is_finished, last_flip_s, merge_conditions, verdict_of
from autohas_operator.decide.job_rules import Context, Outcome, apply_rules, block
from autohas_operator.decide.limits import num_interruptions
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
from autohas_operator.records.pod_identity import identity_in
from autohas_operator.settings import PodSettings
from autohas_operator.wording import clean, timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one pass does: `action`, then `status` when it differs, then `announcements`.

    `strays` are foreign Jobs to delete that claim to be the search's; `warnings` are posted once for each uid, even without a status write.
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
        """Whether the plan acts or is irreversible: then it must not rest on the cache alone."""
        return self.action is not None or self.is_irreversible or bool(self.strays)

    @property
    def is_first_attempt(self) -> bool:
        """Whether the action creates the first Job of the search."""
        return isinstance(self.action, CreateAttempt) and self.status.attempt == 1


def plan(observed: Observed, previous: Status, pods: PodSettings, now_s: float) -> Plan:
    """Plan one pass over one search."""
    record = observed.search
    if record.is_deleting:
        return Plan(status=previous)
    if is_finished(previous):
        return _plan_finished(observed, previous, now_s)
    if record.is_paused:
        return _plan_paused(observed, previous, now_s)
    judgement = _judge(record.document, has_begun=previous.attempt is not None)
    if isinstance(judgement, Verdict):
        return _reject(observed, previous, judgement, now_s)
    search, space = judgement
    recognized = recognize(observed, previous, search, pods)
    context = Context(search=search, space=space, observed=recognized.observed, previous=previous, pods=pods, now_s=now_s)
    return replace(_decide(context), strays=recognized.strays, warnings=recognized.warnings)


def _decide(context: Context) -> Plan:
    """The plan for an accepted search, from its recognized Job and pods."""
    observed, previous, blocker = context.observed, context.previous, context.observed.blocker
    refusal = _find_refusal(context)
    if refusal is not None and not context.search.spec.suspend:
        return _reject(observed, previous, refusal, context.now_s)
    report = continue_counts(observed.report, previous, observed.pods, context.search.spec)
    context = replace(context, observed=replace(observed, report=report))
    outcome = apply_rules(context)
    if blocker is not None and outcome.action is not None:
        outcome = block(context, outcome, blocker)
    return _publish(context, outcome)


_PAUSED = Verdict(
    status="True",
    reason=Reason.PAUSED_BY_ANNOTATION,
    message=f"the annotation {ANNOTATION_PAUSED} is set: the operator does nothing for this search until it is removed",
)
_NOT_PAUSED = Verdict(status="False", reason=Reason.NOT_PAUSED, message=f"the annotation {ANNOTATION_PAUSED} is not set")


def _plan_finished(observed: Observed, previous: Status, now_s: float) -> Plan:
    """A finished search: its status stays; its children are deleted after their time to live, unless it is paused."""
    judgement = _judge(observed.search.document, has_begun=True)
    verdicts = {ConditionType.RECONCILIATION_PAUSED: _PAUSED if observed.search.is_paused else _NOT_PAUSED}
    if isinstance(judgement, Verdict):
        verdicts[ConditionType.ACCEPTED] = judgement
    is_current = all(verdict_of(previous, kind) == verdict for kind, verdict in verdicts.items())
    is_current = is_current and len(previous.conditions) == len(ConditionType)
    status = previous if is_current else _keep_conditions(observed, previous, verdicts, now_s)
    status = status.replace(observed_generation=observed.search.generation)
    events = announce(previous, status, None)
    if observed.search.is_paused or isinstance(judgement, Verdict):
        return Plan(status=status, announcements=events)  # nothing is deleted for a spec that this operator cannot read
    action, requeue_after_s = plan_cleanup(judgement[0], observed, previous, now_s)
    return Plan(status=status, action=action, announcements=events, requeue_after_s=requeue_after_s)


def _plan_paused(observed: Observed, previous: Status, now_s: float) -> Plan:
    """While paused, only ReconciliationPaused changes."""
    status = _keep_conditions(observed, previous, {ConditionType.RECONCILIATION_PAUSED: _PAUSED}, now_s)
    status = status.replace(phase=previous.phase or Phase.PENDING)
    return Plan(status=status, announcements=announce(previous, status, None))


def _keep_conditions(observed: Observed, previous: Status, changes: Mapping[ConditionType, Verdict], now_s: float) -> Status:
    """The previous status with some new conditions, and with the summary conditions where an older operator wrote none."""
    generation = observed.search.generation
    unseen = Verdict(status="Unknown", reason=_PAUSED.reason, message=_PAUSED.message)
    verdicts = {kind: verdict_of(previous, kind) or unseen for kind in ConditionType}
    if previous.phase is not None and verdict_of(previous, ConditionType.READY) is None:
        verdicts = add_summary(previous.phase, verdicts)
    conditions = merge_conditions(previous, {**verdicts, **changes}, generation, now_s)
    return previous.replace(observed_generation=generation, conditions=conditions)


def _find_refusal(context: Context) -> Verdict | None:
    """Why the API server or the platform refuses the search, or None. An existing Job is not affected by the platform's lists."""
    blocker = context.observed.blocker
    if blocker is not None and blocker.blamed is Blamed.SPEC:
        return Verdict(status="False", reason=blocker.reason, message=blocker.message)
    return find_platform_refusal(context.search, context.previous, context.pods) if context.observed.job is None else None


@lru_cache(maxsize=512)
def _judge(document: str, *, has_begun: bool) -> tuple[Search, Space] | Verdict:
    """The accepted search, or why it is refused. Cached by text; a search that has begun is not judged again by a stricter operator."""
    try:
        if not has_begun:
            return accept(json.loads(document))
        search = read(json.loads(document))
        return search, resolve(search.spec)
    except SpecError as error:
        if has_begun:
            stays = "its status and result stay; delete it, and apply it again with the present names of fields"
            message = clean(f"the search was stored under a former schema: {error}; {stays}")
            return Verdict(status="False", reason=Reason.SPEC_UNREADABLE, message=message)
        return Verdict(status="False", reason=Reason.INVALID_SPEC, message=clean(str(error)))


def _reject(observed: Observed, previous: Status, accepted: Verdict, now_s: float) -> Plan:
    """Create no Job. One that already runs, because an older operator accepted the search, is not touched."""
    message = "nothing starts until the search is accepted"
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
    status = previous.replace(phase=Phase.REJECTED, observed_generation=generation, conditions=conditions)
    # The API server may accept the Job after a policy is changed; an invalid spec is corrected by an edit, which triggers a pass.
    requeue_after_s = intervals.retry_s(last_flip_s(status, ConditionType.ACCEPTED), now_s) if observed.blocker is not None else None
    return Plan(status=status, announcements=announce(previous, status, None), requeue_after_s=requeue_after_s)


def _publish(context: Context, outcome: Outcome) -> Plan:
    """The plan with the new status, its events, and the time of the next pass."""
    previous, report = context.previous, context.observed.report
    status = _build_status(context, outcome)
    requeue_after_s = outcome.readiness.requeue_after_s if outcome.ending is None else 0.0  # for the clean-up
    # A new termination message is written at once, because its pod may soon be deleted.
    has_termination_message = apply_termination_messages(previous, _own_pods(context)) != previous
    if status != previous and is_progress_only(previous, status) and not has_termination_message:
        due_s = write_due_in_s(previous, context.now_s)
        if due_s > 0:
            status, requeue_after_s = previous, min(due_s, requeue_after_s if requeue_after_s is not None else due_s)
    return Plan(
        status=status,
        action=outcome.action,
        announcements=announce(previous, status, report),
        requeue_after_s=requeue_after_s,
        is_irreversible=outcome.ending is not None or outcome.reason is Reason.RESULT_MISSING,
    )


def _build_status(context: Context, outcome: Outcome) -> Status:
    previous, ending, generation = context.previous, outcome.ending, context.observed.search.generation
    status = previous.replace(phase=outcome.readiness.phase, observed_generation=generation)
    if outcome.attempt is not None:
        status = _apply_attempt(status, context, outcome, outcome.attempt)
    if outcome.failures is not None and outcome.failures != (previous.failures or 0):
        status = status.replace(failures=outcome.failures)
    status = apply_progress(status, context.observed.report)
    if status.phase is not Phase.RUNNING:
        status = status.replace(eta=None)
    status, latest = (apply_termination_messages(earlier, _own_pods(context)) for earlier in (status, previous))
    if context.observed.job is not None:
        is_suspended = context.search.spec.suspend
        interruptions = num_interruptions(context.observed.job, context.observed, latest, is_suspended=is_suspended)
        status = status.replace(interruptions=interruptions)
    if ending is not None:
        status = status.replace(completion_time=timestamp(context.now_s), result=ending.result)
    if ending is not None and ending.result is not None:
        status = status.replace(best=ending.result.scores.test, progress="100%", stage=Stage.EVALUATE.value, run=_last_run(status.run))
    verdicts = {
        ConditionType.ACCEPTED: _judge_acceptance(context, status, outcome),
        ConditionType.ADMITTED: _judge_admission(context, outcome),
        ConditionType.TRAINER_READY: outcome.readiness.verdict,
        ConditionType.CHECKPOINT_READY: _judge_checkpoint(context, status, outcome),
        ConditionType.CONVERGED: converged_verdict(previous, context.observed.report, ending),
        ConditionType.RECONCILIATION_PAUSED: _NOT_PAUSED,
        ConditionType.SUSPENDED: suspended_verdict(status.phase or Phase.PENDING, previous, is_wanted=context.search.spec.suspend),
        **_end_verdicts(outcome),
    }
    summarized = add_summary(status.phase or Phase.PENDING, verdicts)
    return status.replace(conditions=merge_conditions(previous, summarized, generation, context.now_s))


def _last_run(run: str | None) -> str | None:
    """20/20 for 18/20: the last report may be older than the end."""
    runs = (run or "").rpartition("/")[2]
    return f"{runs}/{runs}" if runs else None


def _apply_attempt(status: Status, context: Context, outcome: Outcome, attempt: int) -> Status:
    """The status with the attempt's Job, or with the one that is about to be created, whose uid `reconcile` notes."""
    job = None if isinstance(outcome.action, CreateAttempt) else context.observed.job
    return status.replace(
        attempt=max(attempt, status.attempt or 0),
        start_time=status.start_time or timestamp(context.now_s),
        trainer=_trainer_status(context, outcome),
        job_uid=job.uid if job is not None else None,
        lost_pods=(list(trainer_exits.lost_pods(job, _own_pods(context))) or None) if job is not None else None,
    )


def _own_pods(context: Context) -> tuple[PodRecord, ...]:
    """The pods of the newest Job."""
    job = context.observed.job
    return context.observed.pods_of(job) if job is not None else ()


def _trainer_status(context: Context, outcome: Outcome) -> TrainerStatus | None:
    """Image and identity of the attempt's Job, or of the one that is about to be created."""
    if not outcome.image:
        return context.previous.trainer
    job = context.observed.job
    if isinstance(outcome.action, CreateAttempt):
        identity = identity_in(outcome.action.job)
    elif job is not None:
        identity = job.identity
    else:
        return context.previous.trainer
    return TrainerStatus(
        image=outcome.image,
        pinned_image=outcome.image if _has_started(context, outcome) else pinned_image(context.previous) or None,
        run_as_user=identity.run_as_user,
        fs_group=identity.fs_group,
        image_pull_secrets=list(identity.pull_secrets) or None,
    )


def _has_started(context: Context, outcome: Outcome) -> bool:
    """Whether a trainer has started with this image; an image that was never pulled is not pinned."""
    return not isinstance(outcome.action, CreateAttempt) and any(trainer_exits.has_started(pod) for pod in _own_pods(context))


def _judge_admission(context: Context, outcome: Outcome) -> Verdict:
    """The condition Admitted, which keeps its last verdict when the search ends."""
    before = verdict_of(context.previous, ConditionType.ADMITTED)
    if before is not None and outcome.ending is not None:
        return before
    return admitted_verdict(context.observed.search, context.observed.job, context.previous, context.now_s)


def _judge_checkpoint(context: Context, status: Status, outcome: Outcome) -> Verdict:
    """The condition CheckpointReady, which keeps its last verdict when the search ends, unless no checkpoint could be read."""
    if outcome.ending is not None and outcome.ending.reason == trainer_exits.FAILURE_REASONS[ExitCode.NO_CHECKPOINT]:
        return Verdict(status="False", reason=Reason.RESTORE_FAILED, message=outcome.ending.message)
    before = verdict_of(context.previous, ConditionType.CHECKPOINT_READY)
    if before is not None and outcome.ending is not None:
        return before
    since_s = work_began_s(_own_pods(context))
    return checkpoint_verdict(
        context.search.spec, status, context.observed.report, outcome.readiness.verdict, since_s=since_s, now_s=context.now_s
    )


def _judge_acceptance(context: Context, status: Status, outcome: Outcome) -> Verdict:
    report, before = context.observed.report, verdict_of(context.previous, ConditionType.ACCEPTED)
    is_running = outcome.readiness.phase is Phase.RUNNING
    if is_running and report is None and before is not None and before.reason == Reason.VERSION_SKEW:
        return before  # this operator has just started and has not polled yet
    if is_running and report is not None and report.is_version_skew:
        image = status.trainer.image if status.trainer is not None else ""
        message = f"the trainer image {image} has another version than the operator: {report.problem}"
        return Verdict(status="False", reason=Reason.VERSION_SKEW, message=message)
    if (refusal := _find_refusal(context)) is not None:
        return refusal
    spec = context.search.spec
    found = (shared_rate(spec), few_epochs_of_spec(spec), unmounted_volumes(spec.trainer))
    comparison = describe_comparison(context.search)
    warnings = [f"warning: {warning}" for warning in found if warning is not None]
    unseen = (
        ["the decisions of the model are checked by the trainer, which reads them from its code"] if reads_decisions_from_code(spec) else []
    )
    compared = [] if comparison is None else [f"compare: {comparison}"]
    message = clean("; ".join(["the spec is valid, and the platform allows it", *compared, *unseen, *warnings]))
    return Verdict(status="True", reason=Reason.VALID, message=message)


def _end_verdicts(outcome: Outcome) -> dict[ConditionType, Verdict]:
    phase, ending = outcome.readiness.phase, outcome.ending
    if ending is None:
        message = "the search has not ended"
        succeeded = Verdict(status="Unknown", reason=outcome.reason or phase, message=message)
        finished = Verdict(status="False", reason=Reason.IN_PROGRESS, message=message)
    else:
        succeeded = Verdict(status="True" if ending.result is not None else "False", reason=ending.reason, message=ending.message)
        finished = Verdict(status="True", reason=phase, message=ending.message)
    return {ConditionType.SUCCEEDED: succeeded, ConditionType.FINISHED: finished}

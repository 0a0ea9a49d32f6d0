"""State of the trainer: from Job, pods and report to the condition TrainerReady and the phase. Pure.

Used by `job_rules` while a Job is neither complete nor failed. Everything that a search may wait for has its reason here.
"""

from __future__ import annotations

from dataclasses import dataclass

from autohas_api.base.exit_codes import ExitCode
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide import intervals, trainer_exits
from autohas_operator.decide.conditions import Verdict, continuation, verdict_of
from autohas_operator.decide.termination_message import describe_container_end, describe_end
from autohas_operator.hints import HINTS, INIT_HINTS, add_hint, explain_refusal
from autohas_operator.manifests.pod import LIVENESS_FAILURES, LIVENESS_PERIOD_S, PROBE_TIMEOUT_S, STARTUP_S
from autohas_operator.records.containers import InitContainer
from autohas_operator.records.observed import IgnoredPod, JobRecord, Observed, PodRecord, Report, WarningEvent
from autohas_operator.wording import epoch, timestamp

_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_CREATING_REASONS = frozenset({"", "ContainerCreating", "PodInitializing"})
_VOLUME_EVENTS = frozenset({"FailedMount", "FailedAttachVolume"})
_FAILURES = frozenset({Reason.TRAINER_FAILED, Reason.INIT_CONTAINER_FAILED})
_STOPPED_CODES = frozenset({int(ExitCode.INTERRUPTED), 128 + 9, 128 + 15})
"""Exit codes of a trainer that the kubelet stopped: after its checkpoint, by SIGKILL, by SIGTERM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Phase and TrainerReady; `requeue_after_s` is set if they can change without an event."""

    phase: Phase
    verdict: Verdict
    requeue_after_s: float | None = None


def not_ready(phase: Phase, reason: Reason, message: str, requeue_after_s: float | None = None) -> Readiness:
    """TrainerReady is False."""
    return Readiness(phase=phase, verdict=Verdict(status="False", reason=reason, message=message), requeue_after_s=requeue_after_s)


def judge_readiness(job: JobRecord, observed: Observed, previous: Status, now_s: float) -> Readiness:
    """Judge an active Job by its newest pod."""
    pods = observed.pods_of(job)
    active = [pod for pod in pods if not pod.is_over and pod.end is None]
    staying = [pod for pod in active if pod.deletion_s is None]
    if job.is_suspended:
        message = f"Job {job.name} is suspended; its pod starts when it is resumed (see the condition Admitted)"
        return not_ready(Phase.QUEUED, Reason.JOB_SUSPENDED, message, intervals.QUOTA_EXPECTED_S)
    if staying:
        return _judge_pod(staying[-1], observed, previous, now_s)
    if active:
        return judge_stopping(active[-1], Phase.INTERRUPTED, now_s)
    if pods:
        return _judge_between_pods(job, pods, observed.warning, previous, now_s)
    return _judge_without_pods(job, observed, previous, now_s)


def stuck_child(observed: Observed, now_s: float) -> str | None:
    """Uid of the Job or pod whose events explain why the search does not progress; None while it is too early."""
    job = observed.job
    if job is None or job.is_deleting or job.is_suspended or job.is_complete or job.failure is not None:
        return None
    pods = observed.pods_of(job)
    if not pods:
        return job.uid if _without_pod_for(job, now_s) >= intervals.PODS_EXPECTED_S else None
    if pods[-1].is_over or pods[-1].end is not None:
        return _ended_child(job, pods, now_s)
    return pods[-1].uid if _creating_for(pods[-1], now_s) >= intervals.CONTAINER_EXPECTED_S else None


def _ended_child(job: JobRecord, pods: tuple[PodRecord, ...], now_s: float) -> str | None:
    """The Job, if its next pod is overdue; else a pod that its liveness probe may have stopped."""
    next_s, end = intervals.next_pod_s(pods), pods[-1].end
    if next_s is not None and now_s >= next_s + intervals.PODS_EXPECTED_S:
        return job.uid
    is_known = (end is not None and end.reason == "OOMKilled") or trainer_exits.is_lost(pods[-1]) or pods[-1].disruption is not None
    is_stopped = end is not None and end.exit_code in _STOPPED_CODES and not is_known
    return pods[-1].uid if is_stopped else None


def _before_pods(previous: Status) -> Phase:
    """Starting, or Interrupted if a trainer of the search has reported before."""
    return Phase.STARTING if previous.last_report_time is None else Phase.INTERRUPTED


def _creating_for(pod: PodRecord, now_s: float) -> float:
    """Seconds for which a scheduled pod has waited for its next container; 0 if that is there, or has another problem."""
    is_creating = pod.phase == "Pending" and _is_being_created(pod)
    return now_s - max(pod.scheduled_s, pod.init_ended_s or 0.0) if is_creating and pod.scheduled_s is not None else 0.0


def _is_being_created(pod: PodRecord) -> bool:
    """Whether the next container of a pod, which may be an init container, waits only to be created."""
    waiting = pod.waiting or ("", "") if pod.init is None else pod.init.waiting
    return waiting is not None and waiting[0] in _CREATING_REASONS


def _without_pod_for(job: JobRecord, now_s: float) -> float:
    """Seconds in which the Job could have created its first pod."""
    return now_s - max(job.created_s, job.resumed_s or 0.0)


def _judge_without_pods(job: JobRecord, observed: Observed, previous: Status, now_s: float) -> Readiness:
    waited_s = _without_pod_for(job, now_s)
    if observed.ignored:
        return _explain_ignored(observed.ignored[-1], previous)
    warning = observed.warning if observed.warning is not None and _is_newer_than_report(observed.warning, previous) else None
    if waited_s < intervals.PODS_EXPECTED_S:
        rest_s = intervals.PODS_EXPECTED_S - waited_s
        return not_ready(_before_pods(previous), Reason.WAITING_FOR_POD, f"Job {job.name} is created, and its pod is not there yet", rest_s)
    if warning is not None:
        return not_ready(
            _before_pods(previous),
            *explain_refusal(Reason.PODS_NOT_CREATED, f"{warning.reason}: {warning.message}"),
            intervals.BLOCKED_REQUEUE_S,
        )
    if job.num_failed > 0 or (previous.starts or 0) > job.starts_before:  # pods of an earlier Job do not delay those of this one
        wait = "10 s after the end of a pod that is gone, doubled each time up to 10 minutes"
        message = f"Job {job.name} waits before it creates the next pod: {wait}"
        return not_ready(Phase.INTERRUPTED, Reason.BACK_OFF, message, intervals.BLOCKED_REQUEUE_S)
    message = f"Job {job.name} has had no pod for {intervals.PODS_EXPECTED_S:.0f} s and no event says why: is the Job controller running?"
    return not_ready(Phase.STARTING, Reason.PODS_NOT_CREATED, message, intervals.BLOCKED_REQUEUE_S)


def _explain_ignored(item: IgnoredPod, previous: Status) -> Readiness:
    """The only pod is ignored: a webhook changed it, or it is forged and the Job's own pod is not there yet."""
    message = (
        f"the operator ignores pod {item.pod.name}, which is not what its Job describes: {item.difference}; {HINTS[Reason.POD_IGNORED]}"
    )
    return not_ready(_before_pods(previous), Reason.POD_IGNORED, message, intervals.BLOCKED_REQUEUE_S)


def judge_end_by_ignored_pods(job: JobRecord, observed: Observed, previous: Status, *, is_suspended: bool) -> tuple[Readiness, bool] | None:
    """Readiness for a Job that ignored pods have ended, and whether the Job is replaced; None for any other Job.

    The Job is replaced if a trainer of its own has run. Otherwise a webhook probably changes every pod, for example its image, and the
    next Job would fail the same way.
    """
    pods, ignored = observed.pods_of(job), observed.ignored
    if not trainer_exits.is_ended_by_ignored_pods(job, pods, ignored):
        return None
    culprit = next(item for item in reversed(ignored) if item.pod.is_over)
    ended = f"Job {job.name} was ended by pod {culprit.pod.name}, which the operator ignores: {culprit.difference}"
    if is_suspended:
        return not_ready(Phase.SUSPENDING, Reason.JOB_REPLACED, f"{ended}; it is deleted because spec.suspend is true"), True
    if pods or (previous.starts or 0) > job.starts_before:
        return not_ready(Phase.INTERRUPTED, Reason.JOB_REPLACED, f"{ended}; the next attempt {continuation(previous)}"), True
    hint = f"exempt the namespace from what changes its pods (docs/install.md), then delete Job {job.name}: the next attempt follows"
    return not_ready(Phase.INTERRUPTED, Reason.POD_IGNORED, f"{ended}; {hint}"), False


def judge_unpullable(job: JobRecord, observed: Observed, image: str) -> Readiness | None:
    """Readiness for a Job that cannot pull its image while a new Job would use `image`, because the chart was corrected; else None."""
    pods = observed.pods_of(job)
    if image == job.image or not pods or not _is_unpullable(pods[-1], job.image):
        return None
    message = f"Job {job.name} cannot pull image {job.image}, with which no trainer has started; the next attempt uses {image}"
    return not_ready(Phase.STARTING, Reason.JOB_REPLACED, message)


def _is_unpullable(pod: PodRecord, image: str) -> bool:
    """Whether the kubelet cannot pull the trainer's image, for the trainer or for an init container."""
    waiting = pod.init.waiting if pod.init is not None and pod.init.image == image else pod.waiting
    return waiting is not None and waiting[0] in _IMAGE_REASONS


def _is_newer_than_report(warning: WarningEvent, previous: Status) -> bool:
    """Whether an event is newer than the last report: an older one explains an earlier wait."""
    reported_s = epoch(previous.last_report_time)
    return reported_s is None or warning.time_s >= reported_s


def _judge_between_pods(
    job: JobRecord, pods: tuple[PodRecord, ...], warning: WarningEvent | None, previous: Status, now_s: float
) -> Readiness:
    """Judge a Job whose newest pod is over and whose controller has not created the next one yet."""
    pod, next_s = pods[-1], intervals.next_pod_s(pods)
    ended_s = pod.last_end.finished_s if pod.last_end is not None else None
    end, requeue_after_s = describe_end(pod), None
    is_last = trainer_exits.is_failure(pod) and trainer_exits.num_failures(job, pods) > job.backoff_limit
    follows = _describe_next_pod(job, previous, None if is_last else next_s, is_last=is_last)
    stalled = _explain_stall(pod, warning) if warning is not None and warning.reason == "Unhealthy" else None
    if warning is not None and stalled is not None:
        message = f"the kubelet stopped pod {pod.name} because {stalled}; {follows} ({warning.message})"
        return not_ready(Phase.INTERRUPTED, Reason.STALLED, message, intervals.BLOCKED_REQUEUE_S)
    if next_s is not None and ended_s is not None and not is_last:
        is_overdue = now_s >= next_s + intervals.PODS_EXPECTED_S
        if is_overdue and warning is not None and warning.reason == "FailedCreate" and warning.time_s >= ended_s:
            return not_ready(
                Phase.INTERRUPTED,
                *explain_refusal(Reason.PODS_NOT_CREATED, f"{warning.reason}: {warning.message}"),
                intervals.BLOCKED_REQUEUE_S,
            )
        requeue_after_s = ended_s + intervals.PODS_EXPECTED_S - now_s
        if requeue_after_s <= 0 and not _is_new_failure(pod, previous):
            message = f"pod {pod.name} has ended ({end}); its Job waits longer after each end (10 s to 10 minutes); {follows}"
            return not_ready(Phase.INTERRUPTED, Reason.BACK_OFF, message, intervals.BLOCKED_REQUEUE_S)
    if trainer_exits.is_lost(pod):
        message = f"pod {pod.name} was lost with its node or its container runtime ({end}); {follows}"
        return not_ready(Phase.INTERRUPTED, Reason.POD_LOST, message, requeue_after_s)
    if trainer_exits.is_interruption(pod):
        return not_ready(Phase.INTERRUPTED, Reason.INTERRUPTED, f"pod {pod.name} was stopped ({end}); {follows}", requeue_after_s)
    return not_ready(Phase.INTERRUPTED, _failure_reason(pod), f"pod {pod.name} failed: {end}; {follows}", requeue_after_s)


def _failure_reason(pod: PodRecord) -> Reason:
    return Reason.INIT_CONTAINER_FAILED if pod.init is not None and pod.init.has_failed else Reason.TRAINER_FAILED


def _explain_stall(pod: PodRecord, warning: WarningEvent) -> str | None:
    """Why the kubelet stopped a trainer after this failed probe; None if the trainer ended for another reason."""
    if warning.message.startswith("Liveness") and _is_cause_of_end(pod, warning):
        return _explain_unhealthy(warning)
    if warning.message.startswith("Startup") and _lived_s(pod) >= STARTUP_S:
        return f"the search had not begun after {STARTUP_S // 60} minutes of imports and data"
    return None


def _describe_next_pod(job: JobRecord, previous: Status, next_s: float | None, *, is_last: bool) -> str:
    """What the Job controller does next, by the rules of the Job."""
    if is_last:
        return f"no other pod follows, because Job {job.name} has failed more often than failurePolicy.backoffLimit allows"
    return f"the next pod {continuation(previous)}" + (f" at about {timestamp(next_s)}" if next_s is not None else "")


def _is_new_failure(pod: PodRecord, previous: Status) -> bool:
    """Whether a failure is seen for the first time: it is announced even after a downtime of the operator."""
    before = verdict_of(previous, ConditionType.TRAINER_READY)
    return trainer_exits.is_failure(pod) and previous.phase is not Phase.INTERRUPTED and (before is None or before.reason not in _FAILURES)


def _is_cause_of_end(pod: PodRecord, warning: WarningEvent) -> bool:
    """Whether the warning came with the end of the pod: a probe that failed long before a crash or a deletion is not its cause."""
    ended_s = pod.end.finished_s if pod.end is not None else None
    return ended_s is not None and abs(ended_s - warning.time_s) <= pod.grace_s + LIVENESS_PERIOD_S


def _explain_unhealthy(warning: WarningEvent) -> str:
    """Status 503 means that no step has finished in time; no answer means that the process is frozen or without CPU."""
    if "statuscode: 503" in warning.message:
        return "no step finished within failurePolicy.stallTimeoutSeconds"
    return f"{LIVENESS_FAILURES} probes of /healthz, {LIVENESS_PERIOD_S} s apart, had no answer within {PROBE_TIMEOUT_S} s"


def _lived_s(pod: PodRecord) -> float:
    return (pod.end.finished_s if pod.end is not None and pod.end.finished_s is not None else pod.created_s) - pod.created_s


def judge_stopping(pod: PodRecord, phase: Phase, now_s: float) -> Readiness:
    """Judge a pod that is being deleted: if that takes too long, its node is unreachable."""
    overdue_s = now_s - (pod.deletion_s or now_s) - intervals.NODE_LOST_S
    if overdue_s < 0 or not pod.node:
        return not_ready(phase, Reason.TERMINATING, f"pod {pod.name} is being stopped", max(-overdue_s, intervals.TERMINATION_REQUEUE_S))
    message = (
        f"node {pod.node} does not confirm that pod {pod.name} has stopped, so no other pod may start; "
        f"repair the node, or delete its Node object (kubectl delete node {pod.node}) if it is gone for good"
    )
    return not_ready(phase, Reason.NODE_UNREACHABLE, message, intervals.BLOCKED_REQUEUE_S)


def _judge_pod(pod: PodRecord, observed: Observed, previous: Status, now_s: float) -> Readiness:
    if pod.is_running:
        return _judge_running(pod, observed.report, previous)
    if pod.unschedulable is not None and pod.scheduled_s is None:
        return _not_created(pod, Reason.UNSCHEDULABLE, pod.unschedulable)
    if pod.init is not None and not _is_being_created(pod):
        return _judge_init_container(pod, pod.init)
    why, message = pod.waiting or ("", "")
    if why not in _CREATING_REASONS:
        return _not_created(pod, _refusal_of_kubelet(why), f"{why}: {message}")
    container = f"init container {pod.init.name}" if pod.init is not None else "container"
    creating_s = _creating_for(pod, now_s)
    if creating_s >= intervals.CONTAINER_EXPECTED_S:
        warning = observed.warning
        reason = Reason.FAILED_MOUNT if warning is not None and warning.reason in _VOLUME_EVENTS else Reason.CONTAINER_NOT_CREATED
        cause = f"{warning.reason}: {warning.message}" if warning is not None else "no event says why"
        message = add_hint(reason, f"pod {pod.name} has had no {container} for {intervals.CONTAINER_EXPECTED_S:.0f} s: {cause}")
        return not_ready(Phase.STARTING, reason, message, intervals.BLOCKED_REQUEUE_S)
    rest_s = intervals.CONTAINER_EXPECTED_S - creating_s
    return not_ready(Phase.STARTING, Reason.POD_STARTING, f"the {container} of pod {pod.name} is being created", rest_s)


def _judge_init_container(pod: PodRecord, init: InitContainer) -> Readiness:
    """Judge a pod whose init container runs, cannot start, or has failed, so that the pod fails at this moment."""
    before = f", restarted {init.num_restarts} times (before: {describe_container_end(init.end)})" if init.num_restarts and init.end else ""
    who = f"init container {init.name} of pod {pod.name}"
    if init.has_failed:
        return not_ready(Phase.STARTING, Reason.INIT_CONTAINER_FAILED, f"pod {pod.name} failed: {describe_end(pod)}")
    if init.started_s is not None:
        sentence = f"{who} has run since {timestamp(init.started_s)}{before}"
        return not_ready(Phase.STARTING, Reason.INIT_CONTAINER_RUNNING, add_hint(Reason.INIT_CONTAINER_RUNNING, sentence))
    why, message = init.waiting or ("", "")
    reason = _refusal_of_kubelet(why)
    return not_ready(Phase.STARTING, reason, add_hint(reason, f"{who}: {why}: {message}{before}", INIT_HINTS))


def _refusal_of_kubelet(why: str) -> Reason:
    """The reason for a container that waits because of `why`."""
    return Reason.IMAGE_PULL_FAILED if why in _IMAGE_REASONS else Reason.CONTAINER_NOT_CREATED


def _not_created(pod: PodRecord, reason: Reason, sentence: str) -> Readiness:
    return not_ready(Phase.STARTING, reason, add_hint(reason, f"pod {pod.name}: {sentence}"))


def _judge_running(pod: PodRecord, report: Report | None, previous: Status) -> Readiness:
    report = report if report is not None and report.pod_uid == pod.uid else None
    before = verdict_of(previous, ConditionType.TRAINER_READY)
    was_running = previous.phase is Phase.RUNNING and not _is_newer(pod, previous)
    has_reported = report is not None and report.progress is not None
    if report is not None and report.is_version_skew:
        return Readiness(phase=Phase.RUNNING, verdict=Verdict(status="Unknown", reason=Reason.VERSION_SKEW, message=report.problem))
    is_expected = has_reported or was_running or (pod.is_started and report is not None and not report.is_early)
    if report is not None and report.misses >= intervals.MAX_MISSES and is_expected:
        message = f"pod {pod.name} runs, but its progress cannot be read: {report.problem}"
        return Readiness(phase=Phase.RUNNING, verdict=Verdict(status="Unknown", reason=Reason.PROGRESS_UNREACHABLE, message=message))
    if before is not None and was_running and not has_reported:
        return Readiness(phase=Phase.RUNNING, verdict=before)  # this operator has just started and has no answer yet
    if has_reported:
        reporting = Verdict(status="True", reason=Reason.REPORTING, message="the trainer reports its progress")
        return Readiness(phase=Phase.RUNNING, verdict=reporting)
    return not_ready(Phase.STARTING, Reason.WAITING_FOR_REPORT, f"pod {pod.name} runs and has not reported yet")


def _is_newer(pod: PodRecord, previous: Status) -> bool:
    """Whether the pod was created after the last transition of TrainerReady, which then describes another pod."""
    since = next((c.last_transition_time for c in previous.conditions if c.type == ConditionType.TRAINER_READY), None)
    flipped_s = epoch(since)
    return flipped_s is not None and pod.created_s > flipped_s

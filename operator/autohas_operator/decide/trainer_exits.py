"""The ends of trainers: what each exit code and each end of a pod means, and how it ends the search. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from autohas_api.base.exit_codes import FATAL_EXIT_CODES, ExitCode
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_api.wire.messages import MessageError, Result, decode_termination_message
from autohas_api.wire.reasons import Reason
from autohas_api.wire.result import search_result
from autohas_api.wire.status import MAX_LOST_PODS, SearchResult
from autohas_operator.decide.termination_message import describe_end
from autohas_operator.records.observed import IgnoredPod, JobFailure, JobRecord, PodRecord
from autohas_operator.wording import clean

_LOST_CONTAINERS: Final = frozenset({"Unknown", "ContainerStatusUnknown"})
"""Reasons of containerd (after a reboot) and of the kubelet (after a restart of the runtime) for an end that they have not observed."""
_LOST_PODS: Final = frozenset({"NodeLost", "NodeShutdown"})
_EVICTED: Final = "Evicted"
"""The kubelet's reason of a pod that it has evicted, with the condition DisruptionTarget where the node was short of something."""
_NEVER_STARTED: Final = ("StartError", "ContainerCannotRun")
"""Reasons of the kubelet for a container that has ended without running."""

FAILURE_REASONS: Final[dict[int, Reason]] = {
    ExitCode.USAGE: Reason.CONFIG_ERROR,
    ExitCode.CONFIGURATION: Reason.CONFIG_ERROR,
    ExitCode.DATA: Reason.DATA_ERROR,
    ExitCode.NO_CHECKPOINT: Reason.NO_USABLE_CHECKPOINT,
    ExitCode.NUMERICAL: Reason.NUMERICAL_FAILURE,
}
"""Reason of the condition Succeeded for the exit codes that fail a search at once."""
_BY_RULE: Final = "PodFailurePolicy"
"""The Job controller's reason if a rule of podFailurePolicy failed the Job."""
BY_LIMIT: Final = Reason.BACKOFF_LIMIT_EXCEEDED
"""The Job controller's reason if more pods failed than backoffLimit allows."""
_SIGKILL: Final = 137
_END_WORDS: Final = {_SIGKILL: "Killed", **{int(code): code.name.title().replace("_", "") for code in ExitCode}}
_EXIT_CODE_IN_JOB: Final = re.compile(r"failed with exit code (\d{1,3}) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a search ended: with a `result`, or without one because of `reason`."""

    reason: Reason
    message: str
    result: SearchResult | None = None


def successful_pod(pods: tuple[PodRecord, ...]) -> PodRecord | None:
    """The pod whose trainer exited with 0."""
    return next((pod for pod in pods if pod.end is not None and pod.end.exit_code == ExitCode.RESULT), None)


def has_termination_message(pod: PodRecord) -> bool:
    """Whether the trainer left a termination message."""
    return pod.end is not None and bool(pod.end.message.strip())


def judge_result(pod: PodRecord, search: Search, space: Space) -> Ending:
    """The ending after exit code 0: success only if the termination message is a valid result of this search, pod and attempt."""
    try:
        result = _check_result(pod, search, space)
    except MessageError as error:
        message = f"the trainer exited with 0, but its result cannot be trusted: {clean(str(error), 512)}"
        return Ending(reason=Reason.RESULT_INVALID, message=message)
    score = result.scores.test
    return Ending(reason=Reason.RESULT_STORED, message=f"{result.scores.metric} {score} on the test split", result=result)


def _check_result(pod: PodRecord, search: Search, space: Space) -> SearchResult:
    text = pod.end.message if pod.end is not None else ""
    message = decode_termination_message(text.strip().encode(errors="replace"))
    if not isinstance(message, Result):
        raise MessageError(f"exit code 0 with a message of kind {message.kind}")
    identity = (message.search_uid, message.pod_uid, message.attempt)
    if identity != (search.metadata.uid, pod.uid, pod.attempt):
        raise MessageError(f"message is of search {message.search_uid}, pod {message.pod_uid}, attempt {message.attempt}")
    result = search_result(message, search.spec, space, model_path(search))
    return result.replace(stop_reason=clean(result.stop_reason, 64))


def model_path(search: Search) -> str | None:
    """Folder of the model on the claim; None without a claim."""
    if search.spec.checkpoint.storage.persistent_volume_claim is None:
        return None
    identity = search.metadata
    return f"{identity.namespace}/{identity.name}/{identity.uid}/"


def judge_failure(job: JobRecord, failure: JobFailure, pods: tuple[PodRecord, ...]) -> Ending:
    """Why a Job failed, with the trainer's own sentence if there is one."""
    fatal = fatal_pod(pods)
    quoted = _EXIT_CODE_IN_JOB.search(failure.message)
    code = fatal.end.exit_code if fatal is not None and fatal.end is not None else int(quoted[1]) if quoted else -1
    if failure.reason == _BY_RULE or fatal is not None:
        reason = FAILURE_REASONS.get(code, Reason.TRAINER_FAILED)
    else:
        reason = Reason(failure.reason) if failure.reason in (BY_LIMIT, Reason.DEADLINE_EXCEEDED) else Reason.JOB_FAILED
    last = fatal or next((p for p in reversed(pods) if p.last_end is not None or p.reason), None)
    sentence = describe_end(last) if last is not None else ""
    return Ending(reason=reason, message=clean(sentence or failure.message or f"Job {job.name} failed"))


def is_failure(pod: PodRecord) -> bool:
    """Whether a pod failed and was not interrupted: it counts towards backoffLimit."""
    has_failed = pod.end.exit_code != ExitCode.RESULT if pod.end is not None else pod.phase == "Failed"
    return has_failed and not is_interruption(pod)


def num_failures(job: JobRecord, pods: tuple[PodRecord, ...]) -> int:
    """Failures of one Job: those that its controller counted, minus the lost pods, which the controller counts too."""
    return max(0, job.num_failed - len(lost_pods(job, pods)), sum(is_failure(pod) for pod in pods))


def lost_pods(job: JobRecord, pods: tuple[PodRecord, ...]) -> tuple[str, ...]:
    """Uids of a Job's lost pods, which its controller counts as failures; those noted in status come first.

    A pod is kept after it is deleted with its node, or marked as a disruption after its Job has counted it. The Job controller counts a
    pod only when it is over.
    """
    newly_lost = (pod.uid for pod in pods if is_lost(pod) and pod.is_over)
    return tuple(dict.fromkeys((*job.lost_pods, *newly_lost)))[:MAX_LOST_PODS]


def certain_failure(job: JobRecord, pods: tuple[PodRecord, ...]) -> JobFailure | None:
    """The failure of a Job that its controller has not reported yet, or never will.

    The controller ignores exit code 75, with which a trainer ends in order within the second of grace that the kubelet gives a pod which
    exceeds a limit of its own.
    """
    if (expected := expected_failure(job, pods)) is not None:
        return expected
    is_ignored = any(exceeds_own_limit(pod) and _is_stopped(pod) for pod in pods)
    return JobFailure(reason=BY_LIMIT, message="") if is_ignored and num_failures(job, pods) > job.backoff_limit else None


def expected_failure(job: JobRecord, pods: tuple[PodRecord, ...]) -> JobFailure | None:
    """The failure that the Job's rules (see `manifests`) imply: its controller makes no further pod.

    The controller counts pods that have ended; a pod with a running sidecar has not.
    """
    if fatal_pod(pods) is not None:
        return JobFailure(reason=_BY_RULE, message="")
    is_last_seen = bool(pods) and pods[-1].is_outlived and is_failure(pods[-1])
    if is_last_seen and num_failures(job, pods) > job.backoff_limit:
        return JobFailure(reason=BY_LIMIT, message="")
    return None


def is_failed_by_lost_pods(job: JobRecord, pods: tuple[PodRecord, ...]) -> bool:
    """Whether a Job gave up only because its controller counted lost pods as failures."""
    is_exhausted = job.failure is not None and job.failure.reason == BY_LIMIT
    return is_exhausted and bool(lost_pods(job, pods)) and num_failures(job, pods) <= job.backoff_limit


def fatal_pod(pods: tuple[PodRecord, ...]) -> PodRecord | None:
    """The newest pod whose exit code would be the same in a repetition."""
    return next((p for p in reversed(pods) if p.end is not None and p.end.exit_code in FATAL_EXIT_CODES), None)


def has_started(pod: PodRecord) -> bool:
    """Whether the trainer container has run."""
    return pod.is_running or (pod.end is not None and pod.end.reason not in _NEVER_STARTED)


def is_ended_by_ignored_pods(job: JobRecord, pods: tuple[PodRecord, ...], ignored: tuple[IgnoredPod, ...]) -> bool:
    """Whether ignored pods have ended a Job whose own pods do not explain its end."""
    if not any(item.pod.is_over for item in ignored):
        return False
    if job.failure is None:
        return job.is_complete and successful_pod(pods) is None
    if job.failure.reason not in (_BY_RULE, BY_LIMIT):
        return False
    return fatal_pod(pods) is None and sum(is_failure(pod) for pod in pods) <= job.backoff_limit


def is_interruption(pod: PodRecord) -> bool:
    """Whether a pod was ended from outside: stopped on request, evicted, preempted or lost."""
    return pod.disruption is not None or is_lost(pod) or (_is_stopped(pod) and not exceeds_own_limit(pod))


def _is_stopped(pod: PodRecord) -> bool:
    """Whether the trainer says that it was stopped on request."""
    return pod.end is not None and pod.end.exit_code == ExitCode.INTERRUPTED


def exceeds_own_limit(pod: PodRecord) -> bool:
    """Whether the kubelet evicted a pod because it exceeds a limit of its own (an emptyDir, ephemeral-storage), as the next pod would too.

    The kubelet gives such a pod no DisruptionTarget.
    """
    return pod.reason == _EVICTED and pod.disruption is None


def is_lost(pod: PodRecord) -> bool:
    """Whether the kubelet did not observe the end of a pod: its node rebooted, or its container runtime was restarted.

    The exit code is then a placeholder (255 or 137), and the Job's rules, which cannot match reasons, count it as a failure.
    """
    is_unseen = pod.last_end is not None and pod.last_end.reason in _LOST_CONTAINERS and not exceeds_own_limit(pod)
    return pod.disruption is None and (is_unseen or pod.reason in _LOST_PODS)


def end_word(pod: PodRecord) -> str:
    """How a trainer ended, as a label of low cardinality for metrics."""
    if is_lost(pod):
        return "Lost"
    if is_interruption(pod):
        return "Disrupted" if pod.disruption is not None else "Interrupted"
    if pod.end is None:
        return "Unknown"
    if pod.end.reason == "OOMKilled":
        return "OOMKilled"
    return _END_WORDS.get(pod.end.exit_code, "Other")

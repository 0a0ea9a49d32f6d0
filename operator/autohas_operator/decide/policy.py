"""What counts as what: exit codes, waiting times, and how an ended trainer is judged. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from autohas_api.base.names import FATAL_EXIT_CODES, ExitCode
from autohas_api.space.decisions import Space
from autohas_api.spec.search import Search
from autohas_api.wire.messages import MessageError, Result, decode_termination_message
from autohas_api.wire.reasons import Reason
from autohas_api.wire.result import search_result
from autohas_api.wire.status import MAX_LOST_PODS, SearchResult
from autohas_operator.decide.termination_message import describe_end
from autohas_operator.records.observed import IgnoredPod, JobFailure, JobRecord, PodRecord
from autohas_operator.wording import clean

PODS_EXPECTED_S: Final = 20.0
"""A Job without a pod for longer is reported with the message of its newest event: a refused
pod leaves no other trace."""
CONTAINER_EXPECTED_S: Final = 60.0
"""A scheduled pod without a container for longer is reported with the message of its newest event."""
NODE_LOST_S: Final = 60.0
"""A pod that should have been gone for so long sits on a node that does not answer."""
QUOTA_EXPECTED_S: Final = 600.0
"""A Job that waits longer for quota is worth a warning."""
MAX_MISSES: Final = 3
"""Polls without an answer after which a trainer counts as unreachable."""
PROGRESS_WRITE_S: Final = 15.0
"""Least time between two writes of status that change progress only."""
STALE_PERIODS: Final = 2.0
"""A checkpoint older than so many of its periods is stale."""
STALE_SLACK_S: Final = 60.0
"""Added to the above: a step and a poll may take their time."""
MAX_IGNORED_ENDS: Final = 3
"""Interruptions of one Job after which it is recreated: its back-off has grown to 40 s by then."""
OVERTIME: Final = 1.2
"""Multiple of budget.maxActiveSeconds after which the operator ends a search that its trainer should have ended."""
BACKOFF_S: Final = 10.0
MAX_BACKOFF_S: Final = 600.0
"""How long the Job controller waits for the next pod: the first, doubled with each ended pod up to the second."""
TERMINATION_REQUEUE_S: Final = 5.0
"""Seconds until the next look at pods and Jobs that are being deleted, in case their watch event is lost."""
BLOCKED_REQUEUE_S: Final = 30.0
"""Seconds until the next look at the events of a blocked child, and until the first retry of a refused request."""
MAX_RETRY_S: Final = 600.0
"""Upper bound of the retry interval, so that one namespace without quota cannot exhaust the shared write budget."""

TOUCH_S: Final = 120.0
MAX_TOUCH_S: Final = 1800.0
"""A Job without a living pod is annotated after the first, then at intervals that double up to the second: after an outage of the API
server the Job controller of Kubernetes 1.35 left a Job without a pod for 11 minutes (measured), until an annotation woke it."""

SIDECAR_S: Final = 30.0
"""Time for the other containers of a pod to end after its trainer; then its Job is deleted."""
_LOST_CONTAINERS: Final = frozenset({"Unknown", "ContainerStatusUnknown"})
"""Reasons that containerd (after a reboot) and the kubelet (after a restart of the runtime) give for ends that they have not seen."""
_LOST_PODS: Final = frozenset({"NodeLost", "NodeShutdown"})
_NEVER_STARTED: Final = ("StartError", "ContainerCannotRun")
"""Reasons of the kubelet for a container that has ended and never ran."""

FAILURE_REASONS: Final[dict[int, Reason]] = {
    ExitCode.USAGE: Reason.CONFIG_ERROR,
    ExitCode.CONFIGURATION: Reason.CONFIG_ERROR,
    ExitCode.DATA: Reason.DATA_ERROR,
    ExitCode.NO_CHECKPOINT: Reason.NO_USABLE_CHECKPOINT,
    ExitCode.NUMERICAL: Reason.NUMERICAL_FAILURE,
}
"""Reason of the condition Succeeded for the exit codes that fail a search at once."""
_BY_RULE: Final = "PodFailurePolicy"
"""The Job controller's reason when a rule of the Job's podFailurePolicy failed it."""
BY_LIMIT: Final = Reason.BACKOFF_LIMIT_EXCEEDED
"""The Job controller's reason when more pods failed than the Job's backoffLimit allows."""
_SIGKILL: Final = 137
_END_WORDS: Final = {_SIGKILL: "Killed", **{int(code): code.name.title().replace("_", "") for code in ExitCode}}
_EXIT_CODE_IN_JOB: Final = re.compile(r"failed with exit code (\d{1,3}) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a search ended: with a `result`, or without one for `reason`."""

    reason: Reason
    message: str
    result: SearchResult | None = None


def successful_pod(pods: tuple[PodRecord, ...]) -> PodRecord | None:
    """The pod whose trainer exited with 0."""
    return next((pod for pod in pods if pod.end is not None and pod.end.exit_code == ExitCode.RESULT), None)


def has_termination_message(pod: PodRecord) -> bool:
    """Whether its trainer left any message."""
    return pod.end is not None and bool(pod.end.message.strip())


def judge_result(pod: PodRecord, search: Search, space: Space) -> Ending:
    """What the last word of a trainer that exited with 0 is worth: never success unless everything fits."""
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
    """Folder of the model on the claim; None when the disk dies with the pod."""
    if search.spec.checkpoint.storage.persistent_volume_claim is None:
        return None
    identity = search.metadata
    return f"{identity.namespace}/{identity.name}/{identity.uid}/"


def judge_failure(job: JobRecord, failure: JobFailure, pods: tuple[PodRecord, ...]) -> Ending:
    """Why a failed Job failed, in the trainer's own sentence where there is one."""
    fatal = fatal_pod(pods)
    quoted = _EXIT_CODE_IN_JOB.search(failure.message)
    code = fatal.end.exit_code if fatal is not None and fatal.end is not None else int(quoted[1]) if quoted else -1
    if failure.reason == _BY_RULE or fatal is not None:
        reason = FAILURE_REASONS.get(code, Reason.TRAINER_FAILED)
    else:
        reason = Reason(failure.reason) if failure.reason in (BY_LIMIT, Reason.DEADLINE_EXCEEDED) else Reason.JOB_FAILED
    last = fatal or next((p for p in reversed(pods) if p.end is not None or p.reason), None)
    sentence = describe_end(last) if last is not None else ""
    return Ending(reason=reason, message=clean(sentence or failure.message or f"Job {job.name} failed"))


def is_failure(pod: PodRecord) -> bool:
    """Whether a pod ended, or never began, through what is no interruption: it counts towards backoffLimit."""
    has_failed = pod.end.exit_code != ExitCode.RESULT if pod.end is not None else pod.phase == "Failed"
    return has_failed and not is_interruption(pod)


def num_failures(job: JobRecord, pods: tuple[PodRecord, ...]) -> int:
    """Failures of one Job: what its controller counted, less the lost pods, which it cannot tell from failures."""
    return max(0, job.num_failed - len(lost_pods(job, pods)), sum(is_failure(pod) for pod in pods))


def lost_pods(job: JobRecord, pods: tuple[PodRecord, ...]) -> tuple[str, ...]:
    """Uids of the pods of a Job that were lost and that its controller counts as failures, the remembered ones first.

    A pod stays among them when it is deleted with its node, or marked as a disruption after its Job has counted it. A Job judges
    a pod when it is over, not before.
    """
    newly_lost = (pod.uid for pod in pods if is_lost(pod) and pod.is_over)
    return tuple(dict.fromkeys((*job.lost_pods, *newly_lost)))[:MAX_LOST_PODS]


def certain_failure(job: JobRecord, pods: tuple[PodRecord, ...]) -> JobFailure | None:
    """The failure that the rules in the Job (see `manifests`) make of ends which its controller has not judged yet, or never will.

    It judges pods that have ended; one that a sidecar outlives has not.
    """
    if fatal_pod(pods) is not None:
        return JobFailure(reason=_BY_RULE, message="")
    is_last_seen = bool(pods) and pods[-1].is_outlived and is_failure(pods[-1])
    if is_last_seen and num_failures(job, pods) > job.backoff_limit:
        return JobFailure(reason=BY_LIMIT, message="")
    return None


def is_forgiven(job: JobRecord, pods: tuple[PodRecord, ...]) -> bool:
    """Whether a Job gave up only because its controller counted lost pods as failures."""
    is_exhausted = job.failure is not None and job.failure.reason == BY_LIMIT
    return is_exhausted and bool(lost_pods(job, pods)) and num_failures(job, pods) <= job.backoff_limit


def fatal_pod(pods: tuple[PodRecord, ...]) -> PodRecord | None:
    """The newest pod whose trainer ended in a way that a repetition would repeat."""
    return next((p for p in reversed(pods) if p.end is not None and p.end.exit_code in FATAL_EXIT_CODES), None)


def outlived_s(pod: PodRecord, now_s: float) -> float | None:
    """Seconds for which other containers have outlived the trainer of a pod; None when they have not."""
    if not pod.is_outlived or pod.end is None:
        return None
    return now_s - pod.end.finished_s if pod.end.finished_s is not None else SIDECAR_S


def has_started(pod: PodRecord) -> bool:
    """Whether its trainer container has run."""
    return pod.is_running or (pod.end is not None and pod.end.reason not in _NEVER_STARTED)


def is_spoiled(job: JobRecord, pods: tuple[PodRecord, ...], ignored: tuple[IgnoredPod, ...]) -> bool:
    """Whether a Job was ended by pods that count for nothing, and its own pods do not explain its end."""
    if not any(item.pod.is_over for item in ignored):
        return False
    if job.failure is None:
        return job.is_complete and successful_pod(pods) is None
    if job.failure.reason not in (_BY_RULE, BY_LIMIT):
        return False
    return fatal_pod(pods) is None and sum(is_failure(pod) for pod in pods) <= job.backoff_limit


def next_pod_s(pods: tuple[PodRecord, ...]) -> float | None:
    """About when the Job controller makes the next pod; None when the end of the newest is not known."""
    ended = [pod.end for pod in pods if pod.end is not None]
    if not ended or ended[-1].finished_s is None:
        return None
    return ended[-1].finished_s + min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(len(ended) - 1, 32))


def next_touch_s(job: JobRecord, pods: tuple[PodRecord, ...], reported_s: float | None) -> float | None:
    """When to touch a Job next, should nothing change till then; None while it has a living pod or is suspended.

    `reported_s` is when its trainer last said something. All times are seconds since the epoch.
    """
    if job.is_suspended or any(not pod.is_over for pod in pods):
        return None
    ends = (pod.end.finished_s for pod in pods if pod.end is not None)
    quiet_s = max(moment for moment in (job.created_s, job.resumed_s, reported_s, *ends) if moment is not None)
    last_s = max(quiet_s, job.touched_s or 0.0)
    return last_s + min(MAX_TOUCH_S, max(TOUCH_S, last_s - quiet_s))


def retry_s(since_s: float | None, now_s: float) -> float:
    """How soon to ask again for what has been refused since then: the distances double, within their bounds."""
    age_s = now_s - since_s if since_s is not None else 0.0
    return min(MAX_RETRY_S, max(BLOCKED_REQUEUE_S, age_s))


def is_interruption(pod: PodRecord) -> bool:
    """Whether a pod ended through no fault of its own: stopped on request, evicted, preempted, lost."""
    return pod.disruption is not None or is_lost(pod) or (pod.end is not None and pod.end.exit_code == ExitCode.INTERRUPTED)


def is_lost(pod: PodRecord) -> bool:
    """Whether the kubelet did not see the end of a pod: its node rebooted, or its container runtime was restarted.

    The exit code is made up then (255 and 137), and the Job's rules, which see no reasons, count it as a failure.
    """
    is_unseen = pod.end is not None and pod.end.reason in _LOST_CONTAINERS
    return pod.disruption is None and (is_unseen or pod.reason in _LOST_PODS)


def end_word(pod: PodRecord) -> str:
    """How a trainer ended, in one of few words, for metrics."""
    if is_lost(pod):
        return "Lost"
    if is_interruption(pod):
        return "Disrupted" if pod.disruption is not None else "Interrupted"
    if pod.end is None:
        return "Unknown"
    if pod.end.reason == "OOMKilled":
        return "OOMKilled"
    return _END_WORDS.get(pod.end.exit_code, "Other")

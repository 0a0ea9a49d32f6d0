"""Intervals and limits of the decisions: how long each state may last, and when the operator looks again. Pure."""

from __future__ import annotations

from typing import Final

from autohas_operator.records.observed import JobRecord, PodRecord

PODS_EXPECTED_S: Final = 20.0
"""A Job without a pod for longer is reported with the message of its newest event: a refused
pod leaves no other trace."""
CONTAINER_EXPECTED_S: Final = 60.0
"""A scheduled pod without a container for longer is reported with the message of its newest event."""
NODE_LOST_S: Final = 60.0
"""A pod that exceeds its deletion time by more is on an unreachable node."""
QUOTA_EXPECTED_S: Final = 600.0
"""A Job that waits longer for quota causes a warning."""
MAX_MISSES: Final = 3
"""Polls without an answer after which a trainer counts as unreachable."""
PROGRESS_WRITE_S: Final = 15.0
"""Least time between two writes of status that change progress only."""
STALE_PERIODS: Final = 2.0
"""Age, in checkpoint periods, beyond which a checkpoint is stale."""
STALE_SLACK_S: Final = 60.0
"""Added to that age for the time of a step and of a poll."""
MAX_IGNORED_ENDS: Final = 3
"""Interruptions of one Job after which it is recreated: its back-off has grown to 40 s by then."""
OVERTIME: Final = 1.2
"""Multiple of budget.maxActiveSeconds after which the operator ends a search that its trainer should have ended."""
BACKOFF_S: Final = 10.0
MAX_BACKOFF_S: Final = 600.0
"""Back-off of the Job controller before the next pod: BACKOFF_S, doubled with each ended pod up to MAX_BACKOFF_S."""
TERMINATION_REQUEUE_S: Final = 5.0
"""Seconds until the next look at pods and Jobs that are being deleted, in case their watch event is lost."""
BLOCKED_REQUEUE_S: Final = 30.0
"""Seconds until the next look at the events of a blocked child, and until the first retry of a refused request."""
MAX_RETRY_S: Final = 600.0
"""Upper bound of the retry interval, so that one namespace without quota cannot exhaust the shared write budget."""

TOUCH_S: Final = 120.0
MAX_TOUCH_S: Final = 1800.0
"""A Job without a running pod is annotated after TOUCH_S, then at intervals that double up to MAX_TOUCH_S: after an outage of the API
server the Job controller of Kubernetes 1.35 left a Job without a pod for 11 minutes (measured), until an annotation woke it."""

SIDECAR_S: Final = 30.0
"""Time that the other containers of a pod get to end after its trainer; then its Job is deleted."""


def outlived_s(pod: PodRecord, now_s: float) -> float | None:
    """Seconds since the trainer of a pod ended while other containers still run; None if none runs."""
    if not pod.is_outlived or pod.end is None:
        return None
    return now_s - pod.end.finished_s if pod.end.finished_s is not None else SIDECAR_S


def next_pod_s(pods: tuple[PodRecord, ...]) -> float | None:
    """Estimated time at which the Job controller creates the next pod; None if the end of the newest pod is unknown."""
    ended = [pod.last_end for pod in pods if pod.last_end is not None]
    if not ended or ended[-1].finished_s is None:
        return None
    return ended[-1].finished_s + min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(len(ended) - 1, 32))


def next_touch_s(job: JobRecord, pods: tuple[PodRecord, ...], reported_s: float | None) -> float | None:
    """When to annotate a Job next if nothing changes until then; None while it has a running pod or is suspended.

    `reported_s` is the time of its trainer's last report. All times are seconds since the epoch.
    """
    if job.is_suspended or any(not pod.is_over for pod in pods):
        return None
    ends = (pod.last_end.finished_s for pod in pods if pod.last_end is not None)
    quiet_s = max(moment for moment in (job.created_s, job.resumed_s, reported_s, *ends) if moment is not None)
    last_s = max(quiet_s, job.touched_s or 0.0)
    return last_s + min(MAX_TOUCH_S, max(TOUCH_S, last_s - quiet_s))


def retry_s(since_s: float | None, now_s: float) -> float:
    """Seconds until the next retry of a request refused since then: as long again, within BLOCKED_REQUEUE_S and MAX_RETRY_S."""
    age_s = now_s - since_s if since_s is not None else 0.0
    return min(MAX_RETRY_S, max(BLOCKED_REQUEUE_S, age_s))

"""What is left to do when a search has ended: stop what a limit has ended, and clean up when its time has come. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autohas_api.spec.search import Search
from autohas_api.wire.status import Status
from autohas_operator.decide import policy
from autohas_operator.records.observed import JobRecord, Observed, child_name
from autohas_operator.wording import epoch

_MOST_CONFIG_MAPS: Final = 100
_LATER_S: Final = 3600
"""Kubernetes deletes a Job this much later than the operator would, who is first wherever it runs and keeps to an edited time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp:
    """Delete these ConfigMaps, where they are ours, then these Jobs (name, uid) with their pods.

    `expiring` (name, uid, seconds): Jobs that get this `ttlSecondsAfterFinished`.
    """

    config_maps: tuple[str, ...]
    jobs: tuple[tuple[str, str], ...]
    expiring: tuple[tuple[str, str, int], ...] = ()


def plan_cleanup(search: Search, observed: Observed, status: Status, now_s: float) -> tuple[CleanUp | None, float | None]:
    """What to delete now, or in how many seconds there will be something to delete.

    A Job that still works when the search has ended goes at once. What has ended stays for cleanup.ttlSecondsAfterFinished, so that its
    log can be read, unless a sidecar keeps its pod alive; it then gets its `ttlSecondsAfterFinished`, for the case that its search is
    deleted with `--cascade=orphan`. The ConfigMaps of the last hundred attempts go before (older ones with the search itself: a forged
    number must not cost a thousand requests). The Jobs are last: while one is left, this is tried again.
    """
    left = [job for job in observed.own_jobs if not job.is_deleting]
    if not left:
        return None, None
    due_s = (epoch(status.completion_time) or now_s) + search.spec.cleanup.ttl_seconds_after_finished - now_s
    held_s = (epoch(status.completion_time) or now_s) + policy.SIDECAR_S - now_s
    if any(_is_held(job, observed) for job in left):
        due_s = min(due_s, held_s)
    config_maps = () if all(job.ttl_s is not None for job in left) else _config_maps(observed, status, left[-1])
    if due_s > 0 and all(_has_ended(job, observed) for job in left):
        return _expire(left, config_maps, search.spec.cleanup.ttl_seconds_after_finished + _LATER_S), due_s
    return CleanUp(config_maps=config_maps, jobs=tuple((job.name, job.uid) for job in left)), None


def _expire(left: Sequence[JobRecord], config_maps: tuple[str, ...], ttl_s: int) -> CleanUp | None:
    """Delete what is of no use any more, and give the Jobs that are kept for their logs a time to live; nothing before all have ended."""
    over = all(job.is_complete or job.failure is not None for job in left)
    expiring = tuple((job.name, job.uid, ttl_s) for job in left if job.ttl_s is None or job.ttl_s < ttl_s)
    return CleanUp(config_maps=config_maps, jobs=(), expiring=expiring) if over and expiring else None


def _config_maps(observed: Observed, status: Status, last: JobRecord) -> tuple[str, ...]:
    newest = max(status.attempt or 0, last.attempt)
    numbers = range(max(1, newest - _MOST_CONFIG_MAPS + 1), newest + 1)
    return tuple(child_name(observed.search, number) for number in numbers)


def _has_ended(job: JobRecord, observed: Observed) -> bool:
    """The Job controller said so, or the trainer has and the Job controller will."""
    pods = observed.pods_of(job)
    is_over = job.is_complete or job.failure is not None
    return is_over or policy.successful_pod(pods) is not None or policy.certain_failure(job, pods) is not None


def _is_held(job: JobRecord, observed: Observed) -> bool:
    """Whether a sidecar keeps a pod, and with it its GPU, though the trainer has ended."""
    return any(pod.is_outlived for pod in observed.pods_of(job))

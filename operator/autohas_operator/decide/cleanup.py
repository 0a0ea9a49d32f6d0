"""Clean-up after a search has ended: delete what a limit stopped, and the rest after its time to live. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autohas_api.spec.search import Search
from autohas_api.wire.status import Status
from autohas_operator.decide import intervals, trainer_exits
from autohas_operator.records.observed import JobRecord, Observed, child_name
from autohas_operator.wording import epoch

_MOST_CONFIG_MAPS: Final = 100
_LATER_S: Final = 3600
"""Seconds by which the Job's own time to live exceeds the operator's, so that the operator deletes first and follows an edited value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp:
    """Delete those of these ConfigMaps that belong to the search, then these Jobs (name, uid) with their pods.

    `expiring` (name, uid, seconds): Jobs whose `ttlSecondsAfterFinished` is set.
    """

    config_maps: tuple[str, ...]
    jobs: tuple[tuple[str, str], ...]
    expiring: tuple[tuple[str, str, int], ...] = ()


def plan_cleanup(search: Search, observed: Observed, status: Status, now_s: float) -> tuple[CleanUp | None, float | None]:
    """The clean-up due now, or the seconds until the next one.

    A Job that still runs when the search has ended is deleted at once. A finished one stays for cleanup.ttlSecondsAfterFinished, so that
    its log can be read, unless a sidecar keeps its pod alive. It gets its own `ttlSecondsAfterFinished`, in case its search is deleted
    with `--cascade=orphan`. The ConfigMaps of the last hundred attempts are deleted first; older ones are deleted with the search, so
    that a forged attempt number cannot cost a thousand requests. The Jobs are last: while one is left, the clean-up is repeated.
    """
    left = [job for job in observed.own_jobs if not job.is_deleting]
    if not left:
        return None, None
    due_s = (epoch(status.completion_time) or now_s) + search.spec.cleanup.ttl_seconds_after_finished - now_s
    held_s = (epoch(status.completion_time) or now_s) + intervals.SIDECAR_S - now_s
    if any(_is_held(job, observed) for job in left):
        due_s = min(due_s, held_s)
    config_maps = () if all(job.ttl_s is not None for job in left) else _config_maps(observed, status, left[-1])
    if due_s > 0 and all(_has_ended(job, observed) for job in left):
        return _expire(left, config_maps, search.spec.cleanup.ttl_seconds_after_finished + _LATER_S), due_s
    return CleanUp(config_maps=config_maps, jobs=tuple((job.name, job.uid) for job in left)), None


def _expire(left: Sequence[JobRecord], config_maps: tuple[str, ...], ttl_s: int) -> CleanUp | None:
    """Delete the ConfigMaps and set the time to live of the Jobs that are kept for their logs, once all Jobs have finished."""
    over = all(job.is_complete or job.failure is not None for job in left)
    expiring = tuple((job.name, job.uid, ttl_s) for job in left if job.ttl_s is None or job.ttl_s < ttl_s)
    return CleanUp(config_maps=config_maps, jobs=(), expiring=expiring) if over and expiring else None


def _config_maps(observed: Observed, status: Status, last: JobRecord) -> tuple[str, ...]:
    newest = max(status.attempt or 0, last.attempt)
    numbers = range(max(1, newest - _MOST_CONFIG_MAPS + 1), newest + 1)
    return tuple(child_name(observed.search, number) for number in numbers)


def _has_ended(job: JobRecord, observed: Observed) -> bool:
    """Whether the Job has finished, or will, because its trainer has ended."""
    pods = observed.pods_of(job)
    is_over = job.is_complete or job.failure is not None
    return is_over or trainer_exits.successful_pod(pods) is not None or trainer_exits.expected_failure(job, pods) is not None


def _is_held(job: JobRecord, observed: Observed) -> bool:
    """Whether a sidecar keeps a pod alive, and with it its GPU, after the trainer has ended."""
    return any(pod.is_outlived for pod in observed.pods_of(job))

"""Events: what a person is told when a status changes, derived from the status before and after. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from autohas_api.base.names import KIND
from autohas_api.wire.messages import NOTICE_TYPES
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide.conditions import Verdict, verdict_of
from autohas_operator.records.observed import Report
from autohas_operator.wording import MAX_EVENT_MESSAGE, clean

_WORTH_A_WARNING: Final = frozenset(
    {
        "PodsNotCreated",
        "QuotaExceeded",
        "NamespaceTerminating",
        "Unschedulable",
        "ImagePullFailed",
        "ContainerNotCreated",
        "FailedMount",
        "NodeUnreachable",
        "NameConflict",
        "JobForbidden",
        "JobNotCreated",
        "OperatorForbidden",
        "TrainerFailed",
        "Stalled",
        "SidecarRunning",
    }
)
_NO_INTERRUPTIONS: Final = frozenset({"TrainerFailed", "Stalled"})
"""Why a trainer ended by its own fault: their own events say it."""
_STOPS: Final = frozenset(
    {"Interrupted", "PodLost", "BackOff", "Terminating", "NodeUnreachable", "SidecarRunning", "JobDeleted", "JobReplaced"}
)
"""Why a trainer that was still starting ended; other reasons of the phase Interrupted say that the next pod is not there yet."""
_NAMED_ENDS: Final = frozenset({"ResultInvalid", "NumericalFailure"})
"""Ends that have an event of their own before SearchFailed."""
EVENT_NAMES: Final = {"Unschedulable": "TrainerUnschedulable", "Stalled": "SearchStalled"}
"""Where an event beside its condition would be read without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One event to be."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


_LOG_EVENTS: Final = {"SearchInterrupted": "trainer interrupted"}


def log_event(announcement: Announcement) -> str:
    """What happened, as a log names it: `search failed` for SearchFailed."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", announcement.reason).lower()
    return _LOG_EVENTS.get(announcement.reason, words)


def announcements(before: Status, after: Status, report: Report | None) -> tuple[Announcement, ...]:
    """The events of one status change, in the order of what happened."""
    told = (
        *_acceptance(before, after),
        *_pauses(before, after),
        *_admission(before, after),
        *_attempts(before, after),
        *_trainer(before, after),
        *_notices(before, report),
        *_end(before, after),
    )
    return tuple(Announcement(type=a.type, reason=a.reason, message=clean(a.message, MAX_EVENT_MESSAGE)) for a in told)


def _changed(before: Status, after: Status, kind: ConditionType) -> Verdict | None:
    """The new verdict when status or reason changed."""
    old, new = verdict_of(before, kind), verdict_of(after, kind)
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return None
    return new


def _acceptance(before: Status, after: Status) -> Iterator[Announcement]:
    verdict = _changed(before, after, ConditionType.ACCEPTED)
    if verdict is not None and verdict.status == "True":
        yield Announcement(type="Normal", reason="SearchAccepted", message=verdict.message)
    elif verdict is not None and verdict.reason == "VersionSkew":
        yield Announcement(type="Warning", reason="VersionSkew", message=verdict.message)
    elif verdict is not None and verdict.status == "False":
        yield Announcement(type="Warning", reason="SearchRejected", message=verdict.message)
    storage = _changed(before, after, ConditionType.CHECKPOINT_READY)
    if storage is not None and storage.reason == "NotDurable":
        yield Announcement(type="Warning", reason="CheckpointNotDurable", message=storage.message)
    elif storage is not None and storage.reason == "Stale":
        yield Announcement(type="Warning", reason="CheckpointStale", message=storage.message)


def _pauses(before: Status, after: Status) -> Iterator[Announcement]:
    paused = _changed(before, after, ConditionType.RECONCILIATION_PAUSED)
    if paused is not None and paused.status == "True":
        yield Announcement(type="Normal", reason="ReconciliationPaused", message=paused.message)
    elif paused is not None and verdict_of(before, ConditionType.RECONCILIATION_PAUSED) is not None:
        yield Announcement(type="Normal", reason="ReconciliationResumed", message=paused.message)


def _admission(before: Status, after: Status) -> Iterator[Announcement]:
    """What queues do to a search, and what a person does with spec.suspend."""
    quota = _changed(before, after, ConditionType.ADMITTED)
    if quota is not None and quota.reason == "QuotaReserved":
        yield Announcement(type="Normal", reason="QuotaAdmitted", message=quota.message)
    elif quota is not None and quota.reason == "Evicted":
        yield Announcement(type="Normal", reason="SearchInterrupted", message=quota.message)
    elif quota is not None and quota.reason == "WaitingForQuotaTooLong":
        yield Announcement(type="Warning", reason="WaitingForQuotaTooLong", message=quota.message)
    rest = _changed(before, after, ConditionType.SUSPENDED)
    if rest is not None and rest.status == "True":
        yield Announcement(type="Normal", reason="SearchSuspended", message=rest.message)
    elif rest is not None and rest.reason == "Resumed":
        yield Announcement(type="Normal", reason="SearchResumed", message=rest.message)


def _attempts(before: Status, after: Status) -> Iterator[Announcement]:
    if (after.attempt or 0) > (before.attempt or 0):
        image = after.trainer.image if after.trainer is not None else ""
        message = f"{KIND} attempt {after.attempt} runs image {image}"
        yield Announcement(type="Normal", reason="TrainerJobCreated", message=message)


def _trainer(before: Status, after: Status) -> Iterator[Announcement]:
    verdict = verdict_of(after, ConditionType.TRAINER_READY)
    if after.phase is Phase.RUNNING and before.last_report_time is None and after.last_report_time is not None:
        yield Announcement(type="Normal", reason="SearchStarted", message=f"the trainer reports its progress, stage {after.stage}")
    if verdict is not None and _is_interrupted(before, after, verdict):
        yield Announcement(type="Normal", reason="SearchInterrupted", message=verdict.message)
    changed = _changed(before, after, ConditionType.TRAINER_READY)
    if changed is not None and changed.status == "False" and changed.reason in _WORTH_A_WARNING:
        reason = EVENT_NAMES.get(changed.reason, changed.reason)
        yield Announcement(type="Warning", reason=reason, message=changed.message)


def _is_interrupted(before: Status, after: Status, ready: Verdict) -> bool:
    """Whether a trainer at work was stopped: a search that leaves a rest or a queue waits for its first pod, and lost none."""
    if after.phase is not Phase.INTERRUPTED or ready.reason in _NO_INTERRUPTIONS:
        return False
    was_at_work = before.phase in (Phase.RUNNING, Phase.FINALIZING)
    return was_at_work or (before.phase is Phase.STARTING and ready.reason in _STOPS)


def _notices(before: Status, report: Report | None) -> Iterator[Announcement]:
    if report is None or report.progress is None:
        return
    for notice in sorted(report.progress.notices, key=lambda notice: notice.id):
        if notice.id > (before.last_notice or 0):
            kind = NOTICE_TYPES.get(notice.reason)  # any other reason is shown as TrainerNotice, so that a trainer cannot forge ours
            if kind is None:
                yield Announcement(type="Normal", reason="TrainerNotice", message=f"{notice.reason}: {notice.message}")
            else:
                yield Announcement(type=kind, reason=notice.reason, message=notice.message)


def _end(before: Status, after: Status) -> Iterator[Announcement]:
    verdict = _changed(before, after, ConditionType.SUCCEEDED)
    if verdict is None or verdict.status == "Unknown":
        return
    if verdict.status == "True":
        yield Announcement(type="Normal", reason="ResultStored", message=verdict.message)
        return
    if verdict.reason in _NAMED_ENDS:
        yield Announcement(type="Warning", reason=verdict.reason, message=verdict.message)
    yield Announcement(type="Warning", reason="SearchFailed", message=f"{verdict.reason}: {verdict.message}")

"""Events: what a change of status announces, derived from the status before and after. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from autohas_api.base.names import KIND
from autohas_api.wire.messages import NOTICE_TYPES
from autohas_api.wire.reasons import NoticeReason, Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide.conditions import Verdict, verdict_of
from autohas_operator.records.observed import Report
from autohas_operator.wording import MAX_EVENT_MESSAGE, clean

_WORTH_A_WARNING: Final = frozenset(
    {
        Reason.PODS_NOT_CREATED,
        Reason.QUOTA_EXCEEDED,
        Reason.NAMESPACE_TERMINATING,
        Reason.UNSCHEDULABLE,
        Reason.IMAGE_PULL_FAILED,
        Reason.CONTAINER_NOT_CREATED,
        Reason.FAILED_MOUNT,
        Reason.NODE_UNREACHABLE,
        Reason.NAME_CONFLICT,
        Reason.JOB_FORBIDDEN,
        Reason.JOB_NOT_CREATED,
        Reason.OPERATOR_FORBIDDEN,
        Reason.TRAINER_FAILED,
        Reason.INIT_CONTAINER_FAILED,
        Reason.STALLED,
        Reason.SIDECAR_RUNNING,
    }
)
_NO_INTERRUPTIONS: Final = frozenset({Reason.TRAINER_FAILED, Reason.INIT_CONTAINER_FAILED, Reason.STALLED})
"""Reasons of an end that is the trainer's own fault, for which a warning is posted instead of SearchInterrupted."""
_STOPS: Final = frozenset(
    {
        Reason.INTERRUPTED,
        Reason.POD_LOST,
        Reason.BACK_OFF,
        Reason.TERMINATING,
        Reason.NODE_UNREACHABLE,
        Reason.SIDECAR_RUNNING,
        Reason.JOB_DELETED,
        Reason.JOB_REPLACED,
    }
)
"""Reasons for which a trainer that was still starting ended. Its other reasons in the phase Interrupted mean a missing pod."""
_NAMED_ENDS: Final = frozenset({Reason.RESULT_INVALID, Reason.NUMERICAL_FAILURE})
"""Reasons of a failed search that are posted as an event of their own before SearchFailed."""
EVENT_NAMES: Final = {Reason.UNSCHEDULABLE: Reason.TRAINER_UNSCHEDULABLE, Reason.STALLED: Reason.SEARCH_STALLED}
"""Names of events whose reason alone would be unclear in a list of events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """An event to post."""

    type: Literal["Normal", "Warning"]
    reason: Reason | NoticeReason
    message: str


_LOG_EVENTS: Final[dict[Reason | NoticeReason, str]] = {Reason.SEARCH_INTERRUPTED: "trainer interrupted"}


def log_event(announcement: Announcement) -> str:
    """The name of the log event: `search failed` for SearchFailed."""
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", announcement.reason).lower()
    return _LOG_EVENTS.get(announcement.reason, words)


def announce(before: Status, after: Status, report: Report | None) -> tuple[Announcement, ...]:
    """The events of one change of status, in causal order."""
    changes = (
        *_announce_acceptance(before, after),
        *_announce_pause(before, after),
        *_announce_admission(before, after),
        *_announce_attempt(before, after),
        *_announce_trainer(before, after),
        *_announce_notices(before, report),
        *_announce_end(before, after),
    )
    return tuple(Announcement(type=a.type, reason=a.reason, message=clean(a.message, MAX_EVENT_MESSAGE)) for a in changes)


def _find_change(before: Status, after: Status, kind: ConditionType) -> Verdict | None:
    """The new verdict if status or reason changed, else None."""
    old, new = verdict_of(before, kind), verdict_of(after, kind)
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return None
    return new


def _announce_acceptance(before: Status, after: Status) -> Iterator[Announcement]:
    verdict = _find_change(before, after, ConditionType.ACCEPTED)
    if verdict is not None and verdict.status == "True":
        yield Announcement(type="Normal", reason=Reason.SEARCH_ACCEPTED, message=verdict.message)
    elif verdict is not None and verdict.reason == Reason.VERSION_SKEW:
        yield Announcement(type="Warning", reason=Reason.VERSION_SKEW, message=verdict.message)
    elif verdict is not None and verdict.reason == Reason.SPEC_UNREADABLE:
        yield Announcement(type="Warning", reason=Reason.SPEC_UNREADABLE, message=verdict.message)
    elif verdict is not None and verdict.status == "False":
        yield Announcement(type="Warning", reason=Reason.SEARCH_REJECTED, message=verdict.message)
    storage = _find_change(before, after, ConditionType.CHECKPOINT_READY)
    if storage is not None and storage.reason == Reason.NOT_DURABLE:
        yield Announcement(type="Warning", reason=Reason.CHECKPOINT_NOT_DURABLE, message=storage.message)
    elif storage is not None and storage.reason == Reason.STALE:
        yield Announcement(type="Warning", reason=Reason.CHECKPOINT_STALE, message=storage.message)


def _announce_pause(before: Status, after: Status) -> Iterator[Announcement]:
    paused = _find_change(before, after, ConditionType.RECONCILIATION_PAUSED)
    if paused is not None and paused.status == "True":
        yield Announcement(type="Normal", reason=Reason.RECONCILIATION_PAUSED, message=paused.message)
    elif paused is not None and verdict_of(before, ConditionType.RECONCILIATION_PAUSED) is not None:
        yield Announcement(type="Normal", reason=Reason.RECONCILIATION_RESUMED, message=paused.message)


def _announce_admission(before: Status, after: Status) -> Iterator[Announcement]:
    """Changes by queues, and by spec.suspend."""
    quota = _find_change(before, after, ConditionType.ADMITTED)
    if quota is not None and quota.reason == Reason.QUOTA_RESERVED:
        yield Announcement(type="Normal", reason=Reason.QUOTA_ADMITTED, message=quota.message)
    elif quota is not None and quota.reason == Reason.EVICTED:
        yield Announcement(type="Normal", reason=Reason.SEARCH_INTERRUPTED, message=quota.message)
    elif quota is not None and quota.reason == Reason.WAITING_FOR_QUOTA_TOO_LONG:
        yield Announcement(type="Warning", reason=Reason.WAITING_FOR_QUOTA_TOO_LONG, message=quota.message)
    rest = _find_change(before, after, ConditionType.SUSPENDED)
    if rest is not None and rest.status == "True":
        yield Announcement(type="Normal", reason=Reason.SEARCH_SUSPENDED, message=rest.message)
    elif rest is not None and rest.reason == Reason.RESUMED:
        yield Announcement(type="Normal", reason=Reason.SEARCH_RESUMED, message=rest.message)


def _announce_attempt(before: Status, after: Status) -> Iterator[Announcement]:
    if (after.attempt or 0) > (before.attempt or 0):
        image = after.trainer.image if after.trainer is not None else ""
        message = f"{KIND} attempt {after.attempt} runs image {image}"
        yield Announcement(type="Normal", reason=Reason.TRAINER_JOB_CREATED, message=message)


def _announce_trainer(before: Status, after: Status) -> Iterator[Announcement]:
    verdict = verdict_of(after, ConditionType.TRAINER_READY)
    if after.phase is Phase.RUNNING and before.last_report_time is None and after.last_report_time is not None:
        yield Announcement(type="Normal", reason=Reason.SEARCH_STARTED, message=f"the trainer reports its progress, stage {after.stage}")
    if verdict is not None and _is_interrupted(before, after, verdict):
        yield Announcement(type="Normal", reason=Reason.SEARCH_INTERRUPTED, message=verdict.message)
    changed = _find_change(before, after, ConditionType.TRAINER_READY)
    if changed is not None and changed.status == "False" and changed.reason in _WORTH_A_WARNING:
        reason = Reason(changed.reason)
        yield Announcement(type="Warning", reason=EVENT_NAMES.get(reason, reason), message=changed.message)


def _is_interrupted(before: Status, after: Status, ready: Verdict) -> bool:
    """Whether a working trainer was stopped. A search that is resumed or admitted waits for its first pod and has lost none."""
    if after.phase is not Phase.INTERRUPTED or ready.reason in _NO_INTERRUPTIONS:
        return False
    was_at_work = before.phase in (Phase.RUNNING, Phase.FINALIZING)
    return was_at_work or (before.phase is Phase.STARTING and ready.reason in _STOPS)


def _announce_notices(before: Status, report: Report | None) -> Iterator[Announcement]:
    if report is None or report.progress is None:
        return
    for notice in sorted(report.progress.notices, key=lambda notice: notice.id):
        if notice.id > (before.last_notice or 0):
            kind = NOTICE_TYPES.get(notice.reason)  # another reason is posted as TrainerNotice, so that a trainer cannot forge ours
            if kind is None:
                yield Announcement(type="Normal", reason=Reason.TRAINER_NOTICE, message=f"{notice.reason}: {notice.message}")
            else:
                yield Announcement(type=kind, reason=NoticeReason(notice.reason), message=notice.message)


def _announce_end(before: Status, after: Status) -> Iterator[Announcement]:
    verdict = _find_change(before, after, ConditionType.SUCCEEDED)
    if verdict is None or verdict.status == "Unknown":
        return
    if verdict.status == "True":
        yield Announcement(type="Normal", reason=Reason.RESULT_STORED, message=verdict.message)
        return
    if verdict.reason in _NAMED_ENDS:
        yield Announcement(type="Warning", reason=Reason(verdict.reason), message=verdict.message)
    yield Announcement(type="Warning", reason=Reason.SEARCH_FAILED, message=f"{verdict.reason}: {verdict.message}")

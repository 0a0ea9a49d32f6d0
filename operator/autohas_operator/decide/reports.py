"""From a trainer's report to the fields of status that show progress, and when these are worth a write. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from autohas_api.base.names import ExitCode
from autohas_api.space.decisions import decimal
from autohas_api.spec.search import Spec
from autohas_api.wire.messages import NOTICES_PER_START, Interrupted, MessageError, Progress, StopReason, decode_last_word
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import CheckpointStatus, ConditionType, Phase, Status
from autohas_operator.decide import policy
from autohas_operator.decide.conditions import Verdict, verdict_of
from autohas_operator.decide.policy import Ending
from autohas_operator.records.observed import PodRecord, Report
from autohas_operator.wording import duration, epoch, percent, timestamp

PROGRESS_FIELDS: Final = ("stage", "progress", "eta", "best", "entropy", "starts", "interruptions", "checkpoint")
"""Fields that change all the time; a change of nothing else is written at most every PROGRESS_WRITE_S."""
_LATEST_TIME_S: Final = 253402300799.0
"""The end of the year 9999: what a trainer calls later is cut here."""
_MAX_COUNT: Final = 2**53 - 1
"""Greatest number that status may hold (`Count`)."""


def continue_counts(report: Report | None, previous: Status, pods: tuple[PodRecord, ...], spec: Spec) -> Report | None:
    """The report of a trainer that counts from the beginning, with its start and notices counted on from what status knows.

    A trainer whose disk is its pod's own always believes to be the first, and so does one whose claim was emptied. It is the next
    one when its pod was made after the last report that is known. On a claim a lower number of starts may also be an older report:
    that of a pod that has ended or that others followed is not taken.
    """
    if report is None or report.progress is None:
        return report
    said, reported_s, known = report.progress, epoch(previous.last_report_time), previous.starts or 0
    if spec.checkpoint.storage.persistent_volume_claim is not None:
        if said.starts >= known:
            return report
        reporter = next((pod for pod in pods if pod.uid == report.pod_uid), None)
        if reporter is None or reporter.end is not None or reporter.is_over:
            return None
        if any(pod.job_uid == reporter.job_uid and pod.created_s > reporter.created_s for pod in pods):
            return None
    is_next = reported_s is None or any(pod.uid == report.pod_uid and pod.created_s > reported_s for pod in pods)
    starts = max(said.starts, known + is_next)
    shift = NOTICES_PER_START * (starts - said.starts)
    notices = [notice.model_copy(update={"id": min(notice.id + shift, _MAX_COUNT)}) for notice in said.notices]
    return replace(report, progress=said.model_copy(update={"starts": starts, "notices": notices}))


def apply_progress(status: Status, report: Report | None) -> Status:
    """`status` with what the trainer reported last; what only grows never falls, whatever order reports come in."""
    if report is None or report.progress is None:
        return status
    said = report.progress
    update: dict[str, Any] = {
        "stage": said.stage.value,
        "progress": percent(said.percent),
        "eta": None if said.eta_seconds is None else duration(said.eta_seconds),
        "best": status.best if said.best is None else decimal(said.best),
        "entropy": None if said.entropy is None else f"{said.entropy:.2f}",
        "starts": max(said.starts, status.starts or 0),
        "checkpoint": _newest_checkpoint(status.checkpoint, said),
        "last_notice": max([status.last_notice or 0, *(notice.id for notice in said.notices)]),
    }
    changed = status.model_copy(update=update)
    return changed.model_copy(update={"last_report_time": timestamp(report.time_s)}) if changed != status else status


def apply_termination_messages(status: Status, pods: Iterable[PodRecord]) -> Status:
    """`status` with what stopped trainers said at their end and no report tells: their start, and the checkpoint written there."""
    for pod in pods:
        word = _read_interrupted(pod)
        if word is None or pod.end is None:
            continue
        if word.starts > (status.starts or 0):
            status = status.model_copy(update={"starts": word.starts})
        known_step = status.checkpoint.step if status.checkpoint is not None else -1
        if word.checkpoint_digest is not None and pod.end.finished_s is not None and word.step > known_step:
            written = CheckpointStatus(step=word.step, time=timestamp(pod.end.finished_s), digest=word.checkpoint_digest)
            status = status.model_copy(update={"checkpoint": written})
    return status


def _read_interrupted(pod: PodRecord) -> Interrupted | None:
    """The last word of a trainer that was stopped on request, when it is that of this pod."""
    if pod.end is None or pod.end.exit_code != ExitCode.INTERRUPTED:
        return None
    try:
        word = decode_last_word(pod.end.message.strip().encode(errors="replace"))
    except MessageError:
        return None
    is_its_own = (word.search_uid, word.pod_uid, word.attempt) == (pod.search_uid, pod.uid, pod.attempt)
    return word if isinstance(word, Interrupted) and is_its_own else None


def _newest_checkpoint(known: CheckpointStatus | None, said: Progress) -> CheckpointStatus | None:
    """The checkpoint that was written last: one of a lower step only when it is younger.

    A trainer that could not read the newest one went back to an older one, and writes its own from there.
    """
    if said.checkpoint is None:
        return known
    written = min(said.checkpoint.time, _LATEST_TIME_S)
    reported = CheckpointStatus(step=said.checkpoint.step, time=timestamp(written), digest=said.checkpoint.digest)
    is_older = known is not None and reported.step < known.step and reported.time <= known.time
    return known if is_older else reported


def work_began_s(pods: Iterable[PodRecord]) -> float | None:
    """When the trainer at work began to work: while it reads its data, and before its pod was made, no checkpoint grows old."""
    return next((pod.ready_s or pod.created_s for pod in pods if pod.is_running and pod.end is None), None)


def checkpoint_verdict(  # noqa: PLR0913 - one argument for each thing that it depends on
    spec: Spec, status: Status, report: Report | None, ready: Verdict, *, since_s: float | None, now_s: float
) -> Verdict:
    """Whether an interruption now would cost little; `ready` is what TrainerReady says, `since_s` is `work_began_s`.

    A checkpoint is called old on the word of its trainer only: one that cannot be heard may have written many since.
    """
    if spec.checkpoint.storage.persistent_volume_claim is None:
        message = "checkpoints lie on the pod's own disk: a new pod starts at step 0; give checkpoint.storage.persistentVolumeClaim"
        return Verdict(status="False", reason=Reason.NOT_DURABLE, message=message)
    if status.checkpoint is None:
        return Verdict(status="Unknown", reason=Reason.NO_CHECKPOINT_YET, message="no checkpoint has been reported yet")
    age_s = now_s - max(epoch(status.checkpoint.time) or now_s, since_s or 0.0)
    is_old = age_s > policy.STALE_PERIODS * spec.checkpoint.period_seconds + policy.STALE_SLACK_S
    before = verdict_of(status, ConditionType.CHECKPOINT_READY)
    is_known = before is not None and before.reason not in (Reason.NO_CHECKPOINT_YET, Reason.PROGRESS_UNREACHABLE)
    if before is not None and is_known and status.phase is not Phase.RUNNING:
        return before  # while nothing is trained, a checkpoint that grows old costs nothing
    if is_old:
        return _old_checkpoint(spec, status, report, ready)
    return before if before is not None and before.reason == Reason.FRESH else _FRESH


_FRESH: Final = Verdict(status="True", reason=Reason.FRESH, message="the newest checkpoint is on the claim")


def _old_checkpoint(spec: Spec, status: Status, report: Report | None, ready: Verdict) -> Verdict:
    age = f"older than {policy.STALE_PERIODS:.0f} periods of {spec.checkpoint.period_seconds} s"
    if ready.status == "Unknown":
        message = (
            f"the newest checkpoint that is known is {age}; its trainer cannot be heard and may have written others (see TrainerReady)"
        )
        return Verdict(status="Unknown", reason=Reason.PROGRESS_UNREACHABLE, message=message)
    is_heard = status.phase is Phase.RUNNING and report is not None and report.progress is not None
    before = verdict_of(status, ConditionType.CHECKPOINT_READY)
    if not is_heard and before is not None and before.reason != Reason.NO_CHECKPOINT_YET:
        return before  # this operator has just started and has not asked yet, or nothing is trained
    return Verdict(status="False", reason=Reason.STALE, message=f"the newest checkpoint is {age}")


CONVERGED: Final = {
    StopReason.PLATEAU: (Reason.PLATEAU, "the averaged reward has stopped rising (budget.earlyStopping.plateauSteps)"),
    StopReason.CONVERGED: (Reason.ENTROPY_BELOW_THRESHOLD, "the policy has decided (budget.earlyStopping.normalizedEntropyBelow)"),
    StopReason.GOAL_REACHED: (Reason.GOAL_REACHED, "a candidate has reached objective.goal"),
}
"""Reason and message of Converged for the ends that come from having found something."""


def converged_verdict(previous: Status, report: Report | None, ending: Ending | None) -> Verdict:
    """Whether the search ended, or is about to end, before its plan did because it had found what it was to find."""
    was = verdict_of(previous, ConditionType.CONVERGED)
    said = report.progress.stop_reason if report is not None and report.progress is not None else None
    stop = StopReason(ending.result.stop_reason) if ending is not None and ending.result is not None else said
    if stop is not None and stop in CONVERGED:
        reason, message = CONVERGED[stop]
        return Verdict(status="True", reason=reason, message=message)
    if ending is not None and ending.result is not None:
        return Verdict(status="False", reason=Reason(ending.result.stop_reason), message="the search used what it was given")
    if was is not None and was.status == "True":
        return was
    if ending is not None:
        return Verdict(status="False", reason=Reason.NO_RESULT, message="the search ended without a result")
    return Verdict(status="Unknown", reason=Reason.IN_PROGRESS, message="the search has not ended")


def is_progress_only(before: Status, after: Status) -> bool:
    """Whether the two differ in nothing that somebody may wait for."""
    ignored = dict.fromkeys((*PROGRESS_FIELDS, "last_report_time"))
    return before.model_copy(update=ignored) == after.model_copy(update=ignored)


def write_due_in_s(before: Status, now_s: float) -> float:
    """Seconds until progress alone may be written again.

    A report from the future is another node's, whose clock is ahead: waiting for its time would hold progress up for as long.
    """
    written_s = epoch(before.last_report_time)
    if written_s is None or written_s > now_s:
        return 0.0
    return max(0.0, written_s + policy.PROGRESS_WRITE_S - now_s)

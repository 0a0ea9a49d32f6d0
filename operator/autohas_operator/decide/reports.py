"""From a trainer's report to the progress in status, and when that is written. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Literal

from autohas_api.base.exit_codes import ExitCode
from autohas_api.base.structural_schema import MAX_COUNT
from autohas_api.space.decisions import decimal
from autohas_api.spec.search import Spec
from autohas_api.wire.messages import (
    NOTICES_PER_RUN,
    NOTICES_PER_START,
    Interrupted,
    MessageError,
    Progress,
    StopReason,
    decode_termination_message,
)
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import CheckpointStatus, ConditionType, Phase, Status
from autohas_operator.decide import intervals
from autohas_operator.decide.conditions import Verdict, verdict_of
from autohas_operator.decide.trainer_exits import Ending
from autohas_operator.records.observed import PodRecord, Report
from autohas_operator.wording import duration, epoch, percent, timestamp

_LATEST_TIME_S: Final = 253402300799.0
"""The end of the year 9999; later times of a trainer are clamped to it."""


def continue_counts(report: Report | None, previous: Status, pods: tuple[PodRecord, ...], spec: Spec) -> Report | None:
    """The report with starts and notice ids that continue those of status, or None if the report is outdated.

    A trainer on its pod's own disk always counts itself as the first start, and so does one whose claim was emptied. It is the next start
    if its pod was created after the last known report. On a claim, a lower number of starts may also come from an older report: a report
    of a pod that has ended, or that has a successor, is dropped.
    """
    if report is None or report.progress is None:
        return report
    progress, reported_s, earlier_starts = report.progress, epoch(previous.last_report_time), previous.starts or 0
    if spec.checkpoint.storage.persistent_volume_claim is not None:
        if progress.starts >= earlier_starts:
            return report
        reporter = next((pod for pod in pods if pod.uid == report.pod_uid), None)
        if reporter is None or reporter.end is not None or reporter.is_over:
            return None
        if any(pod.job_uid == reporter.job_uid and pod.created_s > reporter.created_s for pod in pods):
            return None
    is_next = reported_s is None or any(pod.uid == report.pod_uid and pod.created_s > reported_s for pod in pods)
    starts = max(progress.starts, earlier_starts + is_next)
    per_start = NOTICES_PER_START if progress.runs is None else NOTICES_PER_RUN * (progress.runs + 1)  # it begins with run 1 again
    shift = per_start * (starts - progress.starts)
    notices = [notice.replace(id=min(notice.id + shift, MAX_COUNT)) for notice in progress.notices]
    return replace(report, progress=progress.replace(starts=starts, notices=notices))


def apply_progress(status: Status, report: Report | None) -> Status:
    """`status` with the trainer's last report; counters never decrease, in whatever order reports arrive."""
    if report is None or report.progress is None:
        return status
    progress = report.progress
    run = None if progress.run is None or progress.runs is None else f"{progress.run}/{progress.runs}"
    best = status.best if run == status.run else None  # of an earlier run of a comparison it says nothing about this one
    changed = status.replace(
        stage=progress.stage.value,
        progress=percent(progress.percent),
        run=run,
        eta=None if progress.eta_seconds is None else duration(progress.eta_seconds),
        best=best if progress.best is None else decimal(progress.best),
        entropy=None if progress.entropy is None else f"{progress.entropy:.2f}",
        starts=max(progress.starts, status.starts or 0),
        checkpoint=_newest_checkpoint(status.checkpoint, progress),
        last_notice=max([status.last_notice or 0, *(notice.id for notice in progress.notices)]),
    )
    return changed.replace(last_report_time=timestamp(report.time_s)) if changed != status else status


def apply_termination_messages(status: Status, pods: Iterable[PodRecord]) -> Status:
    """`status` with what only the termination messages of stopped trainers tell: their start, and the checkpoint written at the stop."""
    for pod in pods:
        message = _read_interrupted(pod)
        if message is None or pod.end is None:
            continue
        if message.starts > (status.starts or 0):
            status = status.replace(starts=message.starts)
        known_step = status.checkpoint.step if status.checkpoint is not None else -1
        if message.checkpoint_digest is not None and pod.end.finished_s is not None and message.step > known_step:
            written = CheckpointStatus(step=message.step, time=timestamp(pod.end.finished_s), digest=message.checkpoint_digest)
            status = status.replace(checkpoint=written)
    return status


def _read_interrupted(pod: PodRecord) -> Interrupted | None:
    """The termination message of a trainer that was stopped on request, if it names this pod."""
    if pod.end is None or pod.end.exit_code != ExitCode.INTERRUPTED:
        return None
    try:
        message = decode_termination_message(pod.end.message.strip().encode(errors="replace"))
    except MessageError:
        return None
    is_its_own = (message.search_uid, message.pod_uid, message.attempt) == (pod.search_uid, pod.uid, pod.attempt)
    return message if isinstance(message, Interrupted) and is_its_own else None


def _newest_checkpoint(earlier: CheckpointStatus | None, progress: Progress) -> CheckpointStatus | None:
    """The checkpoint that was written last: one of a lower step only if it is younger.

    A trainer that could not read the newest checkpoint continues from an older one and writes new ones from there.
    """
    if progress.checkpoint is None:
        return earlier
    written = min(progress.checkpoint.time, _LATEST_TIME_S)
    reported = CheckpointStatus(step=progress.checkpoint.step, time=timestamp(written), digest=progress.checkpoint.digest)
    is_older = earlier is not None and reported.step < earlier.step and reported.time <= earlier.time
    return earlier if is_older else reported


def work_began_s(pods: Iterable[PodRecord]) -> float | None:
    """When the running trainer began to work, in seconds since the epoch: earlier time does not make a checkpoint stale."""
    return next((pod.ready_s or pod.created_s for pod in pods if pod.is_running and pod.end is None), None)


def checkpoint_verdict(  # noqa: PLR0913 - one argument for each thing that it depends on
    spec: Spec, status: Status, report: Report | None, ready: Verdict, *, since_s: float | None, now_s: float
) -> Verdict:
    """The condition CheckpointReady; `ready` is the verdict of TrainerReady, `since_s` is `work_began_s`.

    Stale is set only by the trainer's own report: a trainer that cannot be reached may have written newer checkpoints.
    """
    if spec.checkpoint.storage.persistent_volume_claim is None:
        message = "checkpoints are on the pod's own disk: a new pod starts at step 0; set checkpoint.storage.persistentVolumeClaim"
        return Verdict(status="False", reason=Reason.NOT_DURABLE, message=message)
    if status.checkpoint is None:
        return Verdict(status="Unknown", reason=Reason.NO_CHECKPOINT_YET, message="the trainer has reported no checkpoint yet")
    age_s = now_s - max(epoch(status.checkpoint.time) or now_s, since_s or 0.0)
    is_old = age_s > intervals.STALE_PERIODS * spec.checkpoint.period_seconds + intervals.STALE_SLACK_S
    before = verdict_of(status, ConditionType.CHECKPOINT_READY)
    is_known = before is not None and before.reason not in (Reason.NO_CHECKPOINT_YET, Reason.PROGRESS_UNREACHABLE)
    if before is not None and is_known and status.phase is not Phase.RUNNING:
        return before  # while nothing is trained, an old checkpoint loses no work
    if is_old:
        return _old_checkpoint(spec, status, report, ready)
    return before if before is not None and before.reason == Reason.FRESH else _FRESH


_FRESH: Final = Verdict(status="True", reason=Reason.FRESH, message="the newest checkpoint is on the claim")


def _old_checkpoint(spec: Spec, status: Status, report: Report | None, ready: Verdict) -> Verdict:
    age = f"older than {intervals.STALE_PERIODS:.0f} periods of {spec.checkpoint.period_seconds} s"
    if ready.status == "Unknown":
        message = f"the newest known checkpoint is {age}, but its trainer cannot be reached and may have written others (see TrainerReady)"
        return Verdict(status="Unknown", reason=Reason.PROGRESS_UNREACHABLE, message=message)
    is_heard = status.phase is Phase.RUNNING and report is not None and report.progress is not None
    before = verdict_of(status, ConditionType.CHECKPOINT_READY)
    if not is_heard and before is not None and before.reason != Reason.NO_CHECKPOINT_YET:
        return before  # this operator has just started and has not polled yet, or nothing is trained
    return Verdict(status="False", reason=Reason.STALE, message=f"the newest checkpoint is {age}")


_CONVERGED: Final[dict[StopReason, tuple[Literal["True", "False"], Reason, str]]] = {
    StopReason.PLATEAU: ("True", Reason.PLATEAU, "the averaged reward has stopped rising (budget.earlyStopping.plateauSteps)"),
    StopReason.CONVERGED: (
        "True",
        Reason.ENTROPY_BELOW_THRESHOLD,
        "the policy has decided (budget.earlyStopping.normalizedEntropyBelow)",
    ),
    StopReason.GOAL_REACHED: ("True", Reason.GOAL_REACHED, "a candidate has reached objective.goal"),
    StopReason.COMPLETED: ("False", Reason.COMPLETED, "every stage ran as planned"),
    StopReason.BUDGET: ("False", Reason.BUDGET, "budget.maxActiveSeconds cut the search short"),
}
"""Status, reason and message of Converged for each way in which a search ends with a result."""


def converged_verdict(previous: Status, report: Report | None, ending: Ending | None) -> Verdict:
    """The condition Converged: whether the search ends before its plan because it has converged. A running trainer may report it."""
    before = verdict_of(previous, ConditionType.CONVERGED)
    stop = report.progress.stop_reason if report is not None and report.progress is not None else None
    is_over = ending is not None and ending.result is not None
    if ending is not None and ending.result is not None:
        stop = StopReason(ending.result.stop_reason)
    if stop is not None and (is_over or _CONVERGED[stop][0] == "True"):
        status, reason, message = _CONVERGED[stop]
        return Verdict(status=status, reason=reason, message=message)
    if before is not None and before.status == "True":
        return before
    if ending is not None:
        return Verdict(status="False", reason=Reason.NO_RESULT, message="the search ended without a result")
    return Verdict(status="Unknown", reason=Reason.IN_PROGRESS, message="the search has not ended")


def is_progress_only(before: Status, after: Status) -> bool:
    """Whether the two differ in progress alone, which is written at most every PROGRESS_WRITE_S."""
    return _without_progress(before) == _without_progress(after)


def _without_progress(status: Status) -> Status:
    return status.replace(
        stage=None,
        progress=None,
        run=None,
        eta=None,
        best=None,
        entropy=None,
        starts=None,
        interruptions=None,
        checkpoint=None,
        last_report_time=None,
    )


def write_due_in_s(before: Status, now_s: float) -> float:
    """Seconds until a status that differs in progress only may be written.

    A report time in the future comes from a node whose clock is ahead; waiting for it would delay progress.
    """
    written_s = epoch(before.last_report_time)
    if written_s is None or written_s > now_s:
        return 0.0
    return max(0.0, written_s + intervals.PROGRESS_WRITE_S - now_s)

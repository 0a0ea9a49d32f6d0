"""Deadlines and counts of the spec, pauses, and the clean-up of a finished search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autohas_api.base.names import ANNOTATION_PAUSED, LABEL_ATTEMPT
from autohas_api.testing.rejections import with_change
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide.actions import CreateAttempt
from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.limits import num_interruptions
from autohas_operator.errors import Blamed, Blocker
from autohas_operator.records.observed import Report, WarningEvent
from autohas_operator.testing import kubernetes_messages
from autohas_operator.testing.builders import (
    NOW_S,
    condition,
    ended_pod,
    observe,
    progress,
    report,
    result_text,
    running_pod,
    stored_job,
    stored_pod,
    stored_search,
)
from autohas_operator.testing.decisions import CREATED, JOB, POD, RUNNING, SEARCH, decide, verdict

NAME = JOB["metadata"]["name"]
UNSCHEDULABLE = stored_pod(
    JOB,
    scheduled=False,
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": kubernetes_messages.NO_GPU}],
)


def limited(**spec: Any) -> dict[str, Any]:
    return stored_search(**spec)


LATE = limited(budget={"trainings": "4", "startDeadlineSeconds": 600})


def test_a_trainer_that_does_not_start_in_time_fails_the_search_with_what_it_waited_for() -> None:
    """At 599 s only the next pass is scheduled; at 600 s the search fails with the scheduler's message, and the Job is deleted."""
    early = decide(observe(LATE, JOB, UNSCHEDULABLE), CREATED, at_s=NOW_S + 599)
    late = decide(observe(LATE, JOB, UNSCHEDULABLE), early.status, at_s=NOW_S + 600)
    after = decide(observe(LATE, JOB, UNSCHEDULABLE), late.status, at_s=NOW_S + 601)
    explanation = verdict_of(late.status, ConditionType.SUCCEEDED)

    assert early.status.phase is Phase.STARTING
    assert early.requeue_after_s == 1
    assert late.needs_fresh_reads
    assert explanation is not None
    assert (late.status.phase, explanation.reason) == (Phase.FAILED, "StartDeadlineExceeded")
    assert "0/1 nodes are available: 1 Insufficient nvidia.com/gpu." in explanation.message
    assert [a.reason for a in late.announcements] == ["SearchFailed"]
    assert late.requeue_after_s == 0
    assert after.action == CleanUp(config_maps=(NAME,), jobs=((NAME, "job-1"),))
    assert after.status == late.status


STARTED = [
    (JOB, POD, CREATED),
    (JOB, ended_pod(JOB, code=1), CREATED),
    ({**JOB, "status": {"failed": 1}}, UNSCHEDULABLE, CREATED),
    (JOB, UNSCHEDULABLE, RUNNING),
]


@pytest.mark.parametrize(("job", "pod", "before"), STARTED, ids=["unreachable", "failed once", "failed and gone", "reported before"])
def test_the_start_deadline_is_only_for_trainers_that_never_started(job: dict[str, Any], pod: dict[str, Any], before: Status) -> None:
    """A trainer that the operator cannot reach, one that failed and one that waits again are no late starts."""
    assert verdict(decide(observe(LATE, job, pod), before, at_s=NOW_S + 9999).status, ConditionType.FINISHED) == ("False", "InProgress")


INTERRUPTED = ended_pod(JOB, code=75)
GONE: tuple[dict[str, Any], ...] = ()
COUNTS = [
    ("the first runs", 1, (POD,), 0, 0),
    ("its pod was stopped", 1, (INTERRUPTED,), 0, 1),
    ("its pod was evicted and is gone", 1, GONE, 0, 1),
    ("the next has not reported yet", 1, (INTERRUPTED, running_pod(JOB, uid="pod-2")), 0, 1),
    ("the next reported", 2, (INTERRUPTED, running_pod(JOB, uid="pod-2")), 0, 1),
    ("a failure is none", 1, (ended_pod(JOB, code=1),), 0, 0),
    ("a failure that is gone is none", 2, (POD,), 1, 0),
    ("a success is none", 1, (ended_pod(JOB, code=0),), 0, 0),
    ("both kinds", 3, (ended_pod(JOB, code=1), INTERRUPTED), 1, 2),
]


@pytest.mark.parametrize(("case", "starts", "pods", "num_failed", "expected"), COUNTS, ids=[case[0] for case in COUNTS])
def test_interruptions_are_starts_that_ended_without_fault(
    case: str, starts: int, pods: tuple[dict[str, Any], ...], num_failed: int, expected: int
) -> None:
    """Counted from the reports and the Job, so that deleted pods count too."""
    seen = observe(SEARCH, {**JOB, "status": {"failed": num_failed}}, *pods)
    job = seen.job

    assert job is not None, case
    assert num_interruptions(job, seen, Status(starts=starts)) == expected
    assert num_interruptions(replace(job, interruptions_before=5), seen, Status(starts=starts)) == 5 + expected
    assert num_interruptions(replace(job, starts_before=starts), seen, Status(starts=starts, interruptions=7)) == 7


def test_a_suspension_is_no_interruption() -> None:
    """The next Job counts from the starts so far."""
    resting = decide(observe(stored_search(suspend=True)), RUNNING).status
    action = decide(observe(SEARCH), resting).action

    assert isinstance(action, CreateAttempt)
    second = {**action.job, "status": {}}
    second["metadata"] |= {"uid": "job-2", "creationTimestamp": "2027-01-15T08:00:00Z"}
    pod = running_pod(second, uid="pod-2")
    answer = report(SEARCH, pod_uid="pod-2", attempt=2, starts=2)

    assert decide(observe(SEARCH, second, pod, report=answer), resting).status.interruptions == 0


def test_a_trainer_that_ends_because_of_a_suspension_is_no_interruption() -> None:
    """Its pod ends with 75 while the Job is being deleted; the same if the search is resumed at that moment."""
    suspended = stored_search(suspend=True, failurePolicy={"maxInterruptions": 0})
    asked = decide(observe(suspended, JOB, POD, report=report(SEARCH, starts=1)), RUNNING)
    leaving = with_change(JOB, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")
    going = decide(observe(suspended, leaving, INTERRUPTED, report=report(SEARCH, starts=1)), asked.status).status
    taken_back = stored_search(failurePolicy={"maxInterruptions": 0})
    back = decide(observe(taken_back, leaving, INTERRUPTED, report=report(SEARCH, starts=1)), asked.status).status
    gone = decide(observe(taken_back, leaving, report=report(SEARCH, starts=1)), back).status

    assert [status.interruptions or 0 for status in (asked.status, going, back, gone)] == [0, 0, 0, 0]
    assert going.phase is Phase.SUSPENDING
    assert gone.phase is not Phase.FAILED


def test_interruptions_never_outgrow_the_schema() -> None:
    """The sum of what trainers and annotations claim stays within the schema's maximum."""
    seen = observe(SEARCH, JOB)
    assert seen.job is not None
    claimed = num_interruptions(replace(seen.job, interruptions_before=10**15 - 2), seen, Status(starts=2**53 - 1))

    assert claimed == 2**53 - 1


@pytest.mark.parametrize(("most", "phase"), [(None, Phase.INTERRUPTED), (1, Phase.INTERRUPTED), (0, Phase.FAILED)])
def test_more_interruptions_than_allowed_fail_the_search(most: int | None, phase: Phase) -> None:
    """The message names both numbers; without a limit, and below it, the search continues."""
    search = limited(failurePolicy={"maxInterruptions": most} if most is not None else {})
    status = decide(observe(search, JOB, INTERRUPTED), RUNNING).status
    explanation = verdict_of(status, ConditionType.SUCCEEDED)

    assert status.phase is phase
    assert status.interruptions == 1
    assert explanation is not None
    assert (explanation.reason == "InterruptionLimit") == (phase is Phase.FAILED)
    if phase is Phase.FAILED:
        assert "interrupted 1 times, more than failurePolicy.maxInterruptions allows (0)" in explanation.message


def test_a_trainer_that_keeps_no_time_is_ended_at_one_and_a_fifth_of_it() -> None:
    """The operator is the backstop only: at 1.2 times budget.maxActiveSeconds, with what the trainer itself counts."""
    search = limited(budget={"trainings": "4", "maxActiveSeconds": 1000})

    def at(active_s: float, later_s: float = 0.0) -> Status:
        answer = report(search, active_seconds=active_s)
        return decide(observe(search, JOB, POD, report=answer), RUNNING, at_s=NOW_S + later_s).status

    assert at(1200.0).phase is Phase.RUNNING
    assert at(1201.0).phase is Phase.FAILED
    assert at(1000.0, 201.0).phase is Phase.FAILED
    assert verdict(at(1201.0), ConditionType.SUCCEEDED) == ("False", "DeadlineExceeded")


def test_each_run_of_a_comparison_may_take_the_whole_time() -> None:
    """Three runs of 1000 s: the backstop is at 1.2 times 3000 s, and the sentence names both numbers."""
    algorithm = {"name": "AutoHAS", "compare": {"seeds": 1}}
    search = limited(budget={"trainings": "4", "maxActiveSeconds": 1000}, algorithm=algorithm)

    def at(active_s: float) -> Status:
        return decide(observe(search, JOB, POD, report=report(search, active_seconds=active_s)), RUNNING, at_s=NOW_S).status

    over = verdict_of(at(3601.0), ConditionType.SUCCEEDED)
    assert at(3600.0).phase is Phase.RUNNING
    assert over is not None
    assert over.reason == "DeadlineExceeded"
    assert "longer than budget.maxActiveSeconds (3 runs of 1000 s)" in over.message


def test_a_result_comes_before_every_limit() -> None:
    """The result of a trainer that exited with 0 counts, however late it is."""
    search = limited(failurePolicy={"maxInterruptions": 0}, budget={"trainings": "4", "startDeadlineSeconds": 1, "maxActiveSeconds": 1})
    done = ended_pod(JOB, code=0, message=result_text(search))
    before = RUNNING.replace(interruptions=5)

    assert decide(observe(search, JOB, done), before, at_s=NOW_S + 9999).status.phase is Phase.SUCCEEDED
    assert decide(observe(search, JOB, ended_pod(JOB, code=0)), before, at_s=NOW_S + 9999).status.phase is Phase.FINALIZING


def finished(search: dict[str, Any] = SEARCH) -> Status:
    return decide(observe(search, JOB, ended_pod(JOB, code=0, message=result_text(search))), RUNNING, at_s=NOW_S).status


def test_what_has_ended_stays_for_its_time_and_then_goes_whole() -> None:
    """The Job stays for ttlSecondsAfterFinished after the result is stored; the ConfigMaps of all attempts are deleted at once."""
    search = limited(cleanup={"ttlSecondsAfterFinished": 100})
    third = stored_job(search, 3, conditions=[condition("Complete")])
    done = finished(search).replace(attempt=3)
    first = decide(observe(search, third), done, at_s=NOW_S + 1)
    third = with_change(third, "spec.ttlSecondsAfterFinished", 3700)
    early = decide(observe(search, third), done, at_s=NOW_S + 40)
    due = decide(observe(search, third), done, at_s=NOW_S + 100)
    leaving = with_change(third, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")

    assert first.action == CleanUp(
        config_maps=("fashion-5ea4c400-1", "fashion-5ea4c400-2", "fashion-5ea4c400-3"),
        jobs=(),
        expiring=(("fashion-5ea4c400-3", "job-3", 100 + 3600),),
    )
    assert first.requeue_after_s == 99
    assert (early.action, early.requeue_after_s) == (None, 60)
    assert due.needs_fresh_reads
    assert due.action == CleanUp(config_maps=(), jobs=(("fashion-5ea4c400-3", "job-3"),))
    assert decide(observe(search, leaving), done, at_s=NOW_S + 101).action is None
    assert decide(observe(search), done, at_s=NOW_S + 101).action is None
    assert early.status == due.status == done


@pytest.mark.parametrize(("seconds", "expiring"), [(100, ()), (50, ()), (200, (("fashion-5ea4c400-3", "job-3", 3800),))])
def test_a_longer_time_to_live_is_set_on_the_job_too(seconds: int, expiring: tuple[tuple[str, str, int], ...]) -> None:
    """After an edit of cleanup.ttlSecondsAfterFinished, Kubernetes does not delete the Job before the operator does."""
    search = limited(cleanup={"ttlSecondsAfterFinished": seconds})
    kept = with_change(stored_job(search, 3, conditions=[condition("Complete")]), "spec.ttlSecondsAfterFinished", 3700)
    action = decide(observe(search, kept), finished(search), at_s=NOW_S + 1).action

    assert action == (CleanUp(config_maps=(), jobs=(), expiring=expiring) if expiring else None)


def test_a_forged_number_of_an_attempt_costs_nothing() -> None:
    """An ended pod with a label of a million moves the next attempt by one only."""
    forged = with_change(ended_pod(JOB, code=0, uid="pod-9"), "metadata.labels", {**POD["metadata"]["labels"], LABEL_ATTEMPT: "1000000"})
    replaced = decide(observe(SEARCH, with_change(forged, "metadata.ownerReferences", [])), RUNNING)

    assert isinstance(replaced.action, CreateAttempt)
    assert replaced.status.attempt == 2


def test_cleaning_up_names_a_hundred_config_maps_at_most() -> None:
    """A status with three million attempts does not cost three million requests."""
    job = stored_job(SEARCH, 3_000_000, conditions=[condition("Complete")])
    done = finished().replace(attempt=3_000_000)
    due = decide(observe(SEARCH, job), done, at_s=NOW_S + 10**6)

    assert isinstance(due.action, CleanUp)
    assert len(due.action.config_maps) == 100
    assert due.action.config_maps[-1].endswith("-3000000")


def test_a_job_whose_controller_is_slow_is_not_taken_for_one_that_works() -> None:
    """The result is stored, the Job is not complete yet: it keeps its ConfigMap, and its time like any other."""
    seen = observe(SEARCH, JOB, ended_pod(JOB, code=0, message=result_text(SEARCH)))

    assert decide(seen, finished(), at_s=NOW_S + 1).action is None


def test_a_paused_search_is_left_alone_and_says_so() -> None:
    """No action and no other change while the annotation is set, for a new and for a running search."""
    paused = with_change(SEARCH, "metadata.annotations", {ANNOTATION_PAUSED: "true"})
    first = decide(observe(paused))
    later = decide(observe(paused, JOB, ended_pod(JOB, code=75)), RUNNING)
    again = decide(observe(paused, JOB), later.status, at_s=NOW_S + 500)
    released = decide(observe(SEARCH, JOB, POD, report=report(SEARCH)), later.status)

    assert (first.action, first.status.phase) == (None, Phase.PENDING)
    assert len(first.status.conditions) == len(ConditionType)
    assert verdict(first.status, ConditionType.ACCEPTED) == ("Unknown", "PausedByAnnotation")
    assert verdict(later.status, ConditionType.RECONCILIATION_PAUSED) == ("True", "PausedByAnnotation")
    assert (later.status.phase, later.action) == (Phase.RUNNING, None)
    assert [a.reason for a in later.announcements] == ["ReconciliationPaused"]
    assert again.status == later.status
    assert verdict(released.status, ConditionType.RECONCILIATION_PAUSED) == ("False", "NotPaused")
    assert [a.reason for a in released.announcements] == ["ReconciliationResumed"]
    assert isinstance(decide(observe(with_change(SEARCH, "metadata.annotations", {ANNOTATION_PAUSED: "false"}))).action, CreateAttempt)


def test_a_paused_end_keeps_its_children_until_the_annotation_goes() -> None:
    """A finished Job outlives its time to live while the annotation is set; the result does not change."""
    ended = {**JOB, "status": {"conditions": [condition("Complete")]}}
    over = decide(observe(SEARCH, ended, ended_pod(JOB, code=0, message=result_text(SEARCH))), RUNNING).status
    paused = with_change(SEARCH, "metadata.annotations", {ANNOTATION_PAUSED: "true"})
    held = decide(observe(paused, ended), over, at_s=NOW_S + 86_400)
    released = decide(observe(SEARCH, ended), held.status, at_s=NOW_S + 86_401)

    assert over.phase is Phase.SUCCEEDED
    assert (held.action, held.status.result) == (None, over.result)
    assert verdict(held.status, ConditionType.RECONCILIATION_PAUSED) == ("True", "PausedByAnnotation")
    assert [a.reason for a in held.announcements] == ["ReconciliationPaused"]
    assert isinstance(released.action, CleanUp)
    assert [a.reason for a in released.announcements] == ["ReconciliationResumed"]


CONVERGED = [
    ("Plateau", ("True", "Plateau")),
    ("Converged", ("True", "EntropyBelowThreshold")),
    ("GoalReached", ("True", "GoalReached")),
    ("Completed", ("False", "Completed")),
    ("Budget", ("False", "Budget")),
]


@pytest.mark.parametrize(("stop", "expected"), CONVERGED)
def test_converged_says_why_the_search_stopped(stop: str, expected: tuple[str, str]) -> None:
    """From the result: a search that stopped early is Converged, one that used its plan or its budget is not."""
    status = decide(observe(SEARCH, JOB, ended_pod(JOB, code=0, message=result_text(SEARCH, stop_reason=stop))), RUNNING).status

    assert verdict(status, ConditionType.CONVERGED) == expected


def test_converged_is_set_as_soon_as_the_trainer_reports_it_and_stays() -> None:
    """Before, it is Unknown; a restart of the operator or of the trainer keeps it; a failure has no result."""
    running = observe(SEARCH, JOB, POD, report=report(SEARCH, stop_reason="Plateau"))
    converged = decide(running, RUNNING).status
    failed = stored_job(SEARCH, conditions=[condition("Failed", "BackoffLimitExceeded")])

    assert verdict(RUNNING, ConditionType.CONVERGED) == ("Unknown", "InProgress")
    assert verdict(converged, ConditionType.CONVERGED) == ("True", "Plateau")
    assert verdict(decide(observe(SEARCH, JOB, INTERRUPTED), converged).status, ConditionType.CONVERGED) == ("True", "Plateau")
    assert verdict(decide(observe(SEARCH, failed), RUNNING).status, ConditionType.CONVERGED) == ("False", "NoResult")


def test_a_checkpoint_that_grows_old_is_announced_once() -> None:
    """CheckpointStale, a warning: an interruption now would cost much."""
    seen = observe(SEARCH, JOB, POD, report=report(SEARCH))
    stale = decide(seen, RUNNING, at_s=NOW_S + 700)

    assert [(a.type, a.reason) for a in stale.announcements] == [("Warning", "CheckpointStale")]
    assert decide(seen, stale.status, at_s=NOW_S + 710).announcements == ()


def test_a_first_job_that_is_refused_for_too_long_ends_the_search() -> None:
    """Without a Job, the start deadline counts from acceptance; the message quotes the refusal."""
    refused = Blocker(blamed=Blamed.TRAINER, reason=Reason.JOB_FORBIDDEN, message="exceeded quota: count/jobs.batch")
    first = decide(observe(LATE, blocker=refused)).status
    early, late = (decide(observe(LATE, blocker=refused), first, at_s=NOW_S + at_s) for at_s in (600, 601))
    explanation = verdict_of(late.status, ConditionType.SUCCEEDED)

    assert verdict(early.status, ConditionType.TRAINER_READY) == ("False", "JobForbidden")
    assert (late.status.phase, late.action, late.is_irreversible) == (Phase.FAILED, CleanUp(config_maps=(NAME,), jobs=()), True)
    assert explanation is not None
    assert (explanation.status, explanation.reason) == ("False", "StartDeadlineExceeded")
    assert "it waited for: JobForbidden: exceeded quota: count/jobs.batch" in explanation.message


@pytest.mark.parametrize(("path", "value"), [("spec.suspend", True), ("metadata.annotations", {ANNOTATION_PAUSED: "true"})])
def test_time_at_rest_does_not_count_against_the_first_job(path: str, value: object) -> None:
    """Resumed after an hour and refused: the deadline of 600 s counts from then, not from acceptance."""
    refused = Blocker(blamed=Blamed.TRAINER, reason=Reason.JOB_FORBIDDEN, message="exceeded quota: count/jobs.batch")
    accepted = decide(observe(LATE, blocker=refused)).status
    resting = decide(observe(with_change(LATE, path, value)), accepted, at_s=NOW_S + 2).status
    resumed = decide(observe(LATE, blocker=refused), resting, at_s=NOW_S + 3600)
    early, late = (decide(observe(LATE, blocker=refused), resumed.status, at_s=NOW_S + 3600 + at_s) for at_s in (599, 600))

    assert [explanation.status.phase for explanation in (resumed, early, late)] == [Phase.PENDING, Phase.PENDING, Phase.FAILED]


def test_a_wait_between_pods_has_its_reason_and_its_time() -> None:
    """At first the cause of the end; after 20 s the Job's back-off and its end: 10 s, 20 s, 40 s after the end."""
    pods = [ended_pod(JOB, code=1, message="boom", uid=f"pod-{n}", created_s=NOW_S + n, ended_s=NOW_S + 10 * n) for n in range(3)]
    failed = {**JOB, "status": {"failed": 3}}
    soon = decide(observe(SEARCH, failed, *pods), CREATED, at_s=NOW_S + 25)
    later = decide(observe(SEARCH, failed, *pods), soon.status, at_s=NOW_S + 41)
    explanation = verdict_of(later.status, ConditionType.TRAINER_READY)

    assert verdict(soon.status, ConditionType.TRAINER_READY) == ("False", "TrainerFailed")
    assert soon.requeue_after_s == 15
    assert explanation is not None
    assert explanation.reason == "BackOff"
    assert "at about 2027-01-15T08:01:00Z" in explanation.message
    assert "boom" in explanation.message


def test_a_quota_that_is_used_up_meanwhile_is_named() -> None:
    """The next pod is overdue and the Job's newest event says why."""
    over = ended_pod(JOB, code=75, ended_s=NOW_S)
    quota = WarningEvent(reason="FailedCreate", message="exceeded quota: pods", time_s=NOW_S + 11)
    old = replace(quota, time_s=NOW_S - 1)

    for warning, at_s, reason in ((quota, 31, "QuotaExceeded"), (old, 31, "BackOff"), (quota, 29, "BackOff")):
        seen = observe(SEARCH, JOB, over, warning=warning)
        assert verdict(decide(seen, RUNNING, at_s=NOW_S + at_s).status, ConditionType.TRAINER_READY) == ("False", reason)


def test_a_report_without_progress_ends_nothing() -> None:
    """A failed poll does not count as overtime."""
    search = limited(budget={"trainings": "4", "maxActiveSeconds": 1})
    missed = Report(pod_uid="pod-1", time_s=NOW_S, progress=None, misses=3, problem="timeout")
    foreign = Report(pod_uid="pod-0", time_s=NOW_S, progress=progress(search, pod_uid="pod-0", active_seconds=99.0))

    for answer in (missed, foreign):
        assert decide(observe(search, JOB, POD, report=answer), RUNNING).status.phase is not Phase.FAILED

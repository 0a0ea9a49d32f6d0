"""The plan while a search is suspended by spec.suspend or held back by a queue."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.base.digest import sha256
from autohas_api.base.names import LABEL_PRIORITY, LABEL_QUEUE
from autohas_api.testing.rejections import with_change
from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import CheckpointStatus, ConditionType, Phase, Status
from autohas_operator.decide.actions import CreateAttempt, DeleteJob
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.errors import Blamed, Blocker
from autohas_operator.records.observed import Observed, WarningEvent, search_record
from autohas_operator.testing.builders import (
    NOW_S,
    condition,
    ended_pod,
    error_text,
    interrupted_text,
    observe,
    report,
    result_text,
    running_pod,
    stored_job,
    stored_pod,
    stored_search,
)
from autohas_operator.testing.decisions import CREATED, JOB, POD, RUNNING, SEARCH, after, decide, verdict
from autohas_operator.wording import timestamp

PAUSED = stored_search(suspend=True)
LEAVING_JOB = with_change(JOB, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")
LEAVING_POD = with_change(POD, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")
LOST_POD = with_change(POD, "metadata.deletionTimestamp", "2027-01-15T07:50:00Z")
HELD = with_change(JOB, "spec.suspend", True)  # noqa: FBT003 - JSON


def in_queue(job: dict[str, Any], queue: str = "team") -> dict[str, Any]:
    return with_change(job, "metadata.labels", {**job["metadata"]["labels"], LABEL_QUEUE: queue})


def resumed(at_s: float) -> dict[str, Any]:
    """The Job in its queue after it was suspended and resumed."""
    ended = {"type": "Suspended", "status": "False", "reason": "JobResumed", "lastTransitionTime": timestamp(NOW_S + at_s)}
    return {**in_queue(JOB), "status": {"conditions": [ended]}}


def test_a_running_search_is_suspended_by_deleting_its_job() -> None:
    """Suspending first: the Job is deleted on fresh reads, and nothing is called suspended while a pod is left."""
    decided = decide(observe(PAUSED, JOB, POD, report=report(PAUSED)), RUNNING)

    assert decided.action == DeleteJob(name=JOB["metadata"]["name"], uid="job-1")
    assert decided.needs_fresh_reads
    assert decided.status.phase is Phase.SUSPENDING
    assert verdict(decided.status, ConditionType.SUSPENDED) == ("False", "Suspending")


@pytest.mark.parametrize(
    ("children", "reason"),
    [
        ((LEAVING_JOB, LEAVING_POD), "JobDeleted"),
        ((LEAVING_POD,), "WaitingForPodTermination"),
        ((POD,), "WaitingForPodTermination"),
        ((LEAVING_JOB, LOST_POD), "NodeUnreachable"),
        ((LOST_POD,), "NodeUnreachable"),
    ],
)
def test_a_search_is_suspended_when_no_pod_is_left(children: tuple[dict[str, Any], ...], reason: str) -> None:
    """Whatever is left of Job and pod, the search is Suspending and names what it waits for."""
    decided = decide(observe(PAUSED, *children), RUNNING)

    assert decided.action is None
    assert decided.status.phase is Phase.SUSPENDING
    assert verdict(decided.status, ConditionType.TRAINER_READY) == ("False", reason)
    assert verdict(decided.status, ConditionType.SUSPENDED) == ("False", "Suspending")


def test_a_suspended_search_keeps_its_checkpoint_for_as_long_as_it_rests() -> None:
    """Suspended names the step that is kept; a day later the checkpoint is not called stale, and nothing is written."""
    resting = decide(observe(PAUSED), RUNNING)
    later = decide(observe(PAUSED), resting.status, at_s=NOW_S + 86400)
    explanation = verdict_of(resting.status, ConditionType.SUSPENDED)

    assert explanation is not None
    assert (explanation.status, explanation.reason) == ("True", "SuspendRequested")
    assert "checkpoint of step 400 is kept" in explanation.message
    assert verdict(resting.status, ConditionType.TRAINER_READY) == ("False", "Suspended")
    assert verdict(resting.status, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert [a.reason for a in resting.announcements] == ["SearchSuspended"]
    assert later.status == resting.status
    assert later.action is None


STOPPED = {"step": 432, "checkpoint_digest": sha256("written at the stop")}


def stopped_pod(**answer: Any) -> dict[str, Any]:
    return ended_pod(JOB, code=75, message=interrupted_text(SEARCH, **answer), ended_s=NOW_S + 1.5)


def test_the_checkpoint_written_at_the_stop_is_the_one_that_rests() -> None:
    """No poll reports it: it comes with the termination message, is written at once although it is progress only, and stays."""
    suspending = decide(observe(PAUSED, LEAVING_JOB, LEAVING_POD), RUNNING).status
    stopped = decide(observe(PAUSED, LEAVING_JOB, stopped_pod(**STOPPED)), suspending).status
    explanation = verdict_of(decide(observe(PAUSED), stopped).status, ConditionType.SUSPENDED)

    assert suspending.checkpoint is not None
    assert suspending.checkpoint.step == 400
    assert stopped.checkpoint == CheckpointStatus(step=432, time=timestamp(NOW_S + 1.5), digest=sha256("written at the stop"))
    assert explanation is not None
    assert "checkpoint of step 432 is kept" in explanation.message


@pytest.mark.parametrize(
    "answer",
    [{**STOPPED, "pod_uid": "another"}, {**STOPPED, "attempt": 2}, {**STOPPED, "step": 399}, {"step": 432}],
    ids=["of another pod", "of another attempt", "older than known", "without a checkpoint"],
)
def test_a_termination_message_without_a_newer_checkpoint_changes_nothing(answer: dict[str, Any]) -> None:
    """The checkpoint that the trainer reported last stays."""
    decided = decide(observe(PAUSED, LEAVING_JOB, stopped_pod(**answer)), RUNNING)

    assert decided.status.checkpoint == RUNNING.checkpoint


def test_a_trainer_stopped_before_it_was_asked_is_counted_by_its_termination_message() -> None:
    """Starts as it read them from its claim, never fewer than before."""
    never_asked = decide(observe(SEARCH, JOB, POD), CREATED).status
    stopped = decide(observe(SEARCH, JOB, stopped_pod(starts=3)), never_asked).status

    assert (never_asked.starts, stopped.starts, stopped.interruptions) == (None, 3, 3)
    assert decide(observe(SEARCH, JOB, stopped_pod(starts=2)), stopped).status.starts == 3


def test_a_search_that_is_let_go_continues_with_the_next_attempt() -> None:
    """Attempt 2 with the image of the first; SearchResumed is posted, and no interruption."""
    resting = decide(observe(PAUSED), RUNNING).status
    going_on = decide(observe(SEARCH), resting)

    assert isinstance(going_on.action, CreateAttempt)
    assert going_on.status.attempt == 2
    assert verdict(going_on.status, ConditionType.SUSPENDED) == ("False", "Resumed")
    assert [a.reason for a in going_on.announcements] == ["SearchResumed", "TrainerJobCreated"]


def test_what_is_edited_while_suspended_is_what_runs_next() -> None:
    """A new image and new resources are those of attempt 2, and the new image is the pinned one."""
    resting = decide(observe(PAUSED), RUNNING).status
    edited = stored_search(trainer={"image": "mine:2", "resources": {"limits": {"cpu": "4"}}})
    going_on = decide(observe(edited), resting)

    assert isinstance(going_on.action, CreateAttempt)
    (container,) = going_on.action.job["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["resources"]) == ("mine:2", {"limits": {"cpu": "4"}})
    assert going_on.status.trainer is not None
    assert going_on.status.trainer.image == "mine:2"


def test_a_job_made_before_an_edit_was_seen_is_replaced() -> None:
    """Resumed, suspended, edited and resumed again between two passes: the Job of the older text is deleted."""
    resting = decide(observe(PAUSED), RUNNING).status
    early = stored_job(SEARCH, 2)
    edited = stored_search(trainer={"image": "mine:2"})

    decided = decide(observe(edited, early), resting)

    assert decided.action == DeleteJob(name=early["metadata"]["name"], uid="job-2")


def test_a_suspend_that_is_taken_back_while_the_pod_ends_is_no_interruption() -> None:
    """The Job is deleted, the next attempt follows, and SearchResumed is posted."""
    suspending = decide(observe(PAUSED, JOB, POD), RUNNING).status
    taken_back = decide(observe(SEARCH, LEAVING_JOB, LEAVING_POD), suspending)
    next_one = decide(observe(SEARCH), taken_back.status)

    assert taken_back.action is None
    assert [a.reason for a in taken_back.announcements] == ["SearchResumed"]
    assert isinstance(next_one.action, CreateAttempt)


def test_a_search_may_start_suspended() -> None:
    """It is judged, no Job is created, and its spec stays editable."""
    decided = decide(observe(PAUSED))

    assert decided.action is None
    assert decided.status.phase is Phase.SUSPENDED
    assert decided.status.attempt is None
    assert verdict(decided.status, ConditionType.ACCEPTED) == ("True", "Valid")
    assert verdict(decided.status, ConditionType.ADMITTED) == ("Unknown", "NoJob")


def test_a_trainer_that_has_just_ended_is_heard_before_the_pause() -> None:
    """Exit 0 while suspending: no delete; the result makes the search succeed."""
    silent = decide(observe(PAUSED, JOB, ended_pod(JOB, code=0)), RUNNING)
    spoken = decide(observe(PAUSED, JOB, ended_pod(JOB, code=0, message=result_text(PAUSED))), RUNNING)

    assert silent.action is None
    assert silent.status.phase is Phase.FINALIZING
    assert spoken.status.phase is Phase.SUCCEEDED
    assert verdict(spoken.status, ConditionType.SUSPENDED) == ("False", "NotSuspended")


def test_a_failure_is_a_failure_also_while_suspending() -> None:
    """A data error ends the search at once."""
    job = stored_job(PAUSED, conditions=[{"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": ""}])
    pod = ended_pod(job, code=65, message=error_text(PAUSED, "no file labels", code=65))

    assert decide(observe(PAUSED, job, pod), RUNNING).status.phase is Phase.FAILED


def test_a_wrong_spec_is_rejected_also_while_suspended() -> None:
    """The author of a suspended search learns of mistakes at once."""
    wrong = with_change(PAUSED, "spec.budget", {"trainings": "1"})

    assert decide(observe(wrong)).status.phase is Phase.REJECTED


ADMISSIONS = [
    (JOB, Status(), ("True", "NotQueued"), Phase.STARTING),
    (in_queue(JOB), CREATED, ("True", "NotQueued"), Phase.STARTING),
    (in_queue(HELD), CREATED, ("False", "WaitingForQuota"), Phase.QUEUED),
    (HELD, CREATED, ("False", "WaitingForQuota"), Phase.QUEUED),
]


@pytest.mark.parametrize(("job", "before", "admitted", "phase"), ADMISSIONS)
def test_quota_is_read_off_the_job_and_not_off_labels(job: dict[str, Any], before: Status, admitted: tuple[str, str], phase: Phase) -> None:
    """A suspended Job waits for quota whether it names a queue or not; a label alone holds nothing back."""
    status = decide(observe(SEARCH, job), before).status

    assert verdict(status, ConditionType.ADMITTED) == admitted
    assert status.phase is phase


def test_quota_comes_and_goes() -> None:
    """Waiting, too long, admitted, evicted, admitted again: each is announced once, and the Job stays."""
    status, answer = CREATED, []
    for at_s, job, pods in (
        (1, in_queue(HELD), ()),
        (602, in_queue(HELD), ()),
        (700, resumed(700), (POD,)),
        (800, in_queue(HELD), (LEAVING_POD,)),
        (900, resumed(900), ()),
    ):
        decided = decide(observe(SEARCH, job, *pods), status, at_s=NOW_S + at_s)
        assert decided.action is None
        status = decided.status
        answer.append((verdict(status, ConditionType.ADMITTED)[1], [a.reason for a in decided.announcements]))

    assert answer == [
        ("WaitingForQuota", []),
        ("WaitingForQuotaTooLong", ["WaitingForQuotaTooLong"]),
        ("QuotaReserved", ["QuotaAdmitted"]),
        ("Evicted", ["SearchInterrupted"]),
        ("QuotaReserved", ["QuotaAdmitted"]),
    ]


def test_a_queue_without_kueue_is_named() -> None:
    """The label is set and the Job was never suspended: the message asks whether Kueue is installed."""
    explanation = verdict_of(decide(observe(SEARCH, in_queue(JOB)), CREATED).status, ConditionType.ADMITTED)

    assert explanation is not None
    assert "queue team" in explanation.message
    assert "is Kueue installed?" in explanation.message


def test_queue_labels_reach_the_job_and_nothing_else_does() -> None:
    """Kueue reads them from the Job; other labels of the search are not copied, and the operator's cannot be overwritten."""
    labelled = with_change(SEARCH, "metadata.labels", {LABEL_QUEUE: "team", LABEL_PRIORITY: "low", "app": "x"})
    action = decide(observe(labelled)).action

    assert isinstance(action, CreateAttempt)
    labels = action.job["metadata"]["labels"]
    assert (labels[LABEL_QUEUE], labels[LABEL_PRIORITY]) == ("team", "low")
    assert "app" not in labels
    assert "suspend" not in action.job["spec"]
    assert search_record(labelled).spec_hash == search_record(SEARCH).spec_hash == search_record(PAUSED).spec_hash


KUEUE = {
    "labels": {LABEL_QUEUE: "team", "kueue.x-k8s.io/max-exec-time-seconds": "3600", "app": "x"},
    "annotations": {
        "provreq.kueue.x-k8s.io/maxRunDurationSeconds": "3600",
        "kueue.x-k8s.io/podset-required-topology": "cloud.provider.com/rack",
        "note": "x",
    },
}


def test_whatever_kueue_reads_is_where_it_reads_it() -> None:
    """Labels and annotations of its domain are on the Job, topology requests on the pods; the pod's own annotations win."""
    search = {**SEARCH, "metadata": {**SEARCH["metadata"], **KUEUE}}
    own = with_change(search, "spec.trainer", {"annotations": {"kueue.x-k8s.io/podset-required-topology": "rack", "a": "b"}})
    jobs = []
    for document in (search, own):
        action = decide(observe(document)).action
        assert isinstance(action, CreateAttempt)
        jobs.append(action.job)
    annotations = jobs[0]["metadata"]["annotations"]
    pods = [job["spec"]["template"]["metadata"]["annotations"] for job in jobs]

    assert jobs[0]["metadata"]["labels"]["kueue.x-k8s.io/max-exec-time-seconds"] == "3600"
    assert annotations["provreq.kueue.x-k8s.io/maxRunDurationSeconds"] == "3600"
    assert "kueue.x-k8s.io/podset-required-topology" not in annotations
    assert "note" not in annotations
    assert pods == [
        {"kueue.x-k8s.io/podset-required-topology": "cloud.provider.com/rack"},
        {"kueue.x-k8s.io/podset-required-topology": "rack", "a": "b"},
    ]


WRONG = with_change(SEARCH, "metadata.labels", {LABEL_QUEUE: "taem"})
CORRECTIONS = {
    "queue": with_change(SEARCH, "metadata.labels", {LABEL_QUEUE: "team"}),
    "priority": with_change(SEARCH, "metadata.labels", {LABEL_QUEUE: "taem", LABEL_PRIORITY: "high"}),
    "none": SEARCH,
    "annotation": with_change(WRONG, "metadata.annotations", {"provreq.kueue.x-k8s.io/a": "b"}),
}


@pytest.mark.parametrize("corrected", CORRECTIONS.values(), ids=CORRECTIONS)
def test_a_corrected_queue_replaces_a_job_that_was_never_admitted(corrected: dict[str, Any]) -> None:
    """Kueue reads them at creation: the Job is deleted, and the next one has the search's new labels."""
    held = with_change(stored_job(WRONG), "spec.suspend", True)  # noqa: FBT003 - JSON
    queued = decide(observe(WRONG, held), CREATED).status
    replaced = decide(observe(corrected, held), queued)
    following = decide(observe(corrected), replaced.status)

    assert replaced.action == DeleteJob(name=held["metadata"]["name"], uid="job-1")
    assert verdict(replaced.status, ConditionType.TRAINER_READY) == ("False", "QueueChanged")
    assert isinstance(following.action, CreateAttempt)
    assert search_record(corrected).queue_hash == following.action.job["metadata"]["annotations"]["autohas.dev/queue-hash"]
    assert following.action.job["metadata"]["labels"].get(LABEL_QUEUE) == corrected["metadata"].get("labels", {}).get(LABEL_QUEUE)


def test_a_queue_that_a_webhook_chose_is_no_correction() -> None:
    """Kueue may give a Job a default queue: the search's labels have not changed, and the Job stays."""
    held = with_change(stored_job(SEARCH), "spec.suspend", True)  # noqa: FBT003 - JSON
    defaulted = with_change(held, "metadata.labels", {**held["metadata"]["labels"], LABEL_QUEUE: "default"})

    assert decide(observe(SEARCH, defaulted), CREATED).action is None


@pytest.mark.parametrize("is_evicted", [False, True], ids=["at work", "evicted"])
def test_a_corrected_queue_of_an_admitted_job_applies_to_the_next(is_evicted: bool) -> None:  # noqa: FBT001 - a case
    """The Job stays; Admitted says how to apply the correction."""
    job = stored_job(WRONG, conditions=[{**condition("Suspended"), "status": "False"}])
    admitted = decide(observe(WRONG, job, running_pod(job), report=report(SEARCH)), CREATED).status
    seen = with_change(stored_job(WRONG), "spec.suspend", True) if is_evicted else job  # noqa: FBT003 - JSON
    pods = [] if is_evicted else [running_pod(job)]
    later = decide(observe(CORRECTIONS["queue"], seen, *pods, report=report(SEARCH)), admitted)
    explanation = verdict_of(later.status, ConditionType.ADMITTED)

    assert later.action is None
    assert explanation is not None
    assert explanation.message.endswith("they apply to the next Job (suspend the search and resume it)")


def test_a_job_that_a_queue_admitted_is_not_renewed() -> None:
    """Under a queue a new Job would have to wait for quota again: the back-off is shown instead."""
    often = RUNNING.replace(starts=3)

    queued = decide(observe(SEARCH, resumed(0)), often, at_s=NOW_S + 90)
    alone = decide(observe(SEARCH, JOB), often, at_s=NOW_S + 90)

    assert queued.action is None
    assert verdict(queued.status, ConditionType.TRAINER_READY) == ("False", "BackOff")
    assert isinstance(alone.action, DeleteJob)


def test_a_pod_that_is_left_over_delays_the_first_look_only() -> None:
    """An ended orphan writes nothing: it does not keep a search from being suspended."""
    orphan = stored_pod(JOB, phase="Failed")

    assert decide(observe(PAUSED, orphan), RUNNING).status.phase is Phase.SUSPENDED


def next_job(status: Status) -> dict[str, Any]:
    """The Job that follows, as it lies in the API server."""
    action = decide(observe(SEARCH), status, at_s=NOW_S + 5).action
    assert isinstance(action, CreateAttempt)
    metadata = {**action.job["metadata"], "uid": "job-2", "resourceVersion": "2", "creationTimestamp": timestamp(NOW_S + 5)}
    return {**action.job, "metadata": metadata, "status": {}}


AT_REST = after(observe(SEARCH), observe(SEARCH, JOB, POD, report=report(SEARCH)), observe(PAUSED, LEAVING_JOB), observe(PAUSED))
RESUMED = decide(observe(SEARCH), AT_REST, at_s=NOW_S + 5).status.replace(job_uid="job-2")
NEXT_JOB = next_job(AT_REST)
QUOTA = Blocker(blamed=Blamed.TRAINER, reason=Reason.QUOTA_EXCEEDED, message="exceeded quota: pods")
FULL = WarningEvent(reason="FailedCreate", message="exceeded quota: pods", time_s=NOW_S + 9)
QUEUED_AGAIN = after(observe(SEARCH), observe(SEARCH, JOB, POD, report=report(SEARCH)), observe(SEARCH, HELD))


@pytest.mark.parametrize(
    ("before", "view", "at_s", "reasons"),
    [
        (RESUMED, observe(SEARCH, NEXT_JOB), 6, []),
        (RESUMED, observe(SEARCH, NEXT_JOB, warning=FULL), 60, ["QuotaExceeded"]),
        (AT_REST, observe(SEARCH, blocker=QUOTA), 6, ["SearchResumed", "QuotaExceeded"]),
        (QUEUED_AGAIN, observe(SEARCH, resumed(5)), 6, ["QuotaAdmitted"]),
    ],
    ids=["no pod yet", "no pod for a quota", "no Job for a quota", "admitted again"],
)
def test_a_search_that_waits_for_its_next_pod_was_not_interrupted(before: Status, view: Observed, at_s: float, reasons: list[str]) -> None:
    """Without a running trainer, none was stopped: SearchInterrupted is posted for pods that ended."""
    assert [a.reason for a in decide(view, before, at_s=NOW_S + at_s).announcements] == reasons


@pytest.mark.parametrize(("code", "reasons"), [(75, ["SearchInterrupted"]), (1, ["TrainerFailed"])], ids=["stopped", "failed"])
def test_an_end_while_no_operator_ran_is_announced_later(code: int, reasons: list[str]) -> None:
    """The trainer started and ended while no operator ran; its Job is in its back-off."""
    late = decide(observe(SEARCH, JOB, ended_pod(JOB, code=code, ended_s=NOW_S)), CREATED, at_s=NOW_S + 60)

    assert [a.reason for a in late.announcements] == reasons


def test_a_job_that_never_had_a_pod_does_not_wait_for_the_end_of_one() -> None:
    """The back-off of the Job controller counts from a pod of this Job; a report of an earlier attempt is none."""
    answer = verdict_of(decide(observe(SEARCH, NEXT_JOB), RESUMED, at_s=NOW_S + 60).status, ConditionType.TRAINER_READY)

    assert answer is not None
    assert (answer.reason, answer.message.rpartition(": ")[2]) == ("PodsNotCreated", "is the Job controller running?")

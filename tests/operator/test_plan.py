"""The decision as tables: what is observed and said before, against phase, conditions and action."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autohas_api.status import ConditionType, Phase, Status
from autohas_api.testing import changed
from autohas_operator.conditions import verdict_of
from autohas_operator.course import CreateAttempt, DeleteJob
from autohas_operator.errors import Blamed, Obstacle
from autohas_operator.observe import Explanation, Observed, Report
from autohas_operator.plan import Plan, plan
from autohas_operator.testing.builders import (
    NOW_S,
    PODS,
    condition,
    ended_pod,
    error_text,
    interrupted_text,
    notice,
    observed,
    report,
    result_text,
    running_pod,
    stored_job,
    stored_pod,
    stored_search,
)

SEARCH = stored_search()
JOB = stored_job(SEARCH)
POD = running_pod(JOB)


def decide(seen: Observed, previous: Status | None = None, *, at_s: float = NOW_S + 1) -> Plan:
    return plan(seen, previous if previous is not None else Status(), PODS, at_s)


def after(*views: Observed, at_s: float = NOW_S + 1) -> Status:
    """The status after passes over these views, one second apart."""
    status = Status()
    for second, view in enumerate(views):
        status = decide(view, status, at_s=at_s + second).status
    return status


def verdict(status: Status, kind: ConditionType) -> tuple[str, str]:
    found = verdict_of(status, kind)
    assert found is not None
    return found.status, found.reason


CREATED = after(observed(SEARCH))
RUNNING = after(observed(SEARCH), observed(SEARCH, JOB, POD, report=report(SEARCH)))


def test_a_new_search_gets_its_first_attempt_and_all_conditions() -> None:
    """The first visit creates attempt 1 and says all five conditions, each of the spec's generation."""
    decided = decide(observed(SEARCH))

    assert isinstance(decided.action, CreateAttempt)
    assert decided.needs_fresh_reads
    assert decided.status.phase is Phase.STARTING
    assert decided.status.attempt == 1
    assert decided.status.trainer is not None
    assert decided.status.trainer.image == "trainer:1"
    assert [c.type for c in decided.status.conditions] == [kind.value for kind in ConditionType]
    assert {c.observed_generation for c in decided.status.conditions} == {1}
    assert [a.reason for a in decided.announcements] == ["SearchAccepted", "TrainerJobCreated"]


def waiting(reason: str, message: str = "m") -> dict[str, Any]:
    return stored_pod(JOB, state={"waiting": {"reason": reason, "message": message}})


UNSCHEDULABLE = stored_pod(
    JOB,
    scheduled=False,
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no GPU"}],
)
TERMINATING = changed(POD, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")
LOST = changed(POD, "metadata.deletionTimestamp", "2027-01-15T07:50:00Z")
MISSED = replace(report(SEARCH), misses=3, problem="no connection: ClientConnectorError")
NEVER = Report(pod_uid="pod-1", time_s=NOW_S, progress=None, misses=3, problem="timeout")
SKEW = Report(pod_uid="pod-1", time_s=NOW_S, progress=None, misses=1, problem="message has version 2", is_version_skew=True)
DISRUPTED = changed(ended_pod(JOB, code=137), "status.conditions", [condition("DisruptionTarget", message="preempted by vip")])

NO_CLAIM = Explanation(reason="FailedMount", message="no claim ck", time_s=NOW_S)

TRAINER_STATES = [
    (observed(SEARCH, JOB), 1, Phase.STARTING, ("False", "WaitingForPod")),
    (observed(SEARCH, JOB), 25, Phase.STARTING, ("False", "PodsNotCreated")),
    (
        observed(SEARCH, JOB, explanation=Explanation(reason="FailedCreate", message="exceeded quota", time_s=NOW_S)),
        25,
        Phase.STARTING,
        ("False", "PodsNotCreated"),
    ),
    (observed(SEARCH, {**JOB, "status": {"failed": 1}}), 25, Phase.INTERRUPTED, ("False", "BackOff")),
    (observed(SEARCH, changed(JOB, "spec.suspend", True)), 25, Phase.STARTING, ("False", "JobSuspended")),  # noqa: FBT003 - JSON
    (observed(SEARCH, JOB, UNSCHEDULABLE), 1, Phase.STARTING, ("False", "Unschedulable")),
    (observed(SEARCH, JOB, waiting("ImagePullBackOff")), 1, Phase.STARTING, ("False", "ImagePullFailed")),
    (observed(SEARCH, JOB, waiting("ErrImageNeverPull")), 1, Phase.STARTING, ("False", "ImagePullFailed")),
    (observed(SEARCH, JOB, waiting("CreateContainerConfigError")), 1, Phase.STARTING, ("False", "ContainerNotCreated")),
    (observed(SEARCH, JOB, waiting("ContainerCreating")), 1, Phase.STARTING, ("False", "PodStarting")),
    (observed(SEARCH, JOB, waiting("ContainerCreating")), 70, Phase.STARTING, ("False", "ContainerNotCreated")),
    (
        observed(SEARCH, JOB, waiting("ContainerCreating"), explanation=NO_CLAIM),
        70,
        Phase.STARTING,
        ("False", "FailedMount"),
    ),
    (observed(SEARCH, JOB, running_pod(JOB, started=False)), 1, Phase.STARTING, ("False", "WaitingForReport")),
    (observed(SEARCH, JOB, running_pod(JOB, started=False), report=NEVER), 1, Phase.STARTING, ("False", "WaitingForReport")),
    (observed(SEARCH, JOB, POD, report=NEVER), 1, Phase.RUNNING, ("Unknown", "ProgressUnreachable")),
    (observed(SEARCH, JOB, POD, report=report(SEARCH)), 1, Phase.RUNNING, ("True", "Reporting")),
    (observed(SEARCH, JOB, POD, report=replace(MISSED, misses=2)), 1, Phase.RUNNING, ("True", "Reporting")),
    (observed(SEARCH, JOB, POD, report=MISSED), 1, Phase.RUNNING, ("Unknown", "ProgressUnreachable")),
    (observed(SEARCH, JOB, POD, report=report(SEARCH, pod_uid="another")), 1, Phase.STARTING, ("False", "WaitingForReport")),
    (observed(SEARCH, JOB, POD, report=SKEW), 1, Phase.RUNNING, ("Unknown", "VersionSkew")),
    (observed(SEARCH, JOB, TERMINATING), 1, Phase.INTERRUPTED, ("False", "Terminating")),
    (observed(SEARCH, JOB, LOST), 1, Phase.INTERRUPTED, ("False", "NodeUnreachable")),
    (observed(SEARCH, JOB, ended_pod(JOB, code=75)), 1, Phase.INTERRUPTED, ("False", "Interrupted")),
    (observed(SEARCH, JOB, DISRUPTED), 1, Phase.INTERRUPTED, ("False", "Interrupted")),
    (observed(SEARCH, JOB, ended_pod(JOB, code=1)), 1, Phase.INTERRUPTED, ("False", "TrainerFailed")),
    (observed(SEARCH, JOB, ended_pod(JOB, code=0)), 1, Phase.FINALIZING, ("False", "TrainerExited")),
    (observed(SEARCH, changed(JOB, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")), 1, Phase.INTERRUPTED, ("False", "JobDeleted")),
]


@pytest.mark.parametrize(("seen", "age_s", "phase", "ready"), TRAINER_STATES, ids=[case[3][1] for case in TRAINER_STATES])
def test_every_state_of_the_trainer_has_its_phase_and_reason(
    seen: Observed, age_s: float, phase: Phase, ready: tuple[str, str]
) -> None:
    """Job, pods and report decide phase and TrainerReady; nothing is created, deleted or ended."""
    decided = decide(seen, CREATED, at_s=NOW_S + age_s)

    assert decided.action is None
    assert decided.status.phase is phase
    assert verdict(decided.status, ConditionType.TRAINER_READY) == ready
    assert verdict(decided.status, ConditionType.FINISHED) == ("False", "InProgress")


def test_what_hangs_outside_is_named_in_the_condition() -> None:
    """The text of the newest event, of the scheduler and of the kubelet reaches the person."""
    quota = observed(SEARCH, JOB, explanation=Explanation(reason="FailedCreate", message="exceeded quota: gpus", time_s=NOW_S))

    for seen, words in ((quota, "exceeded quota: gpus"), (observed(SEARCH, JOB, UNSCHEDULABLE), "0/1 nodes: no GPU")):
        told = verdict_of(decide(seen, CREATED, at_s=NOW_S + 25).status, ConditionType.TRAINER_READY)
        assert told is not None
        assert words in told.message


def test_a_running_search_shows_what_the_trainer_said() -> None:
    """Progress is short text; the first report is announced."""
    decided = decide(observed(SEARCH, JOB, POD, report=report(SEARCH)), CREATED)
    status = decided.status

    assert (status.stage, status.progress, status.eta) == ("Lanes", "42%", "1h30m")
    assert (status.best, status.entropy, status.starts, status.interruptions) == ("0.91", "0.80", 1, 0)
    assert status.checkpoint is not None
    assert status.checkpoint.step == 400
    assert verdict(status, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert [a.reason for a in decided.announcements] == ["SearchStarted"]


def test_an_operator_that_has_just_started_keeps_what_was_said() -> None:
    """Before its first poll a new operator does not call a running search Starting."""
    decided = decide(observed(SEARCH, JOB, POD), RUNNING)

    assert decided.status == RUNNING


def test_a_new_pod_is_not_taken_for_the_one_that_reported() -> None:
    """The pod after an interruption is Starting until it reports itself."""
    late = running_pod(JOB, uid="pod-2", created_s=NOW_S + 100)

    decided = decide(observed(SEARCH, JOB, ended_pod(JOB, code=75), late), RUNNING, at_s=NOW_S + 101)

    assert decided.status.phase is Phase.STARTING


def test_progress_alone_is_written_at_most_every_fifteen_seconds() -> None:
    """A newer report waits for its turn; one with a notice does not."""
    soon = report(SEARCH, at_s=NOW_S + 5, percent=43.0)
    noticed = report(SEARCH, at_s=NOW_S + 5, notices=[notice(1, "CheckpointRestored")])

    early = decide(observed(SEARCH, JOB, POD, report=soon), RUNNING, at_s=NOW_S + 5)
    due = decide(observed(SEARCH, JOB, POD, report=soon), RUNNING, at_s=NOW_S + 15)
    told = decide(observed(SEARCH, JOB, POD, report=noticed), RUNNING, at_s=NOW_S + 5)

    assert early.status == RUNNING
    assert early.look_again_s == 10
    assert due.status.progress == "43%"
    assert told.status.last_notice == 1
    assert [a.reason for a in told.announcements] == ["CheckpointRestored"]


def test_a_report_that_says_nothing_new_changes_nothing() -> None:
    """A poll that finds the same step is no reason to write."""
    decided = decide(observed(SEARCH, JOB, POD, report=report(SEARCH, at_s=NOW_S + 300)), RUNNING, at_s=NOW_S + 300)

    assert decided.status == RUNNING


def test_notices_become_events_once_and_cannot_forge_ours() -> None:
    """Known reasons keep their name, others become TrainerNotice, told ones are not told again."""
    said = report(SEARCH, notices=[notice(1, "CheckpointRestored"), notice(2, "ResultStored"), notice(3, "RestoreFailed")])
    before = RUNNING.model_copy(update={"last_notice": 1})

    decided = decide(observed(SEARCH, JOB, POD, report=said), before)

    assert [(a.type, a.reason) for a in decided.announcements] == [("Normal", "TrainerNotice"), ("Warning", "RestoreFailed")]
    assert decided.status.last_notice == 3


def test_an_interruption_and_the_pod_after_it_are_announced_once() -> None:
    """SearchInterrupted is said at the transition only."""
    stopped = observed(SEARCH, JOB, ended_pod(JOB, code=75, message=interrupted_text(SEARCH)))

    first = decide(stopped, RUNNING, at_s=NOW_S + 20)
    second = decide(stopped, first.status, at_s=NOW_S + 21)

    assert [a.reason for a in first.announcements] == ["SearchInterrupted"]
    assert second.announcements == ()
    assert second.status == first.status


def test_version_skew_is_said_and_harms_nobody() -> None:
    """A trainer of another version is not accepted, and goes on."""
    decided = decide(observed(SEARCH, JOB, POD, report=SKEW), RUNNING)

    assert verdict(decided.status, ConditionType.ACCEPTED) == ("False", "VersionSkew")
    assert decided.status.phase is Phase.RUNNING
    assert decided.action is None


def test_checkpoints_on_the_pods_disk_are_called_what_they_are() -> None:
    """With emptyDir CheckpointReady is False and a warning is given, once."""
    search = stored_search(durable=False)

    decided = decide(observed(search))

    assert verdict(decided.status, ConditionType.CHECKPOINT_READY) == ("False", "NotDurable")
    assert ("Warning", "CheckpointNotDurable") in [(a.type, a.reason) for a in decided.announcements]


def test_a_checkpoint_that_grows_old_is_stale() -> None:
    """Two periods and a minute after the last checkpoint CheckpointReady turns False."""
    seen = observed(SEARCH, JOB, POD, report=report(SEARCH))

    assert verdict(decide(seen, RUNNING, at_s=NOW_S + 659).status, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert verdict(decide(seen, RUNNING, at_s=NOW_S + 661).status, ConditionType.CHECKPOINT_READY) == ("False", "Stale")


def test_a_job_deleted_by_hand_is_followed_by_the_next_attempt() -> None:
    """Attempt 2 is created, with the image of the first, and announced as an interruption."""
    before = RUNNING.model_copy(update={"trainer": RUNNING.trainer})
    decided = plan(observed(SEARCH), before, replace(PODS, image="trainer:2"), NOW_S + 50)

    assert isinstance(decided.action, CreateAttempt)
    assert decided.action.job["metadata"]["name"].endswith("-2")
    assert decided.action.job["spec"]["template"]["spec"]["containers"][0]["image"] == "trainer:1"
    assert decided.status.attempt == 2


@pytest.mark.parametrize("pod", [POD, TERMINATING, stored_pod(JOB)], ids=["running", "terminating", "pending"])
def test_no_attempt_while_a_pod_is_left(pod: dict[str, Any]) -> None:
    """Two trainers never share a checkpoint."""
    decided = decide(observed(SEARCH, pod), RUNNING)

    assert decided.action is None
    assert decided.status.phase is Phase.INTERRUPTED
    assert verdict(decided.status, ConditionType.TRAINER_READY) == ("False", "WaitingForPodToEnd")


def test_an_ended_orphan_does_not_block_the_next_attempt() -> None:
    """A pod that is over works on nothing, whoever orphaned it."""
    assert isinstance(decide(observed(SEARCH, ended_pod(JOB, code=75)), RUNNING).action, CreateAttempt)


def test_a_search_edited_before_its_attempt_was_noted_replaces_its_job() -> None:
    """The operator was killed between create and status write, and the spec was changed meanwhile."""
    edited = changed(SEARCH, "spec.algorithm", {"seed": 7})

    decided = decide(observed(edited, JOB))

    assert decided.action == DeleteJob(name=JOB["metadata"]["name"], uid="job-1")


def test_a_spec_that_looks_different_after_an_upgrade_keeps_its_job() -> None:
    """Once the attempt is noted the API server forbids edits; new defaults of a newer CRD are none."""
    edited = changed(SEARCH, "spec.algorithm", {"seed": 0})

    assert decide(observed(edited, JOB, POD, report=report(SEARCH)), RUNNING).action is None


def test_a_job_that_is_not_ours_is_never_adopted() -> None:
    """Labels alone do not make a Job ours."""
    foreign = changed(JOB, "metadata.ownerReferences", [])

    assert isinstance(decide(observed(SEARCH, foreign)).action, CreateAttempt)


def test_a_job_that_is_deleted_after_its_result_still_succeeds() -> None:
    """A result is a result, whatever becomes of the Job."""
    leaving = changed(JOB, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")

    assert decide(observed(SEARCH, leaving, ended_pod(JOB, code=0, message=result_text(SEARCH))), RUNNING).status.phase is Phase.SUCCEEDED


def test_a_stricter_operator_does_not_reject_what_has_begun() -> None:
    """Acceptance is judged before the first attempt; an upgrade changes nothing for running searches."""
    poor = changed(SEARCH, "spec.budget", {"trainings": "1"})

    assert decide(observed(poor, JOB, POD, report=report(SEARCH)), RUNNING).status.phase is Phase.RUNNING


def test_an_old_event_does_not_explain_a_new_wait() -> None:
    """The quota was short before the start; now the Job backs off after an interruption."""
    old = Explanation(reason="FailedCreate", message="exceeded quota", time_s=NOW_S - 60)

    assert verdict(decide(observed(SEARCH, JOB, explanation=old), RUNNING, at_s=NOW_S + 90).status, ConditionType.TRAINER_READY) == (
        "False",
        "BackOff",
    )


def test_a_valid_result_ends_the_search() -> None:
    """The result is expanded and copied, best is the test score, both ends are said."""
    seen = observed(SEARCH, JOB, ended_pod(JOB, code=0, message=result_text(SEARCH), reason="Completed"))
    decided = decide(seen, RUNNING, at_s=NOW_S + 99)
    status = decided.status

    assert decided.needs_fresh_reads
    assert status.phase is Phase.SUCCEEDED
    assert verdict(status, ConditionType.SUCCEEDED) == ("True", "ResultStored")
    assert verdict(status, ConditionType.FINISHED) == ("True", "Succeeded")
    assert (status.best, status.progress, status.eta) == ("0.93", "100%", None)
    assert status.result is not None
    assert status.result.model_path == f"ml/fashion/{SEARCH['metadata']['uid']}/"
    assert {v.name for v in status.result.hyperparameters} == {"learning_rate", "weight_decay"}
    assert [a.reason for a in decided.announcements] == ["ResultStored"]


def test_a_finished_search_is_left_alone() -> None:
    """Whatever becomes of Job and pods, nothing follows but the generation that was looked at."""
    seen = observed(SEARCH, JOB, ended_pod(JOB, code=0, message=result_text(SEARCH)))
    done = decide(seen, RUNNING).status

    decided = decide(observed(changed(SEARCH, "metadata.generation", 2)), done)

    assert decided.action is None
    assert decided.status == done.model_copy(update={"observed_generation": 2})


HOSTILE_RESULTS = {
    "text": "Traceback (most recent call last): boom",
    "nan": result_text(SEARCH).replace("0.93", "NaN"),
    "infinite": result_text(SEARCH).replace("0.93", "1e999"),
    "deep": "[" * 4000,
    "list": "[]",
    "long": "x" * 5000,
    "other kind": interrupted_text(SEARCH),
    "other search": result_text(SEARCH).replace(SEARCH["metadata"]["uid"], "other"),
    "other pod": result_text(SEARCH, pod_uid="pod-2"),
    "other attempt": result_text(SEARCH, attempt=2),
    "other version": result_text(SEARCH).replace('"version":1', '"version":2'),
    "other score": result_text(SEARCH, test_score=0.99),
    "other configuration": result_text(SEARCH, configuration_digest="sha256:" + "0" * 64),
    "too few choices": result_text(SEARCH, choices=[0]),
    "choice out of range": result_text(SEARCH).replace('"choices":[', '"choices":[64,'),
    "lone surrogate": '"\ud800"',
}


@pytest.mark.parametrize("text", HOSTILE_RESULTS.values(), ids=HOSTILE_RESULTS)
def test_exit_code_0_with_anything_but_a_valid_result_is_never_success(text: str) -> None:
    """The search fails with ResultInvalid and no result is stored."""
    status = decide(observed(SEARCH, JOB, ended_pod(JOB, code=0, message=text)), RUNNING).status

    assert status.phase is Phase.FAILED
    assert verdict(status, ConditionType.SUCCEEDED) == ("False", "ResultInvalid")
    assert status.result is None
    assert Status.model_validate_json(status.model_dump_json(by_alias=True, exclude_none=True)) == status


FAILED_JOB = stored_job(SEARCH, conditions=[condition("Failed", "PodFailurePolicy", "Container trainer failed with exit code 78 matching")])
EXHAUSTED_JOB = stored_job(SEARCH, conditions=[condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")])
FAILURES = [
    (FAILED_JOB, ended_pod(JOB, code=64, message=error_text(SEARCH, "no such flag", code=64)), "ConfigError", "no such flag"),
    (FAILED_JOB, ended_pod(JOB, code=78, message=error_text(SEARCH, "no GPU here", code=78)), "ConfigError", "no GPU here"),
    (FAILED_JOB, ended_pod(JOB, code=65, message=error_text(SEARCH, "no file labels", code=65)), "DataError", "no file labels"),
    (FAILED_JOB, ended_pod(JOB, code=66), "NoUsableCheckpoint", "exit code 66"),
    (FAILED_JOB, ended_pod(JOB, code=70, message="loss is nan"), "NumericalFailure", "loss is nan"),
    (FAILED_JOB, None, "ConfigError", "exit code 78"),
    (EXHAUSTED_JOB, ended_pod(JOB, code=1, message="KeyError: 'x'\n\x1b[31mred\x00"), "BackoffLimitExceeded", "KeyError: 'x' [31mred"),
    (EXHAUSTED_JOB, ended_pod(JOB, code=137, reason="OOMKilled"), "BackoffLimitExceeded", "OOMKilled"),
    (EXHAUSTED_JOB, None, "BackoffLimitExceeded", "backoff limit"),
]


@pytest.mark.parametrize(("job", "pod", "reason", "words"), FAILURES, ids=[f"{f[2]}-{i}" for i, f in enumerate(FAILURES)])
def test_a_failed_job_fails_the_search_in_the_trainers_words(
    job: dict[str, Any], pod: dict[str, Any] | None, reason: str, words: str
) -> None:
    """The reason follows the exit code, the message is the trainer's sentence, printable and short."""
    decided = decide(observed(SEARCH, job, *([pod] if pod else [])), RUNNING)
    told = verdict_of(decided.status, ConditionType.SUCCEEDED)

    assert told is not None
    assert (told.status, told.reason) == ("False", reason)
    assert words in told.message
    assert told.message.isprintable()
    assert decided.status.phase is Phase.FAILED
    assert [a.reason for a in decided.announcements] == ["SearchFailed"]


COMPLETE_JOB = stored_job(SEARCH, conditions=[condition("Complete")])


def test_a_complete_job_without_its_pod_is_repeated_once() -> None:
    """Intention first, then the delete, then attempt 2; lost again, the search fails with ResultMissing."""
    gone = observed(SEARCH, COMPLETE_JOB)
    noted = decide(gone, RUNNING)
    deleting = decide(gone, noted.status)
    repeating = decide(observed(SEARCH), deleting.status)
    second = stored_job(SEARCH, 2, conditions=[condition("Complete")])
    lost = decide(observed(SEARCH, second), repeating.status)

    assert noted.action is None
    assert noted.needs_fresh_reads
    assert verdict(noted.status, ConditionType.SUCCEEDED) == ("Unknown", "ResultMissing")
    assert isinstance(deleting.action, DeleteJob)
    assert isinstance(repeating.action, CreateAttempt)
    assert verdict(repeating.status, ConditionType.SUCCEEDED) == ("Unknown", "RepeatingForResult")
    assert verdict(lost.status, ConditionType.SUCCEEDED) == ("False", "ResultMissing")


def test_a_repetition_is_remembered_over_a_restart_before_its_status_write() -> None:
    """Job 2 is there and complete, status still says attempt 1: no third attempt."""
    noted = decide(observed(SEARCH, COMPLETE_JOB), RUNNING).status
    second = stored_job(SEARCH, 2, conditions=[condition("Complete")])

    assert decide(observed(SEARCH, second), noted).status.phase is Phase.FAILED


def test_a_repetition_that_speaks_succeeds() -> None:
    """The trainer found its result and said it again."""
    noted = decide(observed(SEARCH, COMPLETE_JOB), RUNNING).status
    second = stored_job(SEARCH, 2)
    pod = ended_pod(second, code=0, message=result_text(SEARCH, attempt=2))

    assert decide(observed(SEARCH, second, pod), noted).status.phase is Phase.SUCCEEDED


def test_a_spec_that_cannot_work_is_rejected_and_mended_by_an_edit() -> None:
    """No Job is made; the sentence names the field; the edited spec starts."""
    wrong = changed(SEARCH, "spec.budget", {"trainings": "1"})
    rejected = decide(observed(wrong))
    mended = decide(observed(changed(SEARCH, "metadata.generation", 2)), rejected.status)
    told = verdict_of(rejected.status, ConditionType.ACCEPTED)

    assert rejected.action is None
    assert rejected.status.phase is Phase.REJECTED
    assert told is not None
    assert "spec.budget.trainings: must be at least" in told.message
    assert [a.reason for a in rejected.announcements] == ["SearchRejected"]
    assert len(rejected.status.conditions) == len(ConditionType)
    assert isinstance(mended.action, CreateAttempt)
    assert mended.status.phase is Phase.STARTING


@pytest.mark.parametrize(
    ("obstacle", "phase", "kind", "said"),
    [
        (Obstacle(blamed=Blamed.SPEC, reason="TemplateRejected", message="m"), Phase.REJECTED, ConditionType.ACCEPTED, "TemplateRejected"),
        (Obstacle(blamed=Blamed.TRAINER, reason="JobForbidden", message="m"), Phase.PENDING, ConditionType.TRAINER_READY, "JobForbidden"),
        (Obstacle(blamed=Blamed.TRAINER, reason="NameConflict", message="m"), Phase.PENDING, ConditionType.TRAINER_READY, "NameConflict"),
    ],
    ids=lambda value: value.reason if isinstance(value, Obstacle) else "",
)
def test_a_refused_create_is_shown_and_not_counted_as_an_attempt(
    obstacle: Obstacle, phase: Phase, kind: ConditionType, said: str
) -> None:
    """The spec stays editable: no attempt is noted."""
    status = decide(observed(SEARCH, obstacle=obstacle)).status

    assert status.phase is phase
    assert status.attempt is None
    assert verdict(status, kind) == ("False", said)


def test_a_search_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    """Neither action nor word."""
    leaving = changed(SEARCH, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")

    decided = decide(observed(leaving), RUNNING)

    assert (decided.action, decided.status, decided.announcements) == (None, RUNNING, ())


def test_transition_times_move_only_with_the_status() -> None:
    """A new reason keeps the time, a flip moves it."""
    pulling = decide(observed(SEARCH, JOB, waiting("ImagePullBackOff")), CREATED, at_s=NOW_S + 9).status
    running = decide(observed(SEARCH, JOB, POD, report=report(SEARCH)), pulling, at_s=NOW_S + 30).status
    times = [next(c.last_transition_time for c in s.conditions if c.type == "TrainerReady") for s in (CREATED, pulling, running)]

    assert times[0] == times[1]
    assert times[1] < times[2]

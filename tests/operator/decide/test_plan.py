"""The plan while a trainer runs or should run: phase, conditions, action and events for each observation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import ConditionType, Phase, Status, TrainerStatus
from autohas_operator.decide.actions import CreateAttempt
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import plan
from autohas_operator.records.observed import Observed, Report, WarningEvent
from autohas_operator.testing import kubernetes_messages
from autohas_operator.testing.builders import (
    NOW_S,
    PODS,
    condition,
    ended_pod,
    interrupted_text,
    notice,
    observe,
    report,
    running_pod,
    stored_job,
    stored_pod,
    stored_search,
)
from autohas_operator.testing.decisions import CREATED, JOB, POD, RUNNING, SEARCH, decide, verdict


def test_a_new_search_gets_its_first_attempt_and_all_conditions() -> None:
    """The first pass creates attempt 1 and writes all conditions with the spec's generation."""
    decided = decide(observe(SEARCH))

    assert isinstance(decided.action, CreateAttempt)
    assert decided.needs_fresh_reads
    assert decided.status.phase is Phase.STARTING
    assert decided.status.attempt == 1
    assert decided.status.trainer is not None
    assert decided.status.trainer.image == "trainer:1"
    assert [c.type for c in decided.status.conditions] == [kind.value for kind in ConditionType]
    assert {c.observed_generation for c in decided.status.conditions} == {1}
    assert [a.reason for a in decided.announcements] == ["SearchAccepted", "TrainerJobCreated"]


def test_status_names_who_wrote_the_files_on_the_claim() -> None:
    """User and group are those of the running Job, not those that an upgraded operator would give the next one."""
    made = decide(observe(SEARCH)).status
    others = replace(PODS, run_as_user=None, fs_group=2000, image_pull_secrets=("registry",))
    running = plan(observe(SEARCH, JOB, POD), made, others, NOW_S + 2).status
    following = plan(observe(SEARCH), running, others, NOW_S + 3).status

    assert made.trainer == TrainerStatus(image="trainer:1", run_as_user=65532, fs_group=65532)
    assert running.trainer == TrainerStatus(image="trainer:1", pinned_image="trainer:1", run_as_user=65532, fs_group=65532)
    assert following.trainer == TrainerStatus(
        image="trainer:1", pinned_image="trainer:1", run_as_user=None, fs_group=2000, image_pull_secrets=["registry"]
    )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return stored_pod(JOB, state={"waiting": {"reason": reason, "message": message}})


UNSCHEDULABLE = stored_pod(
    JOB,
    scheduled=False,
    conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": kubernetes_messages.NO_GPU}],
)
TERMINATING = with_change(POD, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")
LOST = with_change(POD, "metadata.deletionTimestamp", "2027-01-15T07:50:00Z")
MISSED = replace(report(SEARCH), misses=3, problem="no connection: ClientConnectorError")
NEVER = Report(pod_uid="pod-1", time_s=NOW_S, progress=None, misses=3, problem="timeout")
EARLY = replace(NEVER, misses=4, is_early=True)
SKEW = Report(pod_uid="pod-1", time_s=NOW_S, progress=None, misses=1, problem="message has version 2", is_version_skew=True)
DISRUPTED = with_change(ended_pod(JOB, code=137), "status.conditions", [condition("DisruptionTarget", message="preempted by vip")])

UNMOUNTED = WarningEvent(reason="FailedMount", message=kubernetes_messages.NO_MOUNT, time_s=NOW_S)

TRAINER_STATES = [
    (observe(SEARCH, JOB), 1, Phase.STARTING, ("False", "WaitingForPod")),
    (observe(SEARCH, JOB), 25, Phase.STARTING, ("False", "PodsNotCreated")),
    (
        observe(SEARCH, JOB, warning=WarningEvent(reason="FailedCreate", message=kubernetes_messages.QUOTA, time_s=NOW_S)),
        25,
        Phase.STARTING,
        ("False", "QuotaExceeded"),
    ),
    (observe(SEARCH, {**JOB, "status": {"failed": 1}}), 25, Phase.INTERRUPTED, ("False", "BackOff")),
    (observe(SEARCH, with_change(JOB, "spec.suspend", True)), 25, Phase.QUEUED, ("False", "JobSuspended")),  # noqa: FBT003 - JSON
    (observe(SEARCH, JOB, UNSCHEDULABLE), 1, Phase.STARTING, ("False", "Unschedulable")),
    (observe(SEARCH, JOB, waiting("ImagePullBackOff", kubernetes_messages.NO_IMAGE)), 1, Phase.STARTING, ("False", "ImagePullFailed")),
    (observe(SEARCH, JOB, waiting("ErrImageNeverPull")), 1, Phase.STARTING, ("False", "ImagePullFailed")),
    (
        observe(SEARCH, JOB, waiting("CreateContainerConfigError", kubernetes_messages.NO_ENVIRONMENT)),
        1,
        Phase.STARTING,
        ("False", "ContainerNotCreated"),
    ),
    (observe(SEARCH, JOB, waiting("ContainerCreating")), 1, Phase.STARTING, ("False", "PodStarting")),
    (observe(SEARCH, JOB, waiting("ContainerCreating")), 70, Phase.STARTING, ("False", "ContainerNotCreated")),
    (
        observe(SEARCH, JOB, waiting("ContainerCreating"), warning=UNMOUNTED),
        70,
        Phase.STARTING,
        ("False", "FailedMount"),
    ),
    (observe(SEARCH, JOB, running_pod(JOB, started=False)), 1, Phase.STARTING, ("False", "WaitingForReport")),
    (observe(SEARCH, JOB, running_pod(JOB, started=False), report=EARLY), 1, Phase.STARTING, ("False", "WaitingForReport")),
    (observe(SEARCH, JOB, POD, report=EARLY), 1, Phase.STARTING, ("False", "WaitingForReport")),
    (observe(SEARCH, JOB, POD, report=NEVER), 1, Phase.RUNNING, ("Unknown", "ProgressUnreachable")),
    (observe(SEARCH, JOB, POD, report=report(SEARCH)), 1, Phase.RUNNING, ("True", "Reporting")),
    (observe(SEARCH, JOB, POD, report=replace(MISSED, misses=2)), 1, Phase.RUNNING, ("True", "Reporting")),
    (observe(SEARCH, JOB, POD, report=MISSED), 1, Phase.RUNNING, ("Unknown", "ProgressUnreachable")),
    (observe(SEARCH, JOB, POD, report=report(SEARCH, pod_uid="another")), 1, Phase.STARTING, ("False", "WaitingForReport")),
    (observe(SEARCH, JOB, POD, report=SKEW), 1, Phase.RUNNING, ("Unknown", "VersionSkew")),
    (observe(SEARCH, JOB, TERMINATING), 1, Phase.INTERRUPTED, ("False", "Terminating")),
    (observe(SEARCH, JOB, LOST), 1, Phase.INTERRUPTED, ("False", "NodeUnreachable")),
    (observe(SEARCH, JOB, ended_pod(JOB, code=75)), 1, Phase.INTERRUPTED, ("False", "Interrupted")),
    (observe(SEARCH, JOB, DISRUPTED), 1, Phase.INTERRUPTED, ("False", "Interrupted")),
    (observe(SEARCH, JOB, ended_pod(JOB, code=1)), 1, Phase.INTERRUPTED, ("False", "TrainerFailed")),
    (observe(SEARCH, JOB, ended_pod(JOB, code=0)), 1, Phase.FINALIZING, ("False", "TrainerExited")),
    (
        observe(SEARCH, with_change(JOB, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z")),
        1,
        Phase.INTERRUPTED,
        ("False", "JobDeleted"),
    ),
]


@pytest.mark.parametrize(("seen", "age_s", "phase", "ready"), TRAINER_STATES, ids=[case[3][1] for case in TRAINER_STATES])
def test_every_state_of_the_trainer_has_its_phase_and_reason(seen: Observed, age_s: float, phase: Phase, ready: tuple[str, str]) -> None:
    """Job, pods and report decide phase and TrainerReady; nothing is created, deleted or ended."""
    decided = decide(seen, CREATED, at_s=NOW_S + age_s)

    assert decided.action is None
    assert decided.status.phase is phase
    assert verdict(decided.status, ConditionType.TRAINER_READY) == ready
    assert verdict(decided.status, ConditionType.FINISHED) == ("False", "InProgress")


def test_what_hangs_outside_is_named_in_the_condition() -> None:
    """The condition quotes the newest event, the scheduler and the kubelet."""
    quota = observe(SEARCH, JOB, warning=WarningEvent(reason="FailedCreate", message=kubernetes_messages.QUOTA, time_s=NOW_S))
    gpu = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."

    for seen, words in ((quota, "exceeded quota: gpus"), (observe(SEARCH, JOB, UNSCHEDULABLE), gpu)):
        explanation = verdict_of(decide(seen, CREATED, at_s=NOW_S + 25).status, ConditionType.TRAINER_READY)
        assert explanation is not None
        assert words in explanation.message


def test_a_running_search_shows_the_trainers_report() -> None:
    """Progress is short text; the first report is announced."""
    decided = decide(observe(SEARCH, JOB, POD, report=report(SEARCH)), CREATED)
    status = decided.status

    assert (status.stage, status.progress, status.eta) == ("Lanes", "42%", "1h30m")
    assert (status.best, status.entropy, status.starts, status.interruptions) == ("0.91", "0.80", 1, 0)
    assert status.checkpoint is not None
    assert status.checkpoint.step == 400
    assert verdict(status, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert [a.reason for a in decided.announcements] == ["SearchStarted"]


def test_an_operator_that_has_just_started_keeps_the_status() -> None:
    """Before its first poll a new operator does not call a running search Starting."""
    decided = decide(observe(SEARCH, JOB, POD), RUNNING)

    assert decided.status == RUNNING


@pytest.mark.parametrize("is_started", [True, False])
def test_polls_that_fail_after_an_operators_start_leave_the_search_running(is_started: bool) -> None:  # noqa: FBT001 - a case
    """One miss changes nothing; after three, the progress is unreachable. A search that ran before is not Starting again."""
    pod = running_pod(JOB, started=is_started)
    once = decide(observe(SEARCH, JOB, pod, report=replace(NEVER, misses=1)), RUNNING)
    thrice = decide(observe(SEARCH, JOB, pod, report=NEVER), RUNNING)

    assert once.status == RUNNING
    assert thrice.status.phase is Phase.RUNNING
    assert verdict(thrice.status, ConditionType.TRAINER_READY) == ("Unknown", "ProgressUnreachable")


def test_a_new_pod_is_not_taken_for_the_one_that_reported() -> None:
    """The pod after an interruption is Starting until it reports itself."""
    late = running_pod(JOB, uid="pod-2", created_s=NOW_S + 100)

    decided = decide(observe(SEARCH, JOB, ended_pod(JOB, code=75), late), RUNNING, at_s=NOW_S + 101)

    assert decided.status.phase is Phase.STARTING


def test_progress_alone_is_written_at_most_every_fifteen_seconds() -> None:
    """A newer report waits; one with a notice does not."""
    soon = report(SEARCH, at_s=NOW_S + 5, percent=43.0)
    noticed = report(SEARCH, at_s=NOW_S + 5, notices=[notice(1, "CheckpointRestored")])

    early = decide(observe(SEARCH, JOB, POD, report=soon), RUNNING, at_s=NOW_S + 5)
    due = decide(observe(SEARCH, JOB, POD, report=soon), RUNNING, at_s=NOW_S + 15)
    announced = decide(observe(SEARCH, JOB, POD, report=noticed), RUNNING, at_s=NOW_S + 5)

    assert early.status == RUNNING
    assert early.requeue_after_s == 10
    assert due.status.progress == "43%"
    assert announced.status.last_notice == 1
    assert [a.reason for a in announced.announcements] == ["CheckpointRestored"]


def test_a_report_that_says_nothing_new_changes_nothing() -> None:
    """A poll with the same step causes no write."""
    decided = decide(observe(SEARCH, JOB, POD, report=report(SEARCH, at_s=NOW_S + 300)), RUNNING, at_s=NOW_S + 300)

    assert decided.status == RUNNING


def test_notices_become_events_once_and_cannot_forge_ours() -> None:
    """Known reasons keep their name, others become TrainerNotice, announced ones are not repeated."""
    answer = report(SEARCH, notices=[notice(1, "CheckpointRestored"), notice(2, "ResultStored"), notice(3, "RestoreFailed")])
    before = RUNNING.replace(last_notice=1)

    decided = decide(observe(SEARCH, JOB, POD, report=answer), before)

    assert [(a.type, a.reason) for a in decided.announcements] == [("Normal", "TrainerNotice"), ("Warning", "RestoreFailed")]
    assert decided.status.last_notice == 3


def test_an_interruption_and_the_pod_after_it_are_announced_once() -> None:
    """SearchInterrupted is posted at the transition only."""
    stopped = observe(SEARCH, JOB, ended_pod(JOB, code=75, message=interrupted_text(SEARCH)))

    first = decide(stopped, RUNNING, at_s=NOW_S + 20)
    second = decide(stopped, first.status, at_s=NOW_S + 21)

    assert [a.reason for a in first.announcements] == ["SearchInterrupted"]
    assert second.announcements == ()
    assert second.status == first.status


def test_version_skew_is_reported_and_stops_nothing() -> None:
    """A trainer of another version makes Accepted False, and continues."""
    decided = decide(observe(SEARCH, JOB, POD, report=SKEW), RUNNING)

    assert verdict(decided.status, ConditionType.ACCEPTED) == ("False", "VersionSkew")
    assert decided.status.phase is Phase.RUNNING
    assert decided.action is None


def test_checkpoints_on_the_pods_disk_are_called_what_they_are() -> None:
    """With emptyDir, CheckpointReady is False, and a warning is posted once."""
    search = stored_search(durable=False)

    decided = decide(observe(search))

    assert verdict(decided.status, ConditionType.CHECKPOINT_READY) == ("False", "NotDurable")
    assert ("Warning", "CheckpointNotDurable") in [(a.type, a.reason) for a in decided.announcements]


def test_a_checkpoint_that_grows_old_is_stale() -> None:
    """Two periods and a minute after the last checkpoint CheckpointReady turns False."""
    seen = observe(SEARCH, JOB, POD, report=report(SEARCH))

    assert verdict(decide(seen, RUNNING, at_s=NOW_S + 659).status, ConditionType.CHECKPOINT_READY) == ("True", "Fresh")
    assert verdict(decide(seen, RUNNING, at_s=NOW_S + 661).status, ConditionType.CHECKPOINT_READY) == ("False", "Stale")


def test_transition_times_move_only_with_the_status() -> None:
    """A new reason keeps the time, a flip changes it."""
    pulling = decide(observe(SEARCH, JOB, waiting("ImagePullBackOff")), CREATED, at_s=NOW_S + 9).status
    running = decide(observe(SEARCH, JOB, POD, report=report(SEARCH)), pulling, at_s=NOW_S + 30).status
    times = [next(c.last_transition_time for c in s.conditions if c.type == "TrainerReady") for s in (CREATED, pulling, running)]

    assert times[0] == times[1]
    assert times[1] < times[2]


def test_trainers_on_their_pods_own_disks_are_counted_all_the_same() -> None:
    """Each counts itself as the first; status continues the count, announces notices once, and counts the deleted pod."""
    search = stored_search(durable=False)
    job = stored_job(search)
    pods = [running_pod(job, uid=f"pod-{n}", created_s=NOW_S + 100 * n) for n in (1, 2, 3)]
    status, starts, events = Status(), [], []
    for number, pod in enumerate(pods, 1):
        for second in (50, 60):
            now_s = NOW_S + 100 * number + second
            answer = report(
                search, at_s=now_s, pod_uid=f"pod-{number}", percent=float(second), notices=[notice(10_001, "SupernetDiverged")]
            )
            decided = decide(observe(search, job, pod, report=answer), status, at_s=now_s)
            status = decided.status
            starts.append(status.starts)
            events += [a.reason for a in decided.announcements if a.reason == "SupernetDiverged"]

    assert starts == [1, 1, 2, 2, 3, 3]
    assert events == ["SupernetDiverged"] * 3
    assert status.interruptions == 2

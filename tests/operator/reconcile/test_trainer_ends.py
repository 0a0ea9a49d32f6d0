"""How a trainer ended decides, whatever becomes of its pod, and a person reads why in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.client import JOBS
from autohas_operator.decide.actions import CreateAttempt, DeleteJob
from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.termination_message import summarize_log
from autohas_operator.testing.builders import (
    NOW_S,
    add_running_sidecar,
    condition,
    ended_pod,
    error_text,
    interrupted_text,
    observe,
    refused_pod,
    report,
    result_text,
    stored_job,
    stored_search,
)
from autohas_operator.testing.decisions import JOB, RUNNING, SEARCH, decide, verdict
from autohas_operator.testing.fake_cluster import FakeCluster
from autohas_operator.testing.scenarios import play

NAME = JOB["metadata"]["name"]
DELETED = DeleteJob(name=NAME, uid="job-1")
HINT = 'sidecar.istio.io/inject: "false"'


def end_beside_sidecar(code: int, message: str = "", **fields: Any) -> dict[str, Any]:
    return add_running_sidecar(ended_pod(JOB, code=code, message=message, ended_s=NOW_S, **fields))


def ready(status: Status) -> str:
    current = verdict_of(status, ConditionType.TRAINER_READY)
    assert current is not None
    return current.message


@pytest.mark.parametrize(
    ("code", "message", "phase", "reason"),
    [
        (65, error_text(SEARCH, "no file labels", code=65), Phase.FAILED, "DataError"),
        (0, result_text(SEARCH), Phase.SUCCEEDED, "ResultStored"),
        (0, "nonsense", Phase.FAILED, "ResultInvalid"),
    ],
)
def test_an_end_ends_the_search_though_a_sidecar_keeps_the_pod(code: int, message: str, phase: Phase, reason: str) -> None:
    """It ends at once; half a minute later the Job goes, and with it the pod and its GPU."""
    seen = observe(SEARCH, JOB, end_beside_sidecar(code, message))
    ended = decide(seen, RUNNING, at_s=NOW_S + 1)
    soon = decide(seen, ended.status, at_s=NOW_S + 30)
    late = decide(seen, ended.status, at_s=NOW_S + 31)

    assert ended.status.phase is phase
    assert verdict(ended.status, ConditionType.SUCCEEDED)[1] == reason
    assert "container istio-proxy of pod" in ready(ended.status)
    assert HINT in ready(ended.status)
    assert (soon.action, soon.requeue_after_s) == (None, 1)
    assert late.action == CleanUp(config_maps=(NAME,), jobs=((NAME, "job-1"),))


@pytest.mark.parametrize(("code", "failures"), [(75, None), (1, 1), (137, 1)])
def test_an_end_that_is_repeated_replaces_the_job_of_a_pod_that_a_sidecar_keeps(code: int, failures: int | None) -> None:
    """After half a minute, and after its failures are noted, the Job is deleted; the next one has as many retries fewer."""
    seen = observe(SEARCH, JOB, end_beside_sidecar(code, interrupted_text(SEARCH) if code == 75 else "boom"), report=report(SEARCH))
    early = decide(seen, RUNNING, at_s=NOW_S + 10)
    due = decide(seen, early.status, at_s=NOW_S + 30)
    following = decide(observe(SEARCH), due.status, at_s=NOW_S + 40)

    assert verdict(early.status, ConditionType.TRAINER_READY) == ("False", "SidecarRunning")
    assert early.action is None
    assert early.requeue_after_s == 20
    assert "container istio-proxy of pod" in ready(early.status)
    assert "still runs after the trainer has ended" in ready(early.status)
    assert ready(early.status).endswith("in spec.trainer")
    assert ("Warning", "SidecarRunning") in [(a.type, a.reason) for a in early.announcements]
    assert due.action == DELETED
    assert due.status.failures == failures
    assert due.status.interruptions == (1 if code == 75 else 0)
    assert isinstance(following.action, CreateAttempt)
    assert following.action.job["spec"]["backoffLimit"] == 6 - (failures or 0)


def test_failures_under_a_sidecar_count_as_failures_of_one_job() -> None:
    """With backoffLimit 1 the second failure is the last: the next Job begins with no retry, and ends the search."""
    search = stored_search(failurePolicy={"backoffLimit": 1})
    first = stored_job(search)
    status = decide(observe(search, first, add_running_sidecar(ended_pod(first, code=1, ended_s=NOW_S))), RUNNING, at_s=NOW_S + 10).status
    created = decide(observe(search), status, at_s=NOW_S + 40)
    assert isinstance(created.action, CreateAttempt)
    second = with_change(created.action.job, "metadata.uid", "job-2") | {"status": {}}
    last = add_running_sidecar(ended_pod(second, code=1, message="boom", uid="pod-2", ended_s=NOW_S + 50))
    ended = decide(observe(search, second, last), created.status, at_s=NOW_S + 51)

    assert created.action.job["spec"]["backoffLimit"] == 0
    assert created.action.job["metadata"]["annotations"]["autohas.dev/failures-before"] == "1"
    assert verdict(ended.status, ConditionType.SUCCEEDED) == ("False", "BackoffLimitExceeded")


def test_a_trainer_that_ended_well_and_said_nothing_is_repeated_though_a_sidecar_keeps_its_pod() -> None:
    """It is not waited for longer than half a minute, nor does it keep a search from being suspended."""
    silent = end_beside_sidecar(0)
    noted = decide(observe(SEARCH, JOB, silent), RUNNING, at_s=NOW_S + 30)
    repeated = decide(observe(SEARCH, JOB, silent), noted.status, at_s=NOW_S + 31)
    suspended = decide(observe(stored_search(suspend=True), JOB, silent), RUNNING, at_s=NOW_S + 1)

    assert verdict(noted.status, ConditionType.SUCCEEDED) == ("Unknown", "ResultMissing")
    assert repeated.action == suspended.action == DELETED


def test_in_a_world_with_sidecars_the_search_ends_and_its_gpu_is_free() -> None:
    """A crash is counted once and repeated, the result is stored, and no Job is left half a minute later."""
    cluster = play("sidecar running", FakeCluster())

    assert (cluster.status["phase"], cluster.status["attempt"]) == ("Succeeded", 2)
    assert (cluster.status["failures"], cluster.status["interruptions"]) == (1, 0)
    assert cluster.api.all(JOBS) == ()


EXHAUSTED: dict[str, Any] = {"conditions": [condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")]}
LOST = [
    (255, "Unknown", "was lost with its node or its container runtime (exit code 255 (Unknown))"),
    (137, "ContainerStatusUnknown", "was lost with its node or its container runtime (exit code 137 (ContainerStatusUnknown))"),
]


@pytest.mark.parametrize(("code", "reason", "words"), LOST)
def test_a_lost_pod_is_an_interruption(code: int, reason: str, words: str) -> None:
    """A reboot of its node or a restart of its runtime is not the trainer's fault, whatever the Job counts."""
    lost = ended_pod(JOB, code=code, reason=reason, ended_s=NOW_S)
    seen = decide(observe(SEARCH, {**JOB, "status": {"failed": 1}}, lost), RUNNING, at_s=NOW_S + 5)

    assert verdict(seen.status, ConditionType.TRAINER_READY) == ("False", "PodLost")
    assert words in ready(seen.status)
    assert seen.status.interruptions == 1
    assert [a.reason for a in seen.announcements] == ["SearchInterrupted"]


@pytest.mark.parametrize(("code", "reason"), [case[:2] for case in LOST])
def test_a_job_that_gives_up_on_lost_pods_is_replaced(code: int, reason: str) -> None:
    """The search continues although no retry is left; the new Job carries over the failures of the trainer itself."""
    search = stored_search(failurePolicy={"backoffLimit": 1})
    job = stored_job(search, failed=2, **EXHAUSTED)
    pods = (ended_pod(job, code=1, ended_s=NOW_S - 60, created_s=NOW_S - 90), ended_pod(job, code=code, reason=reason, uid="pod-2"))
    noted = decide(observe(search, job, *pods), RUNNING, at_s=NOW_S + 5)
    deleted = decide(observe(search, job, *pods), noted.status, at_s=NOW_S + 6)
    following = decide(observe(search), deleted.status, at_s=NOW_S + 20)

    assert (noted.action, noted.requeue_after_s, noted.status.failures) == (None, 0, 1)
    assert deleted.action == DELETED
    assert isinstance(following.action, CreateAttempt)
    assert following.action.job["spec"]["backoffLimit"] == 0
    assert following.action.job["metadata"]["annotations"]["autohas.dev/interruptions-before"] == "1"


def test_a_lost_pod_that_is_tainted_away_later_is_still_subtracted() -> None:
    """Its node goes for good: the pod is marked as a disruption after its Job had counted a failure, and then deleted."""
    search = stored_search(failurePolicy={"backoffLimit": 0})
    job = stored_job(search, failed=1)
    lost = ended_pod(job, code=255, reason="Unknown", ended_s=NOW_S)
    marked = with_change(
        lost, "status.conditions", [condition("DisruptionTarget", "DeletionByTaintManager", "deleting due to NoExecute taint")]
    )
    seen = decide(observe(search, job, lost), RUNNING, at_s=NOW_S + 5)
    for pods in ((marked,), ()):
        after = decide(observe(search, {**job, "status": {"failed": 1, **EXHAUSTED}}, *pods), seen.status, at_s=NOW_S + 6)

        assert (after.status.phase, after.status.failures, after.status.interruptions) == (Phase.INTERRUPTED, None, 1)
        assert verdict(after.status, ConditionType.TRAINER_READY) == ("False", "PodLost")
        assert "gave up because it counts lost pods as failures" in ready(after.status)
        assert after.action == DELETED


def test_a_remembered_lost_pod_excuses_no_failures() -> None:
    """With backoffLimit 1 the second failure ends the search, though all pods are gone and the Job had counted a lost one too."""
    search = stored_search(failurePolicy={"backoffLimit": 1})
    job = stored_job(search, failed=3, **EXHAUSTED)
    ended = decide(observe(search, job), RUNNING.replace(lost_pods=["pod-1"]))

    assert verdict(ended.status, ConditionType.SUCCEEDED) == ("False", "BackoffLimitExceeded")


def test_lost_pods_are_remembered_for_one_job_once_they_are_over() -> None:
    """A pod that a sidecar keeps is not yet counted by its Job; the next Job begins without lost pods, also in an old status."""
    lost = ended_pod(JOB, code=255, reason="Unknown", ended_s=NOW_S)
    other = stored_job(SEARCH, 2)
    held_up = decide(observe(SEARCH, JOB, add_running_sidecar(lost)), RUNNING)
    over = decide(observe(SEARCH, {**JOB, "status": {"failed": 1}}, lost), held_up.status)
    vanished = decide(observe(SEARCH, {**JOB, "status": {"failed": 1}}), over.status)
    following = decide(observe(SEARCH), over.status, at_s=NOW_S + 20)
    unnoted = decide(observe(SEARCH, other), over.status)

    assert [made.status.lost_pods for made in (held_up, over, vanished)] == [None, ["pod-1"], ["pod-1"]]
    assert isinstance(following.action, CreateAttempt)
    assert (unnoted.status.attempt, unnoted.status.job_uid) == (2, "job-2")
    assert following.status.lost_pods is unnoted.status.lost_pods is None


def test_more_lost_pods_than_the_schema_takes_are_cut() -> None:
    """A status with too many would be refused; a Job gives up long before."""
    lost = (ended_pod(JOB, code=255, reason="Unknown", uid=f"pod-{number:02}") for number in range(70))
    noted = decide(observe(SEARCH, JOB, *lost), RUNNING).status.lost_pods

    assert noted == [f"pod-{number:02}" for number in range(64)]


@pytest.mark.parametrize(("code", "reason"), [(255, "Error"), (137, "Error"), (137, "OOMKilled")])
def test_the_same_codes_with_a_reason_of_their_own_count_as_failures(code: int, reason: str) -> None:
    """`sys.exit(-1)`, a kill and a trainer out of memory end a search without retries."""
    search = stored_search(failurePolicy={"backoffLimit": 0})
    job = stored_job(search, failed=1, **EXHAUSTED)
    ended = decide(observe(search, job, ended_pod(job, code=code, reason=reason)), RUNNING)

    assert verdict(ended.status, ConditionType.SUCCEEDED) == ("False", "BackoffLimitExceeded")
    assert ended.status.interruptions == 0


REFUSED = [
    ("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present", "check the node's devices, or cordon the node"),
    ("OutOfcpu", "Node didn't have enough resource: cpu", "or lower spec.trainer.resources"),
    ("OutOfnvidia.com/gpu", "Node didn't have enough resource: nvidia.com/gpu", "or lower spec.trainer.resources"),
    ("NodeAffinity", "Predicate NodeAffinity failed", "correct either"),
    ("Evicted", "The node was low on resource: memory", "to what the trainer uses"),
    ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline", "remove it there"),
    ("Surprise", "of a later Kubernetes", "of a later Kubernetes"),
]


@pytest.mark.parametrize(("reason", "message", "hint"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_pod_that_failed_without_a_container_says_why(reason: str, message: str, hint: str) -> None:
    """TrainerReady quotes reason and message of the pod, and so does the end when no retry is left."""
    pod = refused_pod(JOB, reason, message)
    seen = decide(observe(SEARCH, JOB, pod), RUNNING)
    ended = decide(observe(SEARCH, {**JOB, "status": EXHAUSTED}, pod), RUNNING)
    judgement = verdict_of(ended.status, ConditionType.SUCCEEDED)

    assert verdict(seen.status, ConditionType.TRAINER_READY) == ("False", "TrainerFailed")
    assert f"failed: {reason}: {message}" in ready(seen.status)
    assert hint in ready(seen.status)
    assert judgement is not None
    assert judgement.message.startswith(f"{reason}: {message}")
    assert judgement.message.endswith(hint)


@pytest.mark.parametrize("reason", ["NodeShutdown", "NodeLost"])
def test_a_pod_that_went_with_its_node_is_an_interruption(reason: str) -> None:
    """Its kubelet or the control plane gave it up."""
    seen = decide(observe(SEARCH, JOB, refused_pod(JOB, reason, "node is shutting down")), RUNNING)

    assert verdict(seen.status, ConditionType.TRAINER_READY) == ("False", "PodLost")
    assert "was lost with its node" in ready(seen.status)


def test_the_end_of_a_trainer_with_a_fatal_code_is_not_called_a_retry() -> None:
    """Before the Job says anything the search ends, by the rule that the Job was made with; the Job stays for its log."""
    seen = observe(SEARCH, JOB, ended_pod(JOB, code=65, message=error_text(SEARCH, "no file labels", code=65)))
    ended = decide(seen, RUNNING)
    later = decide(seen, ended.status, at_s=NOW_S + 60)

    assert verdict(ended.status, ConditionType.SUCCEEDED) == ("False", "DataError")
    assert [a.reason for a in ended.announcements] == ["SearchFailed"]
    assert later.action is None


@pytest.mark.parametrize(("limit", "words"), [(0, "no other pod follows"), (1, "the next pod continues from the checkpoint at about")])
def test_a_failure_promises_no_retry_that_its_job_does_not_have(limit: int, words: str) -> None:
    """With backoffLimit 0 the Job gives up; the event is TrainerFailed, and nothing else, at any moment."""
    search = stored_search(failurePolicy={"backoffLimit": limit})
    job = stored_job(search)
    for later_s in (1, 90):
        seen = decide(observe(search, job, ended_pod(job, code=1, message="boom", ended_s=NOW_S)), RUNNING, at_s=NOW_S + later_s)

        assert verdict(seen.status, ConditionType.TRAINER_READY) == ("False", "TrainerFailed")
        assert words in ready(seen.status)
        assert ("the next pod" in ready(seen.status)) is (limit > 0)
        assert [(a.type, a.reason) for a in seen.announcements] == [("Warning", "TrainerFailed")]


def test_a_trainer_out_of_memory_is_told_what_to_raise() -> None:
    """While there are retries, and at the end."""
    pod = ended_pod(JOB, code=137, reason="OOMKilled", ended_s=NOW_S)
    seen = decide(observe(SEARCH, JOB, pod), RUNNING)
    judgement = verdict_of(decide(observe(SEARCH, {**JOB, "status": EXHAUSTED}, pod), RUNNING).status, ConditionType.SUCCEEDED)

    assert verdict(seen.status, ConditionType.TRAINER_READY) == ("False", "TrainerFailed")
    assert "exit code 137 (OOMKilled); raise spec.trainer.resources.limits.memory" in ready(seen.status)
    assert judgement is not None
    assert judgement.reason == "BackoffLimitExceeded"
    assert judgement.message == "exit code 137 (OOMKilled); raise spec.trainer.resources.limits.memory"


def line(event: str, level: str = "info", **fields: Any) -> str:
    return json.dumps({"level": level, "timestamp": "2027-01-15T08:00:00Z", "event": event, **fields})


LOGS = {
    "json": (
        '0", "event": "stage started", "stage": "Lanes"}\n'
        + line("notice issued", "error", message="disk full")
        + "\n"
        + line("stage started", step=3),
        "notice issued (message=disk full); the log ends: stage started (step=3)",
    ),
    "no error": (
        line("stage started", step=3) + "\n" + line("stage started", step=4),
        "stage started (step=4); the log ends: stage started (step=3)",
    ),
    "traceback": (
        "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    boom()\nKeyError: 'x'\n",
        "KeyError: 'x'; the log ends: Traceback (most recent call last): | File \"a.py\", line 1, in <module> | boom()",
    ),
    "cut by the kubelet": ("x" * 2000 + "\n" + "y" * 30 + "\n" + "z" * 16, "z" * 16 + "; the log ends: " + "y" * 30),
    "one line": ("boom", "boom"),
    "nothing": (" \n", ""),
}


@pytest.mark.parametrize(("log", "summary"), LOGS.values(), ids=LOGS)
def test_the_end_of_a_log_is_read_as_a_person_would(log: str, summary: str) -> None:
    """The last error first, then whole lines only; lines in JSON are text."""
    assert summarize_log(log) == summary


def test_a_killed_trainer_is_quoted_in_whole_lines() -> None:
    """The condition begins with how it ended, and no line has lost its beginning."""
    log = ('"Lanes", "event": "candidate compared"}\n' + line("stage started", stage="Race") + "\n") * 1
    seen = decide(observe(SEARCH, JOB, ended_pod(JOB, code=137, message=log, ended_s=NOW_S)), RUNNING)

    assert "failed: exit code 137: stage started (stage=Race); the next pod" in ready(seen.status)

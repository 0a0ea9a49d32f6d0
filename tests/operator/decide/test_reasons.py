"""Every member of Reason is written by some plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autohas_api.base.names import ANNOTATION_PAUSED, LABEL_QUEUE
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import NOTICE_TYPES, StopReason
from autohas_api.wire.reasons import NoticeReason, Reason
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.decide.actions import DeleteJob
from autohas_operator.decide.plan import Plan, plan
from autohas_operator.errors import (
    ApiError,
    ForbiddenError,
    InvalidError,
    NameTakenError,
    OperatorError,
    WaitError,
    blocker_to_creating,
    refusal,
)
from autohas_operator.records.observed import Report, WarningEvent
from autohas_operator.testing import kubernetes_messages
from autohas_operator.testing.builders import (
    NOW_S,
    PODS,
    add_running_sidecar,
    condition,
    ended_pod,
    notice,
    observe,
    report,
    result_text,
    running_pod,
    stored_job,
    stored_pod,
    stored_search,
)
from autohas_operator.testing.decisions import CREATED, JOB, POD, RUNNING, SEARCH, after, decide, verdict

HERE = Path(__file__)
LEAVING = "2027-01-15T08:00:00Z"
SUSPENDED = stored_search(suspend=True)
ON_DISK = stored_search(durable=False)
PAUSED = with_change(SEARCH, "metadata.annotations", {ANNOTATION_PAUSED: "true"})
QUEUED = with_change(SEARCH, "metadata.labels", {LABEL_QUEUE: "team"})
NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": kubernetes_messages.NO_GPU}
SKEW = Report(pod_uid="pod-1", time_s=NOW_S, progress=None, misses=1, problem="message has version 2", is_version_skew=True)
SILENT = Report(pod_uid="pod-1", time_s=NOW_S, progress=None, misses=3, problem="timeout")
REBOOTED = ended_pod(JOB, code=255, reason="Unknown")
FORGED = with_change(ended_pod(JOB, code=0, uid="forged"), "spec.containers", [{"name": "trainer", "image": "forged:1"}])
STRAY = with_change(stored_job(SEARCH, 2, uid="stray"), "spec.template.spec.containers", [{"name": "trainer", "image": "forged:1"}])
QUOTA = ForbiddenError(status=403, message=kubernetes_messages.JOB_QUOTA, request="POST")
DENIED = ForbiddenError(status=403, message="admission webhook denied the request", request="POST")
NO_RIGHT = ForbiddenError(status=403, message='User "x" cannot create resource "jobs" in API group "batch"', request="POST")
GOING = ForbiddenError(status=403, message="namespace ml because it is being terminated", request="POST")
INVALID = InvalidError(status=422, message="spec.template: Invalid value", request="POST")
CAREFUL = replace(PODS, allowed_images=("ours:",), priority_classes=("low",), runtime_classes=("gvisor",), schedulers=("ours",))
COMPLETE = stored_job(SEARCH, conditions=[condition("Complete")])


def held(search: Mapping[str, Any]) -> dict[str, Any]:
    """The Job of a search, suspended by its queue."""
    return with_change(stored_job(search), "spec.suspend", True)  # noqa: FBT003 - JSON


def admitted(search: Mapping[str, Any]) -> dict[str, Any]:
    """The Job of a search after its queue admitted it."""
    return stored_job(search, conditions=[{**condition("Suspended"), "status": "False"}])


def asks(**trainer: Any) -> Plan:
    """The plan about a search that asks for what the platform may not allow."""
    return plan(observe(stored_search(trainer=trainer)), Status(), CAREFUL, NOW_S)


def plan_after_refusal(error: OperatorError) -> Plan:
    """The plan after the API server refused to create the Job."""
    return decide(observe(SEARCH, blocker=refusal(error, is_create=True) or blocker_to_creating(error)))


def at(age_s: float, *children: Mapping[str, Any], before: Status = CREATED, search: Mapping[str, Any] = SEARCH, **seen: Any) -> Plan:
    """The plan for a search with these Jobs and pods, `age_s` seconds after their creation."""
    return decide(observe(search, *children, **seen), before, at_s=NOW_S + age_s)


def waits(reason: str, age_s: float = 1, **seen: Any) -> Plan:
    """The plan about a pod whose container cannot start."""
    return at(age_s, JOB, stored_pod(JOB, state={"waiting": {"reason": reason, "message": "m"}}), **seen)


def event(reason: str, message: str) -> WarningEvent:
    return WarningEvent(reason=reason, message=message, time_s=NOW_S)


def exits(code: int) -> Plan:
    """The plan about a trainer that ended with this code, in a Job whose rule failed it for that."""
    job = stored_job(SEARCH, conditions=[condition("Failed", "PodFailurePolicy", f"failed with exit code {code} matching")])
    return at(1, job, ended_pod(JOB, code=code), before=RUNNING)


def gives_up(reason: str) -> Plan:
    """The plan about a Job that its controller failed."""
    return at(1, stored_job(SEARCH, conditions=[condition("Failed", reason)]), before=RUNNING)


def succeeds(**answer: Any) -> Plan:
    """The plan about a trainer that ended with a result."""
    return at(1, JOB, ended_pod(JOB, code=0, message=result_text(SEARCH, **answer)), before=RUNNING)


def works(**answer: Any) -> Plan:
    """The plan about a trainer that reports."""
    return at(1, JOB, POD, before=RUNNING, report=report(SEARCH, **answer))


def rests(before: Status = RUNNING) -> Status:
    """The status of a search at rest."""
    return at(1, before=before, search=SUSPENDED).status


def fetching(state: dict[str, Any]) -> dict[str, Any]:
    """A pod whose init container is in this state."""
    pod = with_change(stored_pod(JOB), "spec.initContainers", [{"name": "fetch"}])
    return with_change(pod, "status.initContainerStatuses", [{"name": "fetch", "state": state}])


RESULT_LOST = after(observe(SEARCH), observe(SEARCH, JOB, POD, report=report(SEARCH)), observe(SEARCH, COMPLETE))
SPOILED = stored_job(SEARCH, conditions=[condition("Failed", "PodFailurePolicy")])
EVICTED = at(2, held(QUEUED), before=at(1, admitted(QUEUED), search=QUEUED).status, search=QUEUED)
LATE = {"trainings": "4", "startDeadlineSeconds": 600}
OVERTIME = stored_search(budget={"trainings": "4", "maxActiveSeconds": 1})
NO_INTERRUPTIONS = stored_search(failurePolicy={"maxInterruptions": 0})
UNHEALTHY = event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 503")

SCENARIOS: dict[Reason, Callable[[], Plan]] = {
    Reason.VALID: lambda: decide(observe(SEARCH)),
    Reason.INVALID_SPEC: lambda: decide(observe(stored_search(budget={"trainings": "1"}))),
    Reason.SPEC_UNREADABLE: lambda: decide(observe(stored_search(task={})), RUNNING),
    Reason.TEMPLATE_REJECTED: lambda: plan_after_refusal(INVALID),
    Reason.SERVICE_ACCOUNT_NOT_ALLOWED: lambda: asks(serviceAccountName="admin"),
    Reason.IMAGE_NOT_ALLOWED: lambda: asks(image="mine:1"),
    Reason.CSI_DRIVER_NOT_ALLOWED: lambda: asks(volumes=[{"name": "v", "csi": {"driver": "nfs.csi.k8s.io"}}]),
    Reason.PRIORITY_CLASS_NOT_ALLOWED: lambda: asks(priorityClassName="high"),
    Reason.RUNTIME_CLASS_NOT_ALLOWED: lambda: asks(runtimeClassName="kata"),
    Reason.SCHEDULER_NOT_ALLOWED: lambda: asks(schedulerName="mine"),
    Reason.VERSION_SKEW: lambda: at(1, JOB, POD, before=RUNNING, report=SKEW),
    Reason.NOT_QUEUED: lambda: at(1, JOB),
    Reason.NO_JOB: lambda: decide(observe(SEARCH)),
    Reason.WAITING_FOR_QUOTA: lambda: at(1, held(QUEUED), search=QUEUED),
    Reason.WAITING_FOR_QUOTA_TOO_LONG: lambda: at(602, held(QUEUED), before=at(1, held(QUEUED), search=QUEUED).status, search=QUEUED),
    Reason.QUOTA_RESERVED: lambda: at(1, admitted(QUEUED), search=QUEUED),
    Reason.EVICTED: lambda: EVICTED,
    Reason.REPORTING: works,
    Reason.WAITING_FOR_POD: lambda: at(1, JOB),
    Reason.QUOTA_EXCEEDED: lambda: plan_after_refusal(QUOTA),
    Reason.NAMESPACE_TERMINATING: lambda: plan_after_refusal(GOING),
    Reason.PODS_NOT_CREATED: lambda: at(25, JOB),
    Reason.UNSCHEDULABLE: lambda: at(1, JOB, stored_pod(JOB, scheduled=False, conditions=[NO_NODE])),
    Reason.IMAGE_PULL_FAILED: lambda: waits("ImagePullBackOff"),
    Reason.CONTAINER_NOT_CREATED: lambda: waits("CreateContainerConfigError"),
    Reason.FAILED_MOUNT: lambda: waits("ContainerCreating", 70, warning=event("FailedMount", kubernetes_messages.NO_MOUNT)),
    Reason.POD_STARTING: lambda: waits("ContainerCreating"),
    Reason.INIT_CONTAINER_RUNNING: lambda: at(1, JOB, fetching({"running": {}})),
    Reason.INIT_CONTAINER_FAILED: lambda: at(1, JOB, fetching({"terminated": {"exitCode": 1}})),
    Reason.WAITING_FOR_REPORT: lambda: at(1, JOB, running_pod(JOB, started=False)),
    Reason.PROGRESS_UNREACHABLE: lambda: at(1, JOB, POD, before=RUNNING, report=SILENT),
    Reason.QUEUE_CHANGED: lambda: at(2, held(SEARCH), before=at(1, held(SEARCH)).status, search=QUEUED),
    Reason.JOB_SUSPENDED: lambda: at(1, held(SEARCH)),
    Reason.TERMINATING: lambda: at(1, JOB, with_change(POD, "metadata.deletionTimestamp", LEAVING)),
    Reason.NODE_UNREACHABLE: lambda: at(1, JOB, with_change(POD, "metadata.deletionTimestamp", "2027-01-15T07:50:00Z")),
    Reason.INTERRUPTED: lambda: at(1, JOB, ended_pod(JOB, code=75), before=RUNNING),
    Reason.POD_LOST: lambda: at(1, JOB, REBOOTED, before=RUNNING),
    Reason.TRAINER_FAILED: lambda: at(1, JOB, ended_pod(JOB, code=1), before=RUNNING),
    Reason.SIDECAR_RUNNING: lambda: at(10, JOB, add_running_sidecar(ended_pod(JOB, code=1, ended_s=NOW_S)), before=RUNNING),
    Reason.STALLED: lambda: at(2, JOB, ended_pod(JOB, code=75, ended_s=NOW_S + 1), before=RUNNING, warning=UNHEALTHY),
    Reason.BACK_OFF: lambda: at(29, JOB, ended_pod(JOB, code=75, ended_s=NOW_S), before=RUNNING),
    Reason.JOB_RECREATED: lambda: at(1, JOB, ended_pod(JOB, code=75), before=RUNNING.replace(starts=3)),
    Reason.JOB_DELETED: lambda: at(1, with_change(JOB, "metadata.deletionTimestamp", LEAVING)),
    Reason.WAITING_FOR_POD_TERMINATION: lambda: at(1, POD, before=RUNNING),
    Reason.SPEC_CHANGED: lambda: decide(observe(with_change(SEARCH, "spec.algorithm", {"seed": 7}), JOB)),
    Reason.POD_IGNORED: lambda: at(1, JOB, FORGED),
    Reason.JOB_REPLACED: lambda: at(1, SPOILED, FORGED, before=RUNNING.replace(starts=1)),
    Reason.TRAINER_EXITED: lambda: at(1, JOB, ended_pod(JOB, code=0), before=RUNNING),
    Reason.RESULT_MISSING: lambda: at(1, COMPLETE, before=RUNNING),
    Reason.JOB_FORBIDDEN: lambda: plan_after_refusal(DENIED),
    Reason.JOB_NOT_CREATED: lambda: plan_after_refusal(ApiError(status=500, message="failed calling webhook", request="POST")),
    Reason.NAME_STILL_TERMINATING: lambda: plan_after_refusal(WaitError("Job x is being deleted", delay_s=2)),
    Reason.NAME_CONFLICT: lambda: plan_after_refusal(NameTakenError("Job x exists")),
    Reason.OPERATOR_FORBIDDEN: lambda: plan_after_refusal(NO_RIGHT),
    Reason.SUSPENDING: lambda: at(1, JOB, POD, before=RUNNING, search=SUSPENDED),
    Reason.SUSPENDED: lambda: at(1, before=RUNNING, search=SUSPENDED),
    Reason.NOT_ACCEPTED: lambda: decide(observe(stored_search(budget={"trainings": "1"}))),
    Reason.FINISHED: succeeds,
    Reason.FRESH: works,
    Reason.NO_CHECKPOINT_YET: lambda: at(1, JOB),
    Reason.STALE: lambda: at(700, JOB, POD, before=RUNNING, report=report(SEARCH)),
    Reason.RESTORE_FAILED: lambda: exits(66),
    Reason.NOT_DURABLE: lambda: decide(observe(ON_DISK)),
    Reason.IN_PROGRESS: works,
    Reason.GOAL_REACHED: lambda: succeeds(stop_reason=StopReason.GOAL_REACHED),
    Reason.PLATEAU: lambda: works(stop_reason=StopReason.PLATEAU),
    Reason.ENTROPY_BELOW_THRESHOLD: lambda: succeeds(stop_reason=StopReason.CONVERGED),
    Reason.COMPLETED: lambda: succeeds(stop_reason=StopReason.COMPLETED),
    Reason.BUDGET: lambda: succeeds(stop_reason=StopReason.BUDGET),
    Reason.NO_RESULT: lambda: exits(65),
    Reason.NOT_SUSPENDED: works,
    Reason.SUSPEND_REQUESTED: lambda: at(1, before=RUNNING, search=SUSPENDED),
    Reason.RESUMED: lambda: at(2, before=rests()),
    Reason.NOT_PAUSED: works,
    Reason.PAUSED_BY_ANNOTATION: lambda: at(1, JOB, POD, before=RUNNING, search=PAUSED),
    Reason.RESULT_STORED: succeeds,
    Reason.CONFIG_ERROR: lambda: exits(78),
    Reason.DATA_ERROR: lambda: exits(65),
    Reason.NO_USABLE_CHECKPOINT: lambda: exits(66),
    Reason.NUMERICAL_FAILURE: lambda: exits(70),
    Reason.BACKOFF_LIMIT_EXCEEDED: lambda: gives_up("BackoffLimitExceeded"),
    Reason.JOB_FAILED: lambda: gives_up("MaxFailedIndexesExceeded"),
    Reason.DEADLINE_EXCEEDED: lambda: at(1, JOB, POD, before=RUNNING, search=OVERTIME, report=report(OVERTIME, active_seconds=9.0)),
    Reason.START_DEADLINE_EXCEEDED: lambda: at(600, JOB, search=stored_search(budget=LATE)),
    Reason.INTERRUPTION_LIMIT: lambda: at(1, JOB, ended_pod(JOB, code=75), before=RUNNING, search=NO_INTERRUPTIONS),
    Reason.RESULT_INVALID: lambda: at(1, JOB, ended_pod(JOB, code=0, message="nonsense"), before=RUNNING),
    Reason.RECOVERING_RESULT: lambda: at(4, before=RESULT_LOST),
    Reason.SEARCH_ACCEPTED: lambda: decide(observe(SEARCH)),
    Reason.SEARCH_REJECTED: lambda: decide(observe(stored_search(budget={"trainings": "1"}))),
    Reason.TRAINER_JOB_CREATED: lambda: decide(observe(SEARCH)),
    Reason.SEARCH_STARTED: lambda: at(1, JOB, POD, report=report(SEARCH)),
    Reason.SEARCH_INTERRUPTED: lambda: at(1, JOB, ended_pod(JOB, code=75), before=RUNNING),
    Reason.SEARCH_STALLED: lambda: at(2, JOB, ended_pod(JOB, code=75, ended_s=NOW_S + 1), before=RUNNING, warning=UNHEALTHY),
    Reason.TRAINER_UNSCHEDULABLE: lambda: at(1, JOB, stored_pod(JOB, scheduled=False, conditions=[NO_NODE])),
    Reason.JOB_IGNORED: lambda: at(1, JOB, STRAY, before=RUNNING),
    Reason.QUOTA_ADMITTED: lambda: at(1, admitted(QUEUED), search=QUEUED),
    Reason.SEARCH_SUSPENDED: lambda: at(1, before=RUNNING, search=SUSPENDED),
    Reason.SEARCH_RESUMED: lambda: at(2, before=rests()),
    Reason.RECONCILIATION_PAUSED: lambda: at(1, JOB, POD, before=RUNNING, search=PAUSED),
    Reason.RECONCILIATION_RESUMED: lambda: at(2, JOB, POD, before=at(1, JOB, POD, before=RUNNING, search=PAUSED).status),
    Reason.CHECKPOINT_NOT_DURABLE: lambda: decide(observe(ON_DISK)),
    Reason.CHECKPOINT_STALE: lambda: at(700, JOB, POD, before=RUNNING, report=report(SEARCH)),
    Reason.SEARCH_FAILED: lambda: exits(65),
    Reason.TRAINER_NOTICE: lambda: works(notices=[notice(1, "SomethingNew")]),
}


def produced(plan: Plan) -> set[str]:
    """The reasons that a decision writes: of conditions, of events, and of warnings about foreign objects; no phases."""
    events = (*plan.announcements, *plan.warnings.values())
    conditions = [c for c in plan.status.conditions if c.type not in (ConditionType.RECONCILING, ConditionType.STALLED)]
    is_over = verdict(plan.status, ConditionType.FINISHED)[0] == "True"
    words = {c.reason for c in conditions if is_over or c.type != ConditionType.SUCCEEDED or c.reason != plan.status.phase}
    return words | {str(event.reason) for event in events}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_comes_out_of_a_decision(reason: Reason) -> None:
    """Each member has a state of the world that makes the operator write it."""
    assert reason.value in produced(SCENARIOS[reason]())


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=[reason.value for reason in SCENARIOS])
def test_no_other_reason_comes_out_of_a_decision(scenario: Callable[[], Plan]) -> None:
    """What a decision writes is a member, or the phase."""
    assert produced(scenario()) <= {*Reason, *Phase}


@pytest.mark.parametrize("reason", NoticeReason)
def test_every_notice_becomes_an_event_of_its_name(reason: NoticeReason) -> None:
    """The event has the type that NOTICE_TYPES gives."""
    events = [(event.type, event.reason) for event in works(notices=[notice(1, reason)]).announcements]

    assert events == [(NOTICE_TYPES[reason], reason)]


def test_every_word_has_a_meaning_of_one_line() -> None:
    """Tools and the table of docs/troubleshooting.md read it."""
    for reason in (*Reason, *NoticeReason):
        assert reason.meaning.strip(), reason
        assert "\n" not in reason.meaning, reason
        assert "|" not in reason.meaning, reason


def test_a_reason_of_another_version_is_kept_while_nothing_replaces_it() -> None:
    """A paused search keeps the conditions that a newer operator wrote, with words that this one does not know."""
    newer = [c.replace(reason="FromTheFuture") if c.type == ConditionType.TRAINER_READY else c for c in RUNNING.conditions]
    kept = at(1, JOB, POD, before=RUNNING.replace(conditions=newer), search=PAUSED).status

    assert verdict(kept, ConditionType.TRAINER_READY) == ("True", "FromTheFuture")


def test_every_phase_and_condition_is_named_by_a_test() -> None:
    """By its member of the enumeration, somewhere in this folder."""
    texts = "".join(path.read_text() for path in HERE.parents[1].rglob("test_*.py"))

    assert [phase.name for phase in Phase if f"Phase.{phase.name}" not in texts] == []
    assert [kind.name for kind in ConditionType if f"ConditionType.{kind.name}" not in texts] == []


def test_a_job_that_failed_for_reasons_of_its_own_is_quoted() -> None:
    """A reason of the Job controller that this operator does not know is JobFailed, in the controller's words."""
    job = stored_job(SEARCH, conditions=[condition("Failed", "MaxFailedIndexesExceeded", "more than one index")])

    assert verdict(decide(observe(SEARCH, job), RUNNING).status, ConditionType.SUCCEEDED) == ("False", "JobFailed")


def test_a_job_that_is_recreated_or_replaced_says_why() -> None:
    """JobRecreated after three interruptions with progress, SpecChanged after an edit before the attempt was noted."""
    often = RUNNING.replace(starts=3)
    renewed = decide(observe(SEARCH, JOB, ended_pod(JOB, code=75)), often)
    replaced = decide(observe(with_change(SEARCH, "spec.algorithm", {"seed": 7}), JOB))

    assert isinstance(renewed.action, DeleteJob)
    assert verdict(renewed.status, ConditionType.TRAINER_READY) == ("False", "JobRecreated")
    assert isinstance(replaced.action, DeleteJob)
    assert verdict(replaced.status, ConditionType.TRAINER_READY) == ("False", "SpecChanged")


NO_PROGRESS = RUNNING.replace(starts=3, checkpoint=None)
FEW = RUNNING.replace(starts=2)


@pytest.mark.parametrize("before", [NO_PROGRESS, FEW], ids=["no progress", "two only"])
def test_a_job_is_not_recreated_without_progress_or_too_early(before: object) -> None:
    """A trainer without progress is held back by the Job's own back-off."""
    assert decide(observe(SEARCH, JOB, ended_pod(JOB, code=75)), before).action is None  # type: ignore[arg-type]  # a Status


def test_before_the_first_checkpoint_nothing_is_promised() -> None:
    """CheckpointReady is unknown."""
    assert verdict(CREATED, ConditionType.CHECKPOINT_READY) == ("Unknown", "NoCheckpointYet")


def test_a_pod_that_finds_no_node_is_announced_under_a_name_that_tells() -> None:
    """In a list with the events of pods, it is called TrainerUnschedulable."""
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": kubernetes_messages.NO_GPU}
    pod = stored_pod(JOB, scheduled=False, conditions=[unschedulable])

    assert [(a.type, a.reason) for a in decide(observe(SEARCH, JOB, pod), CREATED).announcements] == [("Warning", "TrainerUnschedulable")]

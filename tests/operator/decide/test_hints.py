"""A message of Kubernetes is followed by a hint, whatever its source and length."""

from __future__ import annotations

from typing import Any

import pytest

from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.errors import (
    ApiError,
    Blocker,
    ForbiddenError,
    InvalidError,
    OperatorError,
    WaitError,
    blocker_to_creating,
    refusal,
)
from autohas_operator.hints import HINTS
from autohas_operator.records.observed import WarningEvent
from autohas_operator.testing import kubernetes_messages
from autohas_operator.testing.builders import NOW_S, ended_pod, observe, stored_pod
from autohas_operator.testing.decisions import CREATED, JOB, RUNNING, SEARCH, decide
from autohas_operator.wording import MAX_CONDITION_MESSAGE

LONG = "0/5000 nodes are available: " + "1 node(s) had an untolerated taint, " * 200


def unscheduled(text: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    return stored_pod(JOB, scheduled=False, conditions=[condition])


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return stored_pod(JOB, state={"waiting": {"reason": reason, "message": message}})


def event(reason: str, message: str) -> WarningEvent:
    return WarningEvent(reason=reason, message=message, time_s=NOW_S + 11)


RELAYED = [
    (
        (unscheduled(kubernetes_messages.NO_GPU),),
        None,
        "Unschedulable",
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        "check spec.trainer (resources, nodeSelector, affinity, tolerations) and the claims that it and spec.checkpoint name",
    ),
    (
        (unscheduled(kubernetes_messages.NO_CLAIM),),
        None,
        "Unschedulable",
        '0/1 nodes are available: persistentvolumeclaim "ck" not found.',
        "check spec.trainer (resources, nodeSelector, affinity, tolerations) and the claims that it and spec.checkpoint name",
    ),
    (
        (waiting("ImagePullBackOff", kubernetes_messages.NO_IMAGE),),
        None,
        "ImagePullFailed",
        'ImagePullBackOff: Back-off pulling image "ghcr.io/none/trainer:1"',
        "check spec.trainer.image and spec.trainer.imagePullSecrets, or the chart's trainer.image and imagePullSecrets",
    ),
    (
        (waiting("CreateContainerConfigError", kubernetes_messages.NO_ENVIRONMENT),),
        None,
        "ContainerNotCreated",
        'CreateContainerConfigError: secret "token" not found',
        "check the Secrets and ConfigMaps that spec.trainer names (env, envFrom, volumes) and its runtimeClassName",
    ),
    (
        (waiting("ContainerCreating"),),
        event("FailedAttachVolume", kubernetes_messages.ELSEWHERE),
        "FailedMount",
        'FailedAttachVolume: Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other',
        "check that the claims and volumes of spec.checkpoint and spec.trainer exist, are bound, and are held by no other node",
    ),
    (
        (),
        event("FailedCreate", kubernetes_messages.QUOTA),
        "QuotaExceeded",
        "exceeded quota: gpus, requested: requests.nvidia.com/gpu=1",
        "raise the quota, or wait until others have ended; the operator retries within 10 minutes",
    ),
    (
        (ended_pod(JOB, code=75, ended_s=NOW_S),),
        event("FailedCreate", kubernetes_messages.QUOTA),
        "QuotaExceeded",
        "exceeded quota: gpus, requested: requests.nvidia.com/gpu=1",
        "raise the quota, or wait until others have ended; the operator retries within 10 minutes",
    ),
]


@pytest.mark.parametrize(("pods", "warning", "reason", "quoted", "hint"), RELAYED, ids=[f"{case[2]} {n}" for n, case in enumerate(RELAYED)])
def test_a_sentence_about_a_pod_is_followed_by_what_to_do(
    pods: tuple[dict[str, Any], ...], warning: WarningEvent | None, reason: str, quoted: str, hint: str
) -> None:
    """TrainerReady quotes the scheduler, the kubelet or a controller, and ends with the fields to look at."""
    seen = observe(SEARCH, JOB, *pods, warning=warning)
    verdict = verdict_of(
        decide(seen, RUNNING if pods and warning is not None else CREATED, at_s=NOW_S + 70).status, ConditionType.TRAINER_READY
    )

    assert verdict is not None
    assert verdict.reason == reason
    assert quoted in verdict.message
    assert verdict.message.endswith(f"; {hint}")


FORBIDDEN = ForbiddenError(status=403, message=kubernetes_messages.JOB_QUOTA, request="POST")
INVALID = InvalidError(status=422, message="spec.template.spec.nodeSelector: Invalid value", request="POST")
DOWN = ApiError(status=500, message='failed calling webhook "mjob.kb.io"', request="POST")
ABOUT_JOBS = [
    (
        refusal(FORBIDDEN, is_create=True),
        "QuotaExceeded",
        "exceeded quota: jobs, requested: count/jobs.batch=1",
        "raise the quota, or wait",
    ),
    (refusal(INVALID, is_create=True), "TemplateRejected", "nodeSelector: Invalid value", "correct the field of spec.trainer"),
    (refusal(INVALID, is_create=False), "JobForbidden", "nodeSelector: Invalid value", "choose in spec.trainer what is allowed"),
    (blocker_to_creating(DOWN), "JobNotCreated", 'answered 500: failed calling webhook "mjob.kb.io"', "repair the webhook"),
    (blocker_to_creating(WaitError("Job x is being deleted", delay_s=2)), "NameStillTerminating", "Job x is", "look at its finalizers"),
]


@pytest.mark.parametrize(("blocker", "reason", "quoted", "hint"), ABOUT_JOBS, ids=[f"{case[1]} {n}" for n, case in enumerate(ABOUT_JOBS)])
def test_a_refused_job_is_followed_by_what_to_do(blocker: Blocker | None, reason: str, quoted: str, hint: str) -> None:
    """The API server's message, then exactly one hint."""
    assert blocker is not None
    assert blocker.reason == reason
    assert quoted in blocker.message
    assert hint in blocker.message.partition(quoted)[2]
    assert [word for word, text in HINTS.items() if text in blocker.message] == ([reason] if reason in HINTS else [])


QUOTED = 'jobs.batch "x-1" is forbidden: '
CAUSES = [
    (
        f"{QUOTED}unable to create new content in namespace ml because it is being terminated",
        "NamespaceTerminating",
        "nothing can start in it",
    ),
    (f"{QUOTED}exceeded quota: jobs, requested: count/jobs.batch=1", "QuotaExceeded", "raise the quota, or wait"),
    (f"{QUOTED}failed quota: cpu: must specify limits.cpu for: trainer", "", "set in spec.trainer.resources what the quota counts"),
    (f'{QUOTED}violates PodSecurity "restricted:latest": privileged', "", "allow it in the namespace's Pod Security level"),
    (f"{QUOTED}maximum cpu usage per Container is 1, but limit is 3", "", "within the namespace's LimitRange"),
    (f"{QUOTED}minimum memory usage per Pod is 1Gi, but request is 1Mi", "", "within the namespace's LimitRange"),
    (f'{QUOTED}error looking up service account ml/absent: serviceaccount "absent" not found', "", "create the service account"),
    (f"{QUOTED}no PriorityClass with name high was found", "", "create the priority class"),
    ('admission webhook "kyverno" denied the request: no latest tag', "", "what the admission policy allows, or change the policy"),
    (
        f"{QUOTED}ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        "",
        "what the admission policy allows, or change the policy",
    ),
    (f"{QUOTED}something that a later Kubernetes says", "", "choose in spec.trainer what is allowed"),
]


@pytest.mark.parametrize(("sentence", "reason", "hint"), CAUSES, ids=[case[0][-24:] for case in CAUSES])
def test_one_status_code_has_many_causes(sentence: str, reason: str, hint: str) -> None:
    """From the API server about the Job (403), and from the Job controller about the pod: the hint fits the cause."""
    job = refusal(ForbiddenError(status=403, message=sentence, request="POST"), is_create=True)
    pod = verdict_of(
        decide(observe(SEARCH, JOB, warning=event("FailedCreate", f"Error creating: {sentence}")), CREATED, at_s=NOW_S + 70).status,
        ConditionType.TRAINER_READY,
    )

    assert job is not None
    assert pod is not None
    assert (job.reason, pod.reason) == ((reason, reason) if reason else ("JobForbidden", "PodsNotCreated"))
    assert hint in job.message
    assert hint in pod.message or (not reason and "what is allowed" in pod.message)


@pytest.mark.parametrize("sentence", [case[0] for case in CAUSES[8:10]])
def test_a_policy_that_answers_422_is_named_as_a_policy(sentence: str) -> None:
    """A webhook or a ValidatingAdmissionPolicy may choose that code: then no field is wrong."""
    blocker = refusal(InvalidError(status=422, message=sentence, request="POST"), is_create=True)

    assert blocker is not None
    assert blocker.reason == "TemplateRejected"
    assert "what the admission policy allows, or change the policy" in blocker.message
    assert "correct the field" not in blocker.message


def test_a_namespace_that_is_being_deleted_is_not_a_quota() -> None:
    """The whole message, without a hint that does not help."""
    blocker = refusal(ForbiddenError(status=403, message=CAUSES[0][0], request="POST"), is_create=True)

    assert blocker is not None
    assert blocker.message == "the namespace is being deleted; nothing can start in it"


LONG_ONES: list[OperatorError] = [
    ForbiddenError(status=403, message=LONG, request="POST"),
    InvalidError(status=422, message=LONG, request="POST"),
]


@pytest.mark.parametrize("error", LONG_ONES, ids=lambda error: type(error).__name__)
def test_a_long_message_leaves_room_for_its_hint(error: OperatorError) -> None:
    """A long message, for example a scheduler's about five thousand nodes, is cut; the hint is not."""
    refused = refusal(error, is_create=True)
    ready = verdict_of(decide(observe(SEARCH, JOB, unscheduled(LONG)), CREATED).status, ConditionType.TRAINER_READY)

    assert refused is not None
    assert ready is not None
    for reason, message in ((refused.reason, refused.message), (ready.reason, ready.message)):
        assert len(message) <= MAX_CONDITION_MESSAGE
        assert message.endswith(HINTS[Reason(reason)])


def test_every_hint_leaves_room_for_the_message_before_it() -> None:
    """No more than 200 characters."""
    assert max(len(hint) for hint in HINTS.values()) < 200

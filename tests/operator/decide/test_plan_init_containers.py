"""Init containers that run, cannot start, or fail: condition and event name the container and say what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import ConditionType, Phase
from autohas_operator.decide.actions import DeleteJob
from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import Plan, plan
from autohas_operator.decide.readiness import stuck_child
from autohas_operator.records.observed import WarningEvent
from autohas_operator.testing import kubernetes_messages
from autohas_operator.testing.builders import NOW_S, PODS, condition, observe, refused_pod, stored_job, stored_pod, stored_search
from autohas_operator.testing.decisions import CREATED, RUNNING, decide
from autohas_operator.wording import timestamp

FETCHING = stored_search(
    trainer={"initContainers": [{"name": "fetch", "image": "tools/fetch:1"}, {"name": "unpack", "command": ["unpack"]}]}
)
JOB = stored_job(FETCHING)
POD = "fashion-5ea4c400-1-pod-1"
INITIALIZING = {"waiting": {"reason": "PodInitializing"}}
EXHAUSTED = {"failed": 1, "conditions": [condition("Failed", "BackoffLimitExceeded")]}


def running(since_s: float = NOW_S) -> dict[str, Any]:
    return {"running": {"startedAt": timestamp(since_s)}}


def ended(code: int, message: str = "", *, reason: str = "Error", at_s: float = NOW_S) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": timestamp(at_s)}}


def pod(fetch: dict[str, Any], unpack: dict[str, Any] = INITIALIZING, *, phase: str = "Pending", **of_fetch: Any) -> dict[str, Any]:
    """A pod whose init containers are in these states, and whose trainer therefore waits."""
    statuses = [{"name": "fetch", "state": fetch, **of_fetch}, {"name": "unpack", "state": unpack}]
    return with_change(stored_pod(JOB, phase=phase, state=INITIALIZING), "status.initContainerStatuses", statuses)


def decided(child: dict[str, Any], *, after_s: float = 1, **rest: Any) -> Plan:
    return decide(observe(FETCHING, JOB, child, **rest), CREATED, at_s=NOW_S + after_s)


def ready(decision: Plan) -> tuple[str, str]:
    """Reason and message of TrainerReady."""
    verdict = verdict_of(decision.status, ConditionType.TRAINER_READY)
    assert verdict is not None
    return verdict.reason, verdict.message


def warnings(decision: Plan) -> list[tuple[str, str]]:
    return [(a.reason, a.message) for a in decision.announcements if a.type == "Warning" and a.reason != "CheckpointNotDurable"]


@pytest.mark.parametrize("after_s", [1, 7200])
def test_a_running_init_container_is_named_with_its_start(after_s: float) -> None:
    """However long it takes: nothing is called missing, no event is looked for, and no warning is posted."""
    decision = decided(pod(running(NOW_S)), after_s=after_s)

    assert decision.status.phase is Phase.STARTING
    assert ready(decision) == (
        "InitContainerRunning",
        (
            f"init container fetch of pod {POD} has run since {timestamp(NOW_S)}; the trainer starts when it has ended;"
            " kubectl logs POD -c CONTAINER shows what it does"
        ),
    )
    assert warnings(decision) == []
    assert stuck_child(observe(FETCHING, JOB, pod(running(NOW_S))), NOW_S + after_s) is None


def test_the_container_after_a_successful_one_is_named() -> None:
    """`unpack` runs when `fetch` has ended with 0."""
    assert "init container unpack of pod" in ready(decided(pod(ended(0, reason="Completed"), running())))[1]


def test_a_restarted_init_container_says_how_often_and_why() -> None:
    """After the loss of its sandbox, the kubelet runs the init containers again."""
    decision = decided(pod(running(NOW_S), restartCount=2, lastState=ended(1, "no route to host")))

    assert ", restarted 2 times (before: exit code 1: no route to host); the trainer" in ready(decision)[1]


@pytest.mark.parametrize(
    ("phase", "shown", "follows"),
    [
        ("Pending", Phase.STARTING, ""),
        ("Failed", Phase.INTERRUPTED, "; the next pod continues from the checkpoint at about " + timestamp(NOW_S + 10)),
    ],
)
def test_a_failed_init_container_is_named_with_its_last_words(phase: str, shown: Phase, follows: str) -> None:
    """Exit code and the end of its log, in condition and event; the time of the next pod follows from its end."""
    log = "fetching s3://bucket/data\ncurl: (22) The requested URL returned error: 404\n"
    decision = decided(pod(ended(22, log), phase=phase))
    reason, message = ready(decision)

    assert (decision.status.phase, decision.action) == (shown, None)
    assert reason == "InitContainerFailed"
    assert message.startswith(
        f"pod {POD} failed: init container fetch ended with exit code 22: curl: (22) The requested URL returned error: 404;"
        " the log ends: fetching s3://bucket/data"
    )
    assert message.endswith(follows)
    assert warnings(decision) == [("InitContainerFailed", message)]


def test_an_init_container_out_of_memory_says_what_to_raise() -> None:
    """Its limits are the trainer's."""
    message = ready(decided(pod(ended(137, reason="OOMKilled"), phase="Failed")))[1]

    assert "fetch ended with exit code 137 (OOMKilled); raise spec.trainer.resources.limits.memory; the next pod" in message


def test_a_search_whose_init_container_fails_for_good_ends_with_its_words() -> None:
    """BackoffLimitExceeded quotes the container; it is no interruption of the search, and the image is not pinned."""
    job = {**JOB, "status": EXHAUSTED}
    end = decide(observe(FETCHING, job, pod(ended(1, "no such bucket"), phase="Failed")), CREATED)
    judgement = verdict_of(end.status, ConditionType.SUCCEEDED)

    assert judgement is not None
    assert (judgement.reason, judgement.message) == ("BackoffLimitExceeded", "init container fetch ended with exit code 1: no such bucket")
    assert end.status.interruptions in (None, 0)
    assert end.status.trainer is None or end.status.trainer.pinned_image is None


def test_a_failed_init_container_is_no_start() -> None:
    """The start deadline holds: no trainer has run, however many pods have failed."""
    late = with_change(FETCHING, "spec.budget.startDeadlineSeconds", 600)
    job = stored_job(late, failed=1)
    end = decide(observe(late, job, pod(ended(1, "no such bucket"), phase="Failed")), CREATED, at_s=NOW_S + 601)
    judgement = verdict_of(end.status, ConditionType.SUCCEEDED)

    assert judgement is not None
    assert judgement.reason == "StartDeadlineExceeded"
    assert "it waited for: InitContainerFailed: pod" in judgement.message


@pytest.mark.parametrize(
    ("why", "message", "reason", "hint"),
    [
        (
            "ErrImagePull",
            "not found",
            "ImagePullFailed",
            "check the image of this container in spec.trainer.initContainers and spec.trainer.imagePullSecrets",
        ),
        (
            "CreateContainerConfigError",
            kubernetes_messages.NO_ENVIRONMENT,
            "ContainerNotCreated",
            (
                "check the Secrets and ConfigMaps that this container names in spec.trainer.initContainers (env,"
                " envFrom), and the volumes that"
                " it mounts"
            ),
        ),
    ],
)
def test_an_init_container_that_cannot_start_is_named(why: str, message: str, reason: str, hint: str) -> None:
    """In condition and event, with the fields to look at."""
    decision = decided(pod({"waiting": {"reason": why, "message": message}}))
    sentence = f"init container fetch of pod {POD}: {why}: {message}; {hint}"

    assert ready(decision) == (reason, sentence)
    assert warnings(decision) == [(reason, sentence)]


def test_an_init_container_that_is_not_created_for_a_minute_is_named() -> None:
    """With the newest event about the pod; before that it is being created."""
    mount = WarningEvent(reason="FailedMount", message=kubernetes_messages.NO_MOUNT, time_s=NOW_S)
    soon, late = decided(pod(INITIALIZING)), decided(pod(INITIALIZING), after_s=70, warning=mount)

    assert ready(soon) == ("PodStarting", f"the init container fetch of pod {POD} is being created")
    assert ready(late)[0] == "FailedMount"
    assert ready(late)[1].startswith(f"pod {POD} has had no init container fetch for 60 s: FailedMount: MountVolume.SetUp failed")


def test_the_minute_for_the_trainer_begins_when_the_last_init_container_ends() -> None:
    """An hour of fetching is no hour without a container."""
    done = pod(ended(0, reason="Completed"), ended(0, reason="Completed", at_s=NOW_S + 3600))

    assert ready(decided(done, after_s=3601)) == ("PodStarting", f"the container of pod {POD} is being created")
    assert ready(decided(done, after_s=3661))[0] == "ContainerNotCreated"


def test_a_native_sidecar_that_has_started_is_done() -> None:
    """A mesh's proxy runs as an init container with restartPolicy Always; one that crashes is named with its restarts."""
    done = pod(ended(0), ended(0))
    proxy = {"name": "proxy", "restartPolicy": "Always"}
    sidecar = with_change(done, "spec.initContainers", [proxy, *done["spec"]["initContainers"]])

    def with_proxy(**status: Any) -> dict[str, Any]:
        return with_change(sidecar, "status.initContainerStatuses", [{"name": "proxy", **status}, *done["status"]["initContainerStatuses"]])

    crashing = with_proxy(
        state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}, restartCount=3, lastState=ended(1, "no certificate")
    )

    assert ready(decided(with_proxy(state=running(), started=True)))[0] == "PodStarting"
    assert ready(decided(crashing)) == (
        "ContainerNotCreated",
        (
            f"init container proxy of pod {POD}: CrashLoopBackOff: back-off 40s, restarted 3 times (before: exit code 1: no certificate);"
            " check the Secrets and ConfigMaps that this container names in spec.trainer.initContainers (env,"
            " envFrom), and the volumes that it"
            " mounts"
        ),
    )


def with_ended_proxy(state: dict[str, Any], code: int, *, phase: str = "Pending") -> dict[str, Any]:
    """A pod whose trainer is in this state, behind two init containers that have succeeded, and whose native sidecar has ended."""
    child = stored_pod(JOB, phase=phase, state=state)
    spec = [{"name": "proxy", "restartPolicy": "Always"}, *child["spec"]["initContainers"]]
    done = [{"name": name, "state": ended(0, reason="Completed")} for name in ("fetch", "unpack")]
    statuses = [{"name": "proxy", "state": ended(code), "started": False}, *done]
    return with_change(with_change(child, "spec.initContainers", spec), "status.initContainerStatuses", statuses)


@pytest.mark.parametrize("code", [0, 1, 143])
def test_a_native_sidecar_that_ends_after_the_trainer_is_not_the_cause(code: int) -> None:
    """The kubelet stops the proxy when the trainer has failed: condition and event are about the trainer."""
    decision = decided(with_ended_proxy(ended(1, "out of range"), code, phase="Failed"))

    assert ready(decision)[0] == "TrainerFailed"
    assert ready(decision)[1].startswith(f"pod {POD} failed: exit code 1: out of range; ")
    assert [reason for reason, _ in warnings(decision)] == ["TrainerFailed"]


def test_a_native_sidecar_between_two_starts_has_not_failed() -> None:
    """The kubelet restarts it, so the pod does not fail."""
    decision = decided(with_ended_proxy(INITIALIZING, 1))

    assert ready(decision) == ("PodStarting", f"the init container proxy of pod {POD} is being created")


def test_a_chart_with_a_misspelt_image_is_corrected_for_init_containers_too() -> None:
    """`unpack` has the trainer's image, which cannot be pulled: a Job with the chart's new image replaces it; `fetch` has its own."""
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    corrected = replace(PODS, image="trainer:2")

    def plan_with(child: dict[str, Any]) -> Plan:
        return plan(observe(FETCHING, JOB, child), CREATED, corrected, NOW_S + 60)

    assert plan_with(pod(ended(0, reason="Completed"), pull)).action == DeleteJob(name="fashion-5ea4c400-1", uid="job-1")
    assert plan_with(pod(pull)).action is None


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (
            'Usage of EmptyDir volume "autohas-scratch" exceeds the limit "20Gi". ',
            "raise spec.trainer.scratchSize to what init containers, downloads and caches write below /scratch",
        ),
        ('Usage of EmptyDir volume "autohas-shm" exceeds the limit "8Gi". ', "raise spec.trainer.shmSize"),
        ('Usage of EmptyDir volume "data" exceeds the limit "1Gi". ', "raise emptyDir.sizeLimit of the volume in spec.trainer.volumes"),
        (
            "Pod ephemeral local storage usage exceeds the total limit of containers 5Gi. ",
            "raise spec.trainer.resources.limits.ephemeral-storage, which counts logs and every emptyDir on disk",
        ),
        (
            'Container trainer exceeded its local ephemeral storage limit "5Gi". ',
            "raise spec.trainer.resources.limits.ephemeral-storage, which counts the container's logs",
        ),
        (
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 1Mi. ",
            (
                "raise spec.trainer.resources.requests.ephemeral-storage (or scratchSize, which sets it) to what the"
                " pod writes, so that the"
                " scheduler chooses a node with room"
            ),
        ),
    ],
)
@pytest.mark.parametrize("trainer", [None, *({"terminated": {"exitCode": 137, "reason": r}} for r in ("Error", "ContainerStatusUnknown"))])
def test_an_eviction_for_storage_quotes_the_kubelet_and_says_what_to_raise(message: str, hint: str, trainer: dict[str, Any] | None) -> None:
    """The kubelet marks a disruption only where the node was short of disk: a pod beyond a limit of its own counts up to backoffLimit."""
    is_of_node = message.startswith("The node")
    evicted = refused_pod(JOB, "Evicted", message)
    if is_of_node:
        evicted["status"]["conditions"].append(condition("DisruptionTarget", "TerminationByKubelet", message))
    evicted["status"]["containerStatuses"] = [] if trainer is None else [{"name": "trainer", "state": trainer}]
    decision = decide(observe(FETCHING, JOB, evicted), RUNNING)
    last = decide(observe(FETCHING, {**JOB, "status": EXHAUSTED}, evicted), RUNNING)
    reason, text = ready(decision)
    succeeded = verdict_of(last.status, ConditionType.SUCCEEDED)

    assert reason == ("Interrupted" if is_of_node else "TrainerFailed")
    assert f"Evicted: {message.strip().rstrip('.')}" in text
    assert f"; {hint}" in text
    assert succeeded is not None
    if not is_of_node:
        assert (last.status.phase, succeeded.reason) == (Phase.FAILED, "BackoffLimitExceeded")
        assert trainer is None or last.status.interruptions == 0
        assert succeeded.message.endswith(hint)


def test_evictions_for_own_excess_are_bounded_where_the_trainer_ends_in_order() -> None:
    """The Job ignores exit code 75, so that the operator alone counts it: the second such pod is one more than backoffLimit allows."""
    search = stored_search(failurePolicy={"backoffLimit": 1})
    job = stored_job(search)
    pods = []
    for number in (1, 2):
        evicted = refused_pod(job, "Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 5Gi. ")
        evicted["metadata"] |= {"name": f"pod-{number}", "uid": f"uid-{number}"}
        evicted["status"]["containerStatuses"] = [{"name": "trainer", "state": {"terminated": {"exitCode": 75, "reason": "Error"}}}]
        pods.append(evicted)
    first, second = decide(observe(search, job, pods[0]), RUNNING), decide(observe(search, job, *pods), RUNNING)
    succeeded = verdict_of(second.status, ConditionType.SUCCEEDED)

    assert ready(first)[0] == "TrainerFailed"
    assert (first.status.phase, first.status.interruptions or 0) == (Phase.INTERRUPTED, 0)
    assert succeeded is not None
    assert (second.status.phase, succeeded.reason) == (Phase.FAILED, "BackoffLimitExceeded")
    assert "raise spec.trainer.resources.limits.ephemeral-storage" in succeeded.message
    after = decide(observe(search, job, *pods), second.status)
    assert after.action == CleanUp(config_maps=("fashion-5ea4c400-1",), jobs=((job["metadata"]["name"], job["metadata"]["uid"]),))

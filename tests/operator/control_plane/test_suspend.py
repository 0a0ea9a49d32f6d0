"""Suspending, resuming and queueing on a real API server with its Job controller and garbage collector."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from autohas_api.base.digest import sha256
from autohas_api.base.names import LABEL_QUEUE
from autohas_api.spec.search import MUTABLE_WHILE_SUSPENDED
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import CheckpointInfo
from autohas_operator.testing.builders import DURABLE
from testcluster.commands import CommandFailedError

pytestmark = pytest.mark.control_plane


def suspend(bench: Any, *, suspended: bool = True, **trainer: Any) -> None:
    patch = {"spec": {"suspend": suspended, **({"trainer": trainer} if trainer else {})}}
    bench.kubectl("patch", "ahs", "fashion", "--type=merge", "-p", json.dumps(patch))


def leave(bench: Any, pod: dict[str, Any]) -> None:
    """The kubelet confirms that a pod has stopped."""
    bench.until(lambda: "deletionTimestamp" in read_job(bench, pod)["metadata"], "the pod is being deleted")
    bench.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")


def read_job(bench: Any, pod: dict[str, Any]) -> dict[str, Any]:
    return next(other for other in bench.objects("pods") if other["metadata"]["uid"] == pod["metadata"]["uid"])


def test_a_search_is_suspended_and_goes_on(bench: Any, trainer: Any) -> None:
    """Suspending while the pod stops, Suspended without pods and Jobs, the checkpoint in status, then attempt 2 to the end."""
    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod, checkpoint=CheckpointInfo(step=400, time=time.time(), digest=sha256("checkpoint")))
    bench.until(lambda: bench.condition("CheckpointReady") == ("True", "Fresh"), "a checkpoint")
    suspend(bench)
    bench.until_phase("Suspending")
    leave(bench, pod)
    bench.until_phase("Suspended")
    left = (bench.objects("jobs"), bench.objects("pods"), bench.search()["status"]["checkpoint"]["step"])
    placed = {"nodeSelector": {"pool": "spot"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}
    suspend(bench, suspended=False, image="mine:2", resources={"limits": {"cpu": "3"}}, **placed)
    following = bench.pod()
    bench.report_progress(trainer, following, starts=2, interruptions=1)
    bench.succeed(following)

    assert left == ([], [], 400)
    assert bench.search()["status"]["attempt"] == 2
    assert following["spec"]["containers"][0]["image"] == bench.search()["status"]["trainer"]["image"] == "mine:2"
    assert following["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "3"}
    assert following["spec"]["nodeSelector"] == {"pool": "spot"}
    assert {"key": "spot", "operator": "Exists"} in following["spec"]["tolerations"]
    reasons = {"SearchSuspended", "SearchResumed"}
    bench.until(lambda: reasons <= {e["reason"] for e in bench.objects("events")}, "both events")


MOVABLE: dict[str, Any] = {
    "image": "mine:2",
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccountName": "absent",
    "resources": {"limits": {"cpu": "1"}},
    "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}],
    "nodeSelector": {"pool": "gpu"},
    "affinity": {"nodeAffinity": {}},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "research",
    "schedulerName": "other",
    "runtimeClassName": "nvidia",
    "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "2Gi"}}],
    "initContainers": [{"name": "fetch", "image": "tools/fetch:2", "command": ["fetch"]}],
    "shmSize": "1Gi",
    "scratchSize": "30Gi",
}
"""What runs and where, each with a value of its own."""


def test_what_runs_and_where_changes_only_while_suspended(bench: Any) -> None:
    """While the search runs the API server refuses them, naming the field and the way; Suspended they pass; other fields stay refused."""
    assert set(MOVABLE) == set(MUTABLE_WHILE_SUSPENDED)
    bench.apply(DURABLE)
    bench.pod()
    bench.until(lambda: bench.search().get("status", {}).get("attempt") == 1, "attempt 1 is noted")
    for name, value in MOVABLE.items():
        with pytest.raises(
            CommandFailedError, match=rf"{name} must not change .* set spec\.suspend to true and wait for the phase Suspended"
        ):
            suspend(bench, suspended=False, **{name: value})
    with pytest.raises(CommandFailedError, match="trainer must not change once the search has started"):
        suspend(bench, suspended=False, device="CPU")
    suspend(bench)
    bench.until_phase("Suspended")
    suspend(bench, **MOVABLE)
    with pytest.raises(CommandFailedError, match="trainer must not change once the search has started"):
        suspend(bench, device="CPU")

    assert {name: bench.search()["spec"]["trainer"][name] for name in MOVABLE} == MOVABLE


def test_suspend_flipped_back_and_forth_leaves_one_job(bench: Any, trainer: Any) -> None:
    """Suspended, then flipped thrice before the pod has stopped: its Job goes, attempt 2 alone follows it and succeeds."""
    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    suspend(bench)
    bench.until_phase("Suspending")
    for suspended in (False, True, False):
        suspend(bench, suspended=suspended)
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "JobDeleted"), "the Job is being deleted")
    bench.until(lambda: bench.condition("Suspended") == ("False", "Resumed"), "the operator has seen a flip back")
    meanwhile = [(job["metadata"]["name"][-2:], "deletionTimestamp" in job["metadata"]) for job in bench.objects("jobs")]
    pods_meanwhile = [other["metadata"]["uid"] for other in bench.objects("pods")]
    leave(bench, pod)
    bench.until(lambda: [j["metadata"]["name"][-2:] for j in bench.objects("jobs")] == ["-2"], "attempt 2")
    following = bench.pod()
    bench.report_progress(trainer, following, starts=2, interruptions=1)
    bench.succeed(following)

    assert (meanwhile, pods_meanwhile) == ([("-1", True)], [pod["metadata"]["uid"]])
    assert bench.search()["status"]["attempt"] == 2
    assert [job["metadata"]["name"][-2:] for job in bench.objects("jobs")] == ["-2"]


def test_the_operator_is_killed_while_suspending_and_while_suspended(bench: Any, trainer: Any) -> None:
    """Both restarts change nothing: the operator waits for the pod, then the search is Suspended, then it continues."""
    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    suspend(bench)
    bench.until_phase("Suspending")
    bench.operator.kill()
    bench.operator.start()
    leave(bench, pod)
    bench.until_phase("Suspended")
    bench.operator.kill()
    suspend(bench, suspended=False)
    bench.operator.start()
    bench.report_progress(trainer, bench.pod(), starts=2)

    assert bench.search()["status"]["attempt"] == 2


def test_a_search_that_starts_suspended_makes_nothing(bench: Any) -> None:
    """It is accepted and Suspended; its budget may still be changed; then it starts."""
    bench.apply(with_change(DURABLE, "spec.suspend", True))  # noqa: FBT003 - JSON
    bench.until_phase("Suspended")
    jobs_meanwhile = bench.objects("jobs")
    bench.apply(with_change(DURABLE, "spec.budget", {"trainings": "5"}))
    bench.pod()

    assert jobs_meanwhile == []
    assert bench.condition("Accepted") == ("True", "Valid")


def test_a_queue_holds_the_job_back_admits_and_evicts_it(bench: Any, trainer: Any) -> None:
    """Played as Kueue does it, by Job.spec.suspend: Queued, running, Queued, running; one Job, no failure counted."""
    queued = with_change(DURABLE, "metadata.labels", {LABEL_QUEUE: "team"})
    bench.apply(with_change(queued, "spec.failurePolicy", {"backoffLimit": 0}))
    pod = bench.pod()
    (job,) = bench.objects("jobs")
    hold(bench, job, held=True)
    bench.until(lambda: bench.condition("Admitted") == ("False", "WaitingForQuota"), "the Job waits")
    bench.until_phase("Queued")
    bench.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0", "--ignore-not-found")
    hold(bench, job, held=False)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    bench.until(lambda: bench.condition("Admitted") == ("True", "QuotaReserved"), "the Job is admitted")
    hold(bench, job, held=True)
    bench.until(lambda: bench.condition("Admitted") == ("False", "Evicted"), "the Job is evicted")
    leave(bench, pod)
    hold(bench, job, held=False)
    following = bench.pod()
    bench.report_progress(trainer, following, starts=2, interruptions=1)
    bench.succeed(following)

    assert job["metadata"]["labels"][LABEL_QUEUE] == "team"
    assert [j["metadata"]["uid"] for j in bench.objects("jobs")] == [job["metadata"]["uid"]]


def hold(bench: Any, job: dict[str, Any], *, held: bool) -> None:
    bench.kubectl("patch", "job", job["metadata"]["name"], "--type=merge", "-p", json.dumps({"spec": {"suspend": held}}))

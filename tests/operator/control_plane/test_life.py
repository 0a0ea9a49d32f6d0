"""The operator's life on a real API server with its Job controller, scheduler and garbage collector."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from autohas_api.base.digest import sha256
from autohas_api.testing.rejections import with_change
from autohas_api.wire.messages import CheckpointInfo, Stage
from autohas_operator.testing.builders import DURABLE, error_text, interrupted_text, notice, result_text

pytestmark = pytest.mark.control_plane


def test_a_search_from_apply_to_result(bench: Any, trainer: Any) -> None:
    """Created, started, reporting, succeeded; every condition is of the current generation; the events tell it."""
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "Unschedulable"), "the scheduler's word")
    bench.report_progress(trainer, pod, stage=Stage.RACE, notices=[notice(1, "CheckpointRestored")])
    running = bench.search()["status"]
    bench.succeed(pod)
    search = bench.search()

    assert (running["stage"], running["progress"], running["best"]) == ("Race", "42%", "0.91")
    assert search["status"]["result"]["scores"]["test"] == "0.93"
    assert {c["observedGeneration"] for c in search["status"]["conditions"]} == {search["metadata"]["generation"]}
    reasons = {"SearchAccepted", "TrainerJobCreated", "SearchStarted", "CheckpointRestored", "ResultStored"}
    bench.until(lambda: reasons <= {e["reason"] for e in bench.objects("events")}, "all events")
    assert search["metadata"].get("finalizers") is None
    assert "annotations" not in search["metadata"] or set(search["metadata"]["annotations"]) == {
        "kubectl.kubernetes.io/last-applied-configuration"
    }


def test_a_comparison_from_apply_to_its_table(bench: Any, trainer: Any) -> None:
    """Accepted with its cost, followed by its run, and the API server keeps every row of the result."""
    bench.apply(with_change(DURABLE, "spec.algorithm", {"name": "AutoHAS", "compare": {"seeds": 5}}))
    pod = bench.pod()
    bench.report_progress(trainer, pod, stage=Stage.RACE, run=3, runs=15)
    table, running = bench.kubectl("get", "ahs", "fashion", "-o", "wide"), bench.search()["status"]
    rows = [
        {"method": "search", "test": 0.93, "deviation": 0.01, "runs": 5},
        {
            "method": "default-as-long",
            "test": 0.9,
            "runs": 5,
            "difference": 0.03,
            "low": 0.01,
            "high": 0.05,
            "t": 4.2,
            "wins": 5,
            "losses": 0,
        },
    ]
    bench.end(pod, 0, result_text(bench.search(), pod_uid=pod["metadata"]["uid"], comparison=rows))
    bench.until_phase("Succeeded")
    accepted = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "Accepted")

    assert "compare: 3 methods with 5 seeds are 15 runs of 4 trainings each, 60 in all" in accepted["message"]
    assert running["run"] == "3/15"
    assert "3/15" in table
    assert bench.search()["status"]["result"]["comparison"] == [
        {"name": "search", "test": "0.93", "testStandardDeviation": "0.01", "runs": 5},
        {
            "name": "default-as-long",
            "test": "0.9",
            "runs": 5,
            "difference": "0.03",
            "differenceLow": "0.01",
            "differenceHigh": "0.05",
            "t": "4.2",
            "wins": 5,
            "losses": 0,
        },
    ]


def test_the_operator_killed_while_starting_and_while_running(bench: Any, trainer: Any) -> None:
    """Two kill -9: one Job, one attempt, the same end."""
    bench.apply(DURABLE)
    bench.until(lambda: bench.objects("jobs"), "a Job")
    bench.operator.kill()
    bench.operator.start()
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    bench.operator.kill()
    bench.end(pod, 0, result_text(bench.search(), pod_uid=pod["metadata"]["uid"]))
    bench.operator.start()
    bench.until_phase("Succeeded")

    assert len(bench.objects("jobs")) == 1
    assert bench.search()["status"]["attempt"] == 1


def test_an_interruption_is_not_counted_and_the_job_makes_the_next_pod(bench: Any, trainer: Any) -> None:
    """Exit 75: the same Job creates another pod, which finishes, also with backoffLimit 0."""
    bench.apply(with_change(DURABLE, "spec.failurePolicy", {"backoffLimit": 0}))
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    bench.end(pod, 75, interrupted_text(bench.search(), pod_uid=pod["metadata"]["uid"]))
    bench.until_phase("Interrupted")
    after = bench.pod()
    bench.report_progress(trainer, after, starts=2, interruptions=1)
    bench.succeed(after)

    assert after["metadata"]["uid"] != pod["metadata"]["uid"]
    assert len(bench.objects("jobs")) == 1
    assert bench.search()["status"]["interruptions"] == 1


def test_fatal_exit_codes_fail_the_search_at_once(bench: Any) -> None:
    """Exit 65: no second pod, DataError, the trainer's own sentence."""
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.end(pod, 65, error_text(bench.search(), "no file labels in /data", code=65, pod_uid=pod["metadata"]["uid"]))
    bench.until_phase("Failed")
    condition = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "Succeeded")

    assert (condition["status"], condition["reason"]) == ("False", "DataError")
    assert "no file labels in /data" in condition["message"]
    assert len(bench.objects("pods")) == 1


def test_failures_are_counted_to_the_backoff_limit(bench: Any) -> None:
    """Exit 1 with backoffLimit 0 is BackoffLimitExceeded, with the end of the log."""
    bench.apply(with_change(DURABLE, "spec.failurePolicy", {"backoffLimit": 0}))
    bench.end(bench.pod(), 1, "Traceback: boom")
    bench.until_phase("Failed")
    condition = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "Succeeded")

    assert condition["reason"] == "BackoffLimitExceeded"
    assert "Traceback: boom" in condition["message"]


@pytest.mark.parametrize(
    ("end", "left"),
    [({"exitCode": 137, "reason": "ContainerStatusUnknown"}, 1), ({"exitCode": 75, "reason": "Error"}, 0)],
    ids=["killed", "ended in order"],
)
def test_an_eviction_for_its_own_excess_is_a_failure_that_says_what_to_raise(
    bench: Any, trainer: Any, end: dict[str, Any], left: int
) -> None:
    """Written as the kubelet writes it, without DisruptionTarget: the Job counts it, and the operator takes it for no lost pod.

    A trainer that ends in order within the second of grace exits with 75. The Job ignores that and would make another pod: it is deleted.
    """
    bench.apply(with_change(DURABLE, "spec.failurePolicy", {"backoffLimit": 0}))
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    evicted = {"status": {"reason": "Evicted", "message": 'Usage of EmptyDir volume "autohas-scratch" exceeds the limit "20Gi". '}}
    bench.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", json.dumps(evicted))
    bench.play_kubelet(pod, "Failed", {"terminated": end})
    bench.until_phase("Failed")
    bench.until(lambda: len(bench.objects("jobs")) == len(bench.objects("pods")) == left, f"{left} Jobs and pods are left")
    status = bench.search()["status"]
    condition = next(c for c in status["conditions"] if c["type"] == "Succeeded")

    assert condition["reason"] == "BackoffLimitExceeded"
    assert condition["message"].startswith('Evicted: Usage of EmptyDir volume "autohas-scratch" exceeds the limit "20Gi"')
    assert condition["message"].endswith(
        "raise spec.trainer.scratchSize to what init containers, downloads and caches write below /scratch"
    )
    assert status.get("interruptions", 0) == 0


def test_a_job_deleted_by_hand_is_followed_by_one_attempt(bench: Any, trainer: Any) -> None:
    """The next Job is number 2 and runs alone."""
    bench.apply(DURABLE)
    bench.report_progress(trainer, bench.pod())
    (job,) = bench.objects("jobs")
    bench.kubectl("delete", "job", job["metadata"]["name"], "--cascade=foreground", "--wait=false")
    bench.until(lambda: [j["metadata"]["name"][-2:] for j in bench.objects("jobs")] == ["-2"], "attempt 2")
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    bench.succeed(pod)

    assert bench.search()["status"]["attempt"] == 2


def test_an_orphaned_pod_is_waited_for(bench: Any, trainer: Any) -> None:
    """After a deletion that orphans the pod there is no second trainer next to it."""
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    (job,) = bench.objects("jobs")
    bench.kubectl("delete", "job", job["metadata"]["name"], "--cascade=orphan")
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "WaitingForPodTermination"), "the operator waits")
    jobs_meanwhile = bench.objects("jobs")
    bench.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
    bench.until(lambda: bench.objects("jobs"), "attempt 2")

    assert jobs_meanwhile == []


def test_a_complete_job_without_its_pod_is_repeated_once_and_then_fails(bench: Any) -> None:
    """The message is lost twice: ResultMissing after attempt 2."""
    bench.apply(DURABLE)
    for attempt in (1, 2):
        pod = bench.pod()
        bench.operator.kill()
        bench.end(pod, 0, "")
        bench.until(lambda: _is_complete(bench), f"attempt {attempt} is complete")
        bench.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
        bench.operator.start()
        if attempt == 1:
            bench.until(lambda: [j["metadata"]["name"][-2:] for j in bench.objects("jobs")] == ["-2"], "attempt 2")
    bench.until_phase("Failed")

    assert bench.condition("Succeeded") == ("False", "ResultMissing")


def _is_complete(bench: Any) -> bool:
    return any(c["type"] == "Complete" for job in bench.objects("jobs") for c in job.get("status", {}).get("conditions", []))


def test_a_search_that_cannot_work_is_rejected_until_it_is_corrected(bench: Any) -> None:
    """Accepted=False names the field; the edit starts it; from then on the spec is frozen."""
    bench.apply(with_change(DURABLE, "spec.budget", {"trainings": "1"}))
    bench.until(lambda: bench.condition("Accepted") == ("False", "InvalidSpec"), "a rejection")
    jobs_meanwhile = bench.objects("jobs")
    bench.apply(DURABLE)
    bench.until(lambda: bench.objects("jobs"), "a Job")

    assert jobs_meanwhile == []
    assert bench.condition("Accepted") == ("True", "Valid")


def test_pods_that_policy_forbids_are_explained(bench: Any) -> None:
    """A quota without room leaves no trace but an event; it is in TrainerReady."""
    bench.kubectl("create", "quota", "none", "--hard=pods=0")
    bench.apply(DURABLE)
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "QuotaExceeded"), "QuotaExceeded")
    condition = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "TrainerReady")

    assert "exceeded quota" in condition["message"]


def test_deleting_a_search_takes_everything_along(bench: Any) -> None:
    """Owner references suffice: no finalizer, nothing left."""
    bench.apply(DURABLE)
    bench.pod()
    bench.kubectl("delete", "ahs", "fashion")
    bench.until(lambda: not any(bench.objects(kind) for kind in ("jobs", "pods")), "nothing is left")
    left = [c["metadata"]["name"] for c in bench.objects("configmaps") if c["metadata"]["name"] != "kube-root-ca.crt"]

    assert left == []


def test_a_trainer_that_a_sidecar_outlives_is_followed_by_the_next_attempt(bench: Any, trainer: Any) -> None:
    """The Job controller sees no end of the pod: after half a minute a new Job follows, with one retry fewer."""
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": "boom", "startedAt": now, "finishedAt": now}}
    bench.play_kubelet(pod, "Running", ended, sidecars=("istio-proxy",))
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "SidecarRunning"), "the sidecar is named")
    bench.until(lambda: bench.search()["status"]["attempt"] == 2, "attempt 2")
    (job,) = bench.objects("jobs")

    assert job["spec"]["backoffLimit"] == 5
    assert (bench.search()["status"]["failures"], bench.search()["status"].get("interruptions", 0)) == (1, 0)


def test_the_operator_ends_cleanly_and_says_how_it_is(bench: Any) -> None:
    """SIGTERM is exit 0; before, it is healthy, counts its searches and needs little memory."""
    bench.apply(DURABLE)
    bench.pod()
    bench.until(lambda: 'autohas_searches{phase="Starting"} 1.0' in bench.operator.page("/metrics"), "the search is counted")

    assert bench.operator.page("/healthz") == "ok\n"
    assert bench.operator.memory_mib() < 256
    assert bench.operator.terminate() == 0


@pytest.mark.parametrize("bench", ["narrow"], indirect=True)
def test_an_operator_of_one_namespace_needs_no_rights_elsewhere(bench: Any, trainer: Any) -> None:
    """With watchNamespaces a Role suffices; searches of other namespaces are left alone."""
    bench.cluster.kubectl("-n", "default", "apply", "-f", "-", input=json.dumps(with_change(DURABLE, "metadata.name", "foreign")))
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    bench.succeed(pod)
    foreign = bench.cluster.kubectl("-n", "default", "get", "ahs", "foreign", "-o", "jsonpath={.status}")
    bench.cluster.kubectl("-n", "default", "delete", "ahs", "foreign")

    assert json.loads(foreign) == {"conditions": [], "observedGeneration": 0}  # what the API server itself fills in


def test_six_interruptions_in_a_row_end_in_the_result(bench: Any, trainer: Any) -> None:
    """Each after a newer checkpoint: the operator replaces the Job after every third, so that its back-off never reaches 40 s."""
    began_s, waited = time.monotonic(), []
    bench.apply(DURABLE)
    for number in range(1, 7):
        asked_s = time.monotonic()
        pod = bench.pod()
        waited.append(time.monotonic() - asked_s)
        step = CheckpointInfo(step=100 * number, time=time.time(), digest=sha256("checkpoint"))
        bench.report_progress(trainer, pod, starts=number, interruptions=number - 1, checkpoint=step, percent=10.0 * number)
        bench.until(lambda number=number: bench.search()["status"].get("starts") == number, "the report is stored")
        bench.end(pod, 75, interrupted_text(bench.search(), pod_uid=pod["metadata"]["uid"]))
        bench.until(lambda number=number: bench.search()["status"].get("interruptions") == number, "the interruption is counted")
    bench.until(lambda: [j["metadata"]["name"][-2:] for j in bench.objects("jobs")] == ["-3"], "attempt 3")
    pod = bench.pod()
    bench.report_progress(trainer, pod, starts=7, interruptions=6)
    bench.succeed(pod)

    assert bench.search()["status"]["attempt"] == 3
    assert bench.search()["status"]["interruptions"] == 6
    assert max(waited) < 40, waited
    assert time.monotonic() - began_s < 10 + 20 + 40 + 80 + 160, "as long as the Job's own back-off would have taken"

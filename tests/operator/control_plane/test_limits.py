"""Limits, cleaning up, missing rights and bad days on a real API server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_operator.testing.builders import DURABLE
from autohas_operator.testing.trainer_fields import EVERY_TRAINER_FIELD

pytestmark = pytest.mark.control_plane


def children(bench: Any) -> list[str]:
    names = [item["metadata"]["name"] for kind in ("jobs", "configmaps", "pods") for item in bench.objects(kind)]
    return [name for name in names if name != "kube-root-ca.crt"]


def test_a_search_that_does_not_start_in_time_fails_and_leaves_nothing(bench: Any) -> None:
    """No node: StartDeadlineExceeded in the scheduler's words, and its Job, pod and ConfigMap go."""
    bench.apply(with_change(DURABLE, "spec.budget", {"trainings": "4", "startDeadlineSeconds": 15}))
    bench.until_phase("Failed")
    condition = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "Succeeded")
    bench.until(lambda: children(bench) == [], "nothing is left")

    assert condition["reason"] == "StartDeadlineExceeded"
    assert "no nodes available" in condition["message"]


def test_what_has_ended_is_cleaned_up_and_the_result_stays(bench: Any, trainer: Any) -> None:
    """After ttlSecondsAfterFinished Job, pod and ConfigMap are gone; the search and its result are not."""
    bench.apply(with_change(DURABLE, "spec.cleanup", {"ttlSecondsAfterFinished": 3}))
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    bench.succeed(pod)
    bench.until(lambda: children(bench) == [], "nothing is left")

    assert bench.search()["status"]["result"]["scores"]["test"] == "0.93"


def test_what_an_orphaning_deletion_leaves_goes_by_itself(bench: Any, trainer: Any) -> None:
    """The Job of an ended search has a time of its own and no ConfigMap: without the search it goes, and its pod with it."""
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    bench.succeed(pod)
    bench.until(
        lambda: [job["spec"].get("ttlSecondsAfterFinished") for job in bench.objects("jobs")] == [3600 + 3600], "the Job has its time"
    )
    bench.until(lambda: len(children(bench)) == 2, "the ConfigMap is gone")
    bench.kubectl("delete", "ahs", "fashion", "--cascade=orphan")
    bench.until(lambda: "ownerReferences" not in bench.objects("jobs")[0]["metadata"], "the Job is an orphan")
    (name,) = (job["metadata"]["name"] for job in bench.objects("jobs"))
    bench.kubectl("patch", "job", name, "--type=merge", "-p", '{"spec": {"ttlSecondsAfterFinished": 1}}')  # no test waits for two hours
    bench.until(lambda: children(bench) == [], "nothing is left")

    assert bench.objects("ahs") == []


def test_a_paused_search_is_left_alone(bench: Any) -> None:
    """The annotation keeps the operator from making a Job; removed, the search starts."""
    bench.apply(with_change(DURABLE, "metadata.annotations", {"autohas.dev/paused": "true"}))
    bench.until(lambda: bench.condition("ReconciliationPaused") == ("True", "PausedByAnnotation"), "the pause is seen")
    jobs_meanwhile = bench.objects("jobs")
    bench.kubectl("annotate", "ahs", "fashion", "autohas.dev/paused-")
    bench.pod()

    assert jobs_meanwhile == []
    bench.until(lambda: bench.condition("ReconciliationPaused") == ("False", "NotPaused"), "the condition shows the end of the pause")


@pytest.mark.parametrize("bench", ["narrow"], indirect=True)
def test_a_right_that_is_missing_is_named(bench: Any) -> None:
    """Without create on jobs the search says which verb on which resource; with it, it starts."""
    (role,) = json.loads(bench.kubectl("get", "role", "-l", "app.kubernetes.io/name=autohas-operator", "-o", "json"))["items"]
    whole = role["rules"]
    poorer = [{**rule, "verbs": ["get", "list", "watch", "delete"]} if rule["resources"] == ["jobs"] else rule for rule in whole]
    name = role["metadata"]["name"]
    bench.kubectl("patch", "role", name, "--type=merge", "-p", json.dumps({"rules": poorer}))
    bench.apply(DURABLE)
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "OperatorForbidden"), "the condition shows the missing right")
    condition = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "TrainerReady")
    bench.kubectl("patch", "role", name, "--type=merge", "-p", json.dumps({"rules": whole}))
    bench.pod()

    assert "the operator may not create jobs; grant it" in condition["message"]


def test_a_pod_gets_every_field_of_the_trainer(bench: Any) -> None:
    """CRD, Job validation and admission accept the search, and its pod has all fields in its spec."""
    absent = ("serviceAccountName", "priorityClassName", "runtimeClassName")
    wish = {name: value for name, value in EVERY_TRAINER_FIELD.items() if name not in absent}
    bench.apply(with_change(DURABLE, "spec.trainer", wish))
    pod = bench.pod()

    assert pod["spec"]["affinity"] == wish["affinity"]
    assert pod["spec"]["schedulerName"] == "volcano"
    assert {"name": "TMPDIR", "value": "/data/tmp"} in pod["spec"]["containers"][0]["env"]
    assert pod["metadata"]["labels"]["team"] == "vision"


def test_an_account_that_is_not_allowed_is_refused(bench: Any) -> None:
    """The chart allows none: Accepted=False, no Job."""
    bench.apply(with_change(DURABLE, "spec.trainer", {"serviceAccountName": "default"}))
    bench.until(lambda: bench.condition("Accepted") == ("False", "ServiceAccountNotAllowed"), "the refusal")

    assert bench.objects("jobs") == []


def test_an_account_that_is_missing_is_named(bench: Any) -> None:
    """Allowed by the platform, absent in the namespace: the Job controller's sentence is in TrainerReady; made, the pod comes."""
    bench.apply(with_change(DURABLE, "spec.trainer", {"serviceAccountName": "absent"}))
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "PodsNotCreated"), "PodsNotCreated")
    condition = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "TrainerReady")

    assert 'serviceaccount "absent" not found' in condition["message"]


def test_a_policy_that_forbids_the_pod_is_named(bench: Any) -> None:
    """A LimitRange stands for any admission policy: its sentence is in TrainerReady."""
    spec = {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}
    small = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": spec}
    bench.kubectl("create", "-f", "-", input=json.dumps(small))
    bench.apply(with_change(DURABLE, "spec.trainer", {"resources": {"limits": {"cpu": "3"}}}))
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "PodsNotCreated"), "PodsNotCreated")
    condition = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "TrainerReady")

    assert "maximum cpu usage per Container is 1, but limit is 3" in condition["message"]


def test_a_restricted_namespace_admits_the_pod(bench: Any) -> None:
    """Pod Security, enforced at its strictest level, has nothing to say."""
    bench.cluster.kubectl("label", "namespace", bench.namespace, "pod-security.kubernetes.io/enforce=restricted")
    bench.apply(DURABLE)

    assert bench.pod()["status"]["phase"] == "Pending"


def test_a_missing_priority_class_is_named(bench: Any) -> None:
    """Admission refuses the pod and leaves no trace but an event: its text is in TrainerReady."""
    bench.apply(with_change(DURABLE, "spec.trainer", {"priorityClassName": "no-such-class"}))
    bench.until(lambda: bench.condition("TrainerReady") == ("False", "PodsNotCreated"), "PodsNotCreated")
    condition = next(c for c in bench.search()["status"]["conditions"] if c["type"] == "TrainerReady")

    assert "no-such-class" in condition["message"]


def test_two_operators_at_once_bring_a_search_to_its_end_once(bench: Any, second_operator: Any, trainer: Any) -> None:
    """Both read the trainer and both see its termination message: one Job, attempt 1, and one event about the result."""
    bench.apply(DURABLE)
    pod = bench.pod()
    bench.report_progress(trainer, pod)
    bench.succeed(pod)
    status = bench.search()["status"]
    bench.until(lambda: "ResultStored" in [event["reason"] for event in bench.objects("events")], "there is an event about the end")

    assert (status["attempt"], status["result"]["scores"]["test"]) == (1, "0.93")
    assert len(bench.objects("jobs")) == 1
    assert [event["count"] for event in bench.objects("events") if event["reason"] == "ResultStored"] == [1]
    assert second_operator.page("/healthz") == "ok\n"


def test_two_operators_at_once_make_one_job_each(bench: Any, second_operator: Any) -> None:
    """Twenty searches under two operators: twenty Jobs, each attempt 1."""
    for number in range(20):
        bench.apply(with_change(DURABLE, "metadata.name", f"s{number}"))
    bench.until(lambda: len(bench.objects("jobs")) == 20, "a Job each")
    bench.until(lambda: all(s.get("status", {}).get("attempt") == 1 for s in bench.objects("ahs")), "attempts are noted")

    assert len(bench.objects("jobs")) == len(bench.objects("ahs")) == 20
    assert second_operator.page("/healthz") == "ok\n"


@pytest.fixture(name="second_operator")
def _second_operator(operator_kubeconfig: Path, tmp_path: Path, operator_process: Any) -> Any:
    operator = operator_process(operator_kubeconfig, tmp_path / "second.log")
    operator.start()
    yield operator
    operator.kill()

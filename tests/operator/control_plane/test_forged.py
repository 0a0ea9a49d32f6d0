"""Attacks on a search by people of its namespace, on a real API server with a real Job controller."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from autohas_operator.testing.builders import DURABLE, interrupted_text, result_text
from testcluster.commands import CommandFailedError

pytestmark = pytest.mark.control_plane
EDITOR = "--as=editor"
FORGER = "--as=forger"


def grant(bench: Any) -> None:
    """One user may only create and get pods, another has the role edit, each in the search's namespace."""
    bench.kubectl("create", "role", "pods", "--verb=create,get", "--resource=pods")
    bench.kubectl("create", "rolebinding", "forger", "--role=pods", "--user=forger")
    bench.kubectl("create", "rolebinding", "editor", "--clusterrole=edit", "--user=editor")


def refusal(bench: Any, *arguments: str, document: Any = None) -> str:
    """What the API server says; empty when it does what is asked."""
    try:
        bench.kubectl(*arguments, input=None if document is None else json.dumps(document))
    except CommandFailedError as error:
        return str(error)
    return ""


def copy_as(document: dict[str, Any], name: str, kind: str) -> dict[str, Any]:
    """A new object with another's labels, annotations, owners, finalizers and spec."""
    metadata = document["metadata"]
    kept = {key: metadata[key] for key in ("labels", "annotations", "ownerReferences", "finalizers") if key in metadata}
    spec = {key: value for key, value in document["spec"].items() if key not in ("nodeName", "selector")}
    version = "v1" if kind == "Pod" else "batch/v1"
    return copy.deepcopy({"apiVersion": version, "kind": kind, "metadata": {**kept, "name": name}, "spec": spec})


def with_image(document: dict[str, Any], image: str) -> dict[str, Any]:
    spec = document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
    spec["containers"][0]["image"] = image
    return document


def events(bench: Any, reason: str) -> list[str]:
    return [event["message"] for event in bench.objects("events") if event["reason"] == reason]


def test_only_the_job_controller_makes_pods_of_a_search(bench: Any, trainer: Any) -> None:
    """Labels, owner references and the Job's name are refused to people who may create or change pods; other pods are theirs."""
    grant(bench)
    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    forged = copy_as(pod, "forged", "Pod")
    unlabelled = {**forged, "metadata": {**forged["metadata"], "labels": {"job-name": "of-mine"}}}
    unowned = {**forged, "metadata": {"name": "forged", "labels": {"autohas.dev/uid": "x"}}}
    named = {**forged, "metadata": {"name": "forged", "labels": {"batch.kubernetes.io/job-name": pod["metadata"]["labels"]["job-name"]}}}
    honest = {**forged, "metadata": {"name": "honest", "labels": {"app": "x"}}}
    claims = [refusal(bench, FORGER, "create", "-f", "-", document=document) for document in (forged, unlabelled, unowned, named)]

    assert refusal(bench, FORGER, "create", "-f", "-", document=honest) == ""
    refused = f"only the Job controller makes the pods of AutoHAS searches; forger may not update jobs/status in {bench.namespace}"
    assert all(refused in message for message in claims)
    assert "and this pod claims autohas.dev/search=fashion, autohas.dev/uid=" in claims[0]
    assert f"and this pod claims owner {pod['metadata']['ownerReferences'][0]['name']} " in claims[1]
    owner = json.dumps({"metadata": {"ownerReferences": pod["metadata"]["ownerReferences"]}})
    assert "this pod claims owner" in refusal(bench, EDITOR, "patch", "pod", "honest", "--type=merge", "-p", owner)
    assert "this pod claims autohas.dev/uid=x" in refusal(bench, EDITOR, "label", "pod", "honest", "autohas.dev/uid=x")
    assert refusal(bench, EDITOR, "annotate", "pod", pod["metadata"]["name"], "note=mine") == ""
    assert refusal(bench, EDITOR, "label", "pod", "honest", "team=mine") == ""


def test_no_pod_asks_a_job_to_adopt_it(bench: Any, trainer: Any) -> None:
    """The Job controller adopts a pod by its controller-uid label alone, and counts its end; people may not make or label such a pod.

    The pods of a Job that goes without them keep that label: the garbage collector may take their owner away.
    """
    grant(bench)
    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    uid = pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"]
    asking = with_image(copy_as(pod, "asking", "Pod"), "evil:1")
    asking["metadata"] = {
        "name": "asking",
        "labels": {"batch.kubernetes.io/controller-uid": uid},
        "finalizers": ["batch.kubernetes.io/job-tracking"],
    }
    message = refusal(bench, FORGER, "create", "-f", "-", document=asking)
    honest = {**asking, "metadata": {"name": "honest"}}

    assert f"and this pod claims batch.kubernetes.io/controller-uid={uid} (that Job would adopt it)" in message
    assert refusal(bench, FORGER, "create", "-f", "-", document=honest) == ""
    label = ("label", "pod", "honest", f"batch.kubernetes.io/controller-uid={uid}")
    assert "(that Job would adopt it)" in refusal(bench, EDITOR, *label)
    own = with_image(copy_as(bench.objects("jobs")[0], "own", "Job"), "mine:1")
    own["metadata"] = {"name": "own"}
    own["spec"]["template"]["metadata"] = {}
    assert refusal(bench, EDITOR, "create", "-f", "-", document=own) == ""

    def of_custom() -> list[dict[str, Any]]:
        return [item for item in bench.objects("pods") if item["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name") == "own"]

    bench.until(of_custom, "the pod of a Job of one's own")
    bench.kubectl("delete", "job", "own", "--cascade=orphan", "--wait=false")
    bench.until(lambda: "ownerReferences" not in of_custom()[0]["metadata"], "the garbage collector has orphaned it")


def test_only_the_operator_writes_its_lease(bench: Any) -> None:
    """The role edit includes Leases: people may write any but the one that would keep the operator away."""
    grant(bench)
    spec = {"holderIdentity": "editor", "leaseDurationSeconds": 3600}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "autohas-operator"}, "spec": spec}
    bench.apply(DURABLE)
    bench.pod()
    bench.until(lambda: bench.objects("leases"), "the operator's Lease")
    words = f"only an AutoHAS operator writes the Lease autohas-operator; editor may not update autohassearches/status in {bench.namespace}"
    patch = ("patch", "lease", "autohas-operator", "--type=merge", "-p", json.dumps({"spec": spec}))

    assert refusal(bench, EDITOR, "create", "-f", "-", document={**lease, "metadata": {"name": "mine"}}) == ""
    assert words in refusal(bench, EDITOR, *patch)
    assert refusal(bench, "annotate", "lease", "autohas-operator", "note=mine") == ""
    assert refusal(bench, EDITOR, "delete", "lease", "autohas-operator") == ""
    assert words in refusal(bench, EDITOR, "create", "-f", "-", document=lease)


def test_only_the_operator_makes_jobs_of_a_search(bench: Any) -> None:
    """Attempt 60 with another image, and the ConfigMap of the next attempt, are refused to the role edit; a Job of one's own is not."""
    grant(bench)
    bench.apply(DURABLE)
    bench.pod()
    (job,) = bench.objects("jobs")
    stem = job["metadata"]["name"].rpartition("-")[0]
    foreign = with_image(copy_as(job, f"{stem}-60", "Job"), "evil:1")
    foreign["metadata"]["labels"]["autohas.dev/attempt"] = "60"
    foreign["spec"]["template"]["metadata"] = {}
    own = {**copy.deepcopy(foreign), "metadata": {"name": "mine"}}
    search = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{stem}-2"}, "data": {"search.json": "{}"}}
    message = refusal(bench, EDITOR, "create", "-f", "-", document=foreign)

    assert "only the AutoHAS operator makes the Jobs and ConfigMaps of searches; editor may not update autohassearches/status in" in message
    uid = bench.search()["metadata"]["uid"]
    assert f"claims autohas.dev/search=fashion, autohas.dev/uid={uid}, autohas.dev/attempt=60, owner fashion {uid}" in message
    assert refusal(bench, EDITOR, "create", "-f", "-", document=own) == ""
    assert "this object claims search.json" in refusal(bench, EDITOR, "create", "-f", "-", document=search)
    relabel = ("label", "--overwrite", "job", job["metadata"]["name"], "autohas.dev/attempt=60")
    assert "claims autohas.dev/attempt=60" in refusal(bench, EDITOR, *relabel)
    assert refusal(bench, EDITOR, "annotate", "job", job["metadata"]["name"], "note=mine") == ""


def test_a_forged_result_is_ignored_where_no_policy_protects_the_search(bench: Any, trainer: Any) -> None:
    """An administrator forges it between two pods: the Job controller ends the Job for it; a new attempt brings the real result."""
    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    bench.end(pod, 75, interrupted_text(bench.search(), pod_uid=pod["metadata"]["uid"]))
    bench.kubectl("create", "-f", "-", input=json.dumps(with_image(copy_as(pod, "forged", "Pod"), "evil:1")))
    found = next(item for item in bench.objects("pods") if item["metadata"]["name"] == "forged")
    bench.end(bench.bind(found), 0, result_text(bench.search(), pod_uid=found["metadata"]["uid"], test_score=0.999))
    bench.until(lambda: events(bench, "PodIgnored"), "the warning")
    messages = events(bench, "PodIgnored")
    bench.until(lambda: bench.search()["status"].get("attempt") == 2, "the next attempt")
    following = bench.pod()
    bench.report_progress(trainer, following, starts=2, interruptions=1)
    bench.succeed(following)

    assert messages == ['pod forged claims to be a trainer, but its image is "evil:1", not "trainer:test": the operator ignores it']
    assert bench.search()["status"]["result"]["scores"]["test"] == "0.93"


def test_a_foreign_job_is_deleted_where_no_policy_protects_the_search(bench: Any, trainer: Any) -> None:
    """An administrator makes it: the search stays at attempt 1 with its own image, and the Job goes with its pod."""
    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    (job,) = bench.objects("jobs")
    foreign = with_image(copy_as(job, job["metadata"]["name"].rpartition("-")[0] + "-60", "Job"), "evil:1")
    foreign["metadata"]["labels"]["autohas.dev/attempt"] = "60"
    labels = {key: value for key, value in foreign["spec"]["template"]["metadata"]["labels"].items() if key.startswith("autohas.dev/")}
    foreign["spec"]["template"]["metadata"] = {"labels": labels}
    bench.kubectl("create", "-f", "-", input=json.dumps(foreign))
    bench.until(lambda: events(bench, "JobIgnored"), "the warning")
    bench.until(lambda: len(bench.objects("jobs")) == 1, "the foreign Job is gone")
    status = bench.search()["status"]

    difference = f"Job {foreign['metadata']['name']} claims to be attempt 60, but this operator did not create it"
    assert events(bench, "JobIgnored") == [f"{difference}: the operator ignores and deletes it"]
    assert (status["attempt"], status["jobUid"], status["trainer"]["image"]) == (1, job["metadata"]["uid"], "trainer:test")
    bench.succeed(pod)


def _drop_the_start(status: dict[str, Any]) -> None:
    for name in ("jobUid", "attempt", "trainer", "startTime"):
        status.pop(name)


UPGRADES: dict[str, Callable[[dict[str, Any]], None]] = {
    "no uid": lambda status: status.pop("jobUid"),
    "no attempt": _drop_the_start,
}


@pytest.mark.parametrize("forget", UPGRADES.values(), ids=UPGRADES)
def test_a_running_search_is_found_again_by_an_operator_that_noted_nothing(
    bench: Any, trainer: Any, forget: Callable[[dict[str, Any]], None]
) -> None:
    """As an older operator left it, or one that was killed between making the Job and noting it: the same Job runs on to its result."""
    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    (job,) = bench.objects("jobs")
    bench.operator.kill()
    document = bench.search()
    forget(document["status"])
    bench.kubectl("replace", "--subresource=status", "-f", "-", input=json.dumps(document))
    bench.operator.start()
    bench.until(lambda: bench.search()["status"].get("jobUid") == job["metadata"]["uid"], "the Job is noted")

    assert [item["metadata"]["uid"] for item in bench.objects("jobs")] == [job["metadata"]["uid"]]
    assert events(bench, "JobIgnored") == events(bench, "PodIgnored") == []
    bench.succeed(pod)


@pytest.mark.parametrize(("phase", "words"), [("Rejected", ""), ("Running", "image must not change while the search runs")])
def test_the_image_of_a_rejected_search_may_be_edited(bench: Any, phase: str, words: str) -> None:
    """A begun search that the platform refuses has no Job: the API server admits the edit that leads out, and no other time."""
    bench.apply(DURABLE)
    bench.pod()
    bench.operator.kill()
    status = json.dumps({"status": {"phase": phase}})
    bench.kubectl("patch", "ahs", "fashion", "--subresource=status", "--type=merge", "-p", status)
    message = refusal(bench, "patch", "ahs", "fashion", "--type=merge", "-p", '{"spec": {"trainer": {"image": "mine:2"}}}')

    assert words in message
    assert bool(words) is bool(message)

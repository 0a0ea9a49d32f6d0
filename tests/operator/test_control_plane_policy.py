"""The chart's ValidatingAdmissionPolicy on a real API server: the operator's account can do its work and nothing beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autohas_api.testing import changed
from autohas_operator.testing.builders import DURABLE
from testcluster.commands import CommandFailedError

pytestmark = pytest.mark.control_plane


def account(bench: Any) -> str:
    return f"--as=system:serviceaccount:{bench.namespace}-operator:autohas-operator"


def refusal(bench: Any, *arguments: str, document: Any = None) -> str:
    """What the API server says to the operator's account; empty when it would let it."""
    text = None if document is None else json.dumps(document)
    try:
        bench.kubectl(*arguments, "--dry-run=server", account(bench), input=text)
    except CommandFailedError as error:
        return str(error)
    return ""


def under(job: dict[str, Any], attempt: int) -> dict[str, Any]:
    """The same Job under the name of another attempt."""
    labels = {**job["metadata"]["labels"], "autohas.dev/attempt": str(attempt)}
    name = f"{job['metadata']['name'].rpartition('-')[0]}-{attempt}"
    metadata = {"name": name, "labels": labels, "ownerReferences": job["metadata"]["ownerReferences"]}
    spec = {key: value for key, value in job["spec"].items() if key != "selector"}
    return changed(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}, "spec.template.metadata", {"labels": labels}
    )


@pytest.mark.parametrize("bench", ["guarded"], indirect=True)
def test_the_operator_is_held_to_the_children_of_searches(bench: Any, trainer: Any) -> None:
    """A foreign ConfigMap or Job is neither made nor deleted by it, nor a Job with a token; a whole life with a suspension goes on."""
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}, "data": {"a": "b"}}
    bench.kubectl("create", "-f", "-", input=json.dumps(foreign))
    bench.until(lambda: "an AutoHASSearch controls" in refusal(bench, "delete", "configmap", "foreign"), "the policy is at work")

    def checked() -> dict[str, Any] | None:
        policy = bench.cluster.kubectl.json("get", "validatingadmissionpolicy", f"autohas-operator.{bench.namespace}-operator")
        found: dict[str, Any] | None = policy.get("status", {}).get("typeChecking")
        return found

    assert bench.until(lambda: checked() is not None, "the policy's types are checked")
    assert (checked() or {}).get("expressionWarnings", []) == []

    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.reported(trainer, pod)
    (job,) = bench.objects("jobs")
    own = under(job, 7)
    nobodys = {**own, "metadata": {**own["metadata"], "ownerReferences": []}}
    misnamed = {**own, "metadata": {**own["metadata"], "name": "fashion"}}
    with_token = changed(own, "spec.template.spec.automountServiceAccountToken", value=True)
    with_account = changed(own, "spec.template.spec.serviceAccountName", "default")
    create = ("create", "-f", "-")

    assert refusal(bench, *create, document=own) == ""
    assert "an AutoHASSearch controls" in refusal(bench, *create, document={**foreign, "metadata": {"name": "another"}})
    assert "an AutoHASSearch controls" in refusal(bench, *create, document=nobodys)
    assert "an AutoHASSearch controls" in refusal(bench, *create, document=misnamed)
    assert "automountServiceAccountToken false" in refusal(bench, *create, document=with_token)
    assert "trainer.serviceAccounts: none" in refusal(bench, *create, document=with_account)
    assert refusal(bench, "annotate", "job", job["metadata"]["name"], "autohas.dev/touched-at=now") == ""
    assert "an AutoHASSearch controls" in refusal(bench, "label", "--overwrite", "job", job["metadata"]["name"], "autohas.dev/uid=other")

    bench.kubectl("patch", "ahs", "fashion", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    bench.until_phase("Suspending")
    bench.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
    bench.until_phase("Suspended")
    bench.kubectl("patch", "ahs", "fashion", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    following = bench.pod()
    bench.reported(trainer, following, starts=2, interruptions=1)
    bench.succeeded(following)
    assert bench.search()["status"]["attempt"] == 2

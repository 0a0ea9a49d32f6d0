"""The chart's ValidatingAdmissionPolicy on a real API server: the operator's account can do its work and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
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
    return with_change(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}, "spec.template.metadata", {"labels": labels}
    )


HOST = "must not use hostNetwork, hostPID, hostIPC or shareProcessNamespace"
FREED = "must not be privileged, run as root, or be freed of seccomp"
UNSET = "must set runAsNonRoot and a seccompProfile, forbid privilege escalation and drop all capabilities"
VOLUMES = "may have only these kinds of volumes: configMap, csi, emptyDir, ephemeral, image, persistentVolumeClaim, projected, secret"
TOKEN = {"name": "x", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
INIT = {"name": "x", "image": "x", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
PRIVILEGED = {"privileged": True, "capabilities": {"drop": ["ALL"]}}
LOOSENED: tuple[tuple[str, Any, str], ...] = (
    ("pod.automountServiceAccountToken", True, "automountServiceAccountToken false"),
    ("pod.serviceAccountName", "default", "trainer.serviceAccounts: none"),
    ("pod.priorityClassName", "system-node-critical", "must not have a priorityClassName that begins with system-"),
    ("pod.priorityClassName", "urgent", "may name only what is in trainer.priorityClasses as their priorityClassName: research"),
    ("pod.hostPID", True, HOST),
    ("pod.hostIPC", True, HOST),
    ("pod.hostNetwork", True, HOST),
    ("pod.shareProcessNamespace", True, HOST),
    ("pod.initContainers", [{"name": "x", "image": "x"}], UNSET),
    ("pod.initContainers", [{**INIT, "securityContext": PRIVILEGED}], FREED),
    ("pod.volumes+", {"name": "x", "hostPath": {"path": "/"}}, VOLUMES),
    ("pod.volumes+", {"name": "x", "nfs": {"server": "files", "path": "/"}}, VOLUMES),
    ("pod.volumes+", {"name": "x", "csi": {"driver": "nfs.csi.k8s.io"}}, "of the CSI drivers of trainer.csiDrivers: none"),
    ("pod.volumes+", TOKEN, "must not mount a token of a service account"),
    ("pod.securityContext.runAsNonRoot", False, FREED),
    ("pod.securityContext.runAsNonRoot", None, UNSET),
    ("pod.securityContext.seccompProfile", {"type": "Unconfined"}, FREED),
    ("pod.securityContext.seccompProfile", None, UNSET),
    ("pod.securityContext.appArmorProfile", {"type": "Unconfined"}, FREED),
    ("pod.securityContext.seLinuxOptions", {"type": "spc_t"}, FREED),
    ("pod.securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}], FREED),
    ("pod.securityContext.runAsUser", 0, FREED),
    ("container.securityContext", None, UNSET),
    ("container.securityContext", PRIVILEGED, FREED),
    ("container.securityContext.allowPrivilegeEscalation", None, UNSET),
    ("container.securityContext.capabilities", None, UNSET),
    ("container.securityContext.capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, UNSET),
    ("container.securityContext.seccompProfile", {"type": "Unconfined"}, FREED),
    ("container.securityContext.procMount", "Unmasked", FREED),
    ("container.securityContext.runAsUser", 0, FREED),
    ("container.ports", [{"containerPort": 9464, "hostPort": 9464, "name": "metrics"}], "must not use ports of the host"),
    ("container.livenessProbe.httpGet.host", "169.254.169.254", "nor probe another host"),
    ("annotations", {"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}, FREED),
)
"""A part of the Job's pods, what the operator's account would make of it (None: it leaves it out), and the policy's words."""


def loosen(job: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The Job with one part of its pods replaced, or with an item added to a list."""
    copy = json.loads(json.dumps(job))
    template = copy["spec"]["template"]
    root, _, rest = path.removesuffix("+").partition(".")
    if root == "annotations":
        template["metadata"]["annotations"] = value
        return with_change(copy, "spec.template", template)
    place = template["spec"] if root == "pod" else template["spec"]["containers"][0]
    *parents, name = rest.split(".")
    for parent in parents:
        place = place[parent]
    place[name] = [*place[name], value] if path.endswith("+") else value
    if name == "procMount":
        template["spec"]["hostUsers"] = False  # without it the API server itself refuses
    if name == "hostNetwork":
        template["spec"]["containers"][0]["ports"] = []
    if value is None:
        del place[name]
    return copy


@pytest.mark.parametrize("bench", ["guarded"], indirect=True)
def test_the_operator_is_held_to_the_children_of_searches(bench: Any, trainer: Any) -> None:
    """The account can neither create nor delete foreign ConfigMaps and Jobs, nor create unrestricted Jobs; a suspended search continues."""
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}, "data": {"a": "b"}}
    bench.kubectl("create", "-f", "-", input=json.dumps(foreign))
    bench.until(lambda: "an AutoHASSearch controls" in refusal(bench, "delete", "configmap", "foreign"), "the policy is at work")

    def read_type_check(suffix: str) -> dict[str, Any] | None:
        policy = bench.cluster.kubectl.json("get", "validatingadmissionpolicy", f"autohas-operator.{bench.namespace}-operator{suffix}")
        found: dict[str, Any] | None = policy.get("status", {}).get("typeChecking")
        return found

    for suffix in ("", ".children", ".leases", ".pods"):
        assert bench.until(lambda suffix=suffix: read_type_check(suffix) is not None, "the policy's types are checked")
        assert (read_type_check(suffix) or {}).get("expressionWarnings", []) == []

    bench.apply(DURABLE)
    pod = bench.bind(bench.pod())
    bench.report_progress(trainer, pod)
    (job,) = bench.objects("jobs")
    own = under(job, 7)
    nobodys = {**own, "metadata": {**own["metadata"], "ownerReferences": []}}
    misnamed = {**own, "metadata": {**own["metadata"], "name": "fashion"}}
    create = ("create", "-f", "-")

    assert refusal(bench, *create, document=own) == ""
    assert "an AutoHASSearch controls" in refusal(bench, *create, document={**foreign, "metadata": {"name": "another"}})
    assert "an AutoHASSearch controls" in refusal(bench, *create, document=nobodys)
    assert "an AutoHASSearch controls" in refusal(bench, *create, document=misnamed)
    answers = [(path, words, refusal(bench, *create, document=loosen(own, path, value))) for path, value, words in LOOSENED]
    assert [(path, text) for path, words, text in answers if words not in text] == []
    assert refusal(bench, "annotate", "job", job["metadata"]["name"], "autohas.dev/touched-at=now") == ""
    assert "an AutoHASSearch controls" in refusal(bench, "label", "--overwrite", "job", job["metadata"]["name"], "autohas.dev/uid=other")

    bench.kubectl("patch", "ahs", "fashion", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    bench.until_phase("Suspending")
    bench.kubectl("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
    bench.until_phase("Suspended")
    bench.kubectl("patch", "ahs", "fashion", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    following = bench.pod()
    bench.report_progress(trainer, following, starts=2, interruptions=1)
    bench.succeed(following)
    assert bench.search()["status"]["attempt"] == 2

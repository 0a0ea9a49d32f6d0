"""Pods and Jobs that claim to be a search's: a user who may create them can copy labels, owner references, finalizers and hashes."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from autohas_api.base.names import ANNOTATION_SPEC_HASH
from autohas_api.testing.rejections import with_change
from autohas_api.wire.status import ConditionType, Phase, Status
from autohas_operator.client import CONFIG_MAPS, EVENTS, JOBS, PODS
from autohas_operator.cluster.cache import Cache
from autohas_operator.decide.actions import CreateAttempt, DeleteJob
from autohas_operator.decide.conditions import verdict_of
from autohas_operator.decide.plan import plan
from autohas_operator.errors import ForbiddenError
from autohas_operator.records.observed import Key, Report
from autohas_operator.testing.builders import (
    NOW_S,
    condition,
    ended_pod,
    error_text,
    observe,
    progress,
    result_text,
    running_pod,
    stored_job,
    stored_search,
)
from autohas_operator.testing.builders import (
    PODS as SETTINGS,
)
from autohas_operator.testing.decisions import CREATED, JOB, POD, RUNNING, SEARCH, decide, verdict
from autohas_operator.testing.fake_cluster import FakeCluster, Refusal
from autohas_operator.testing.scenarios import run, start, succeed
from autohas_operator.testing.trainer_fields import EVERY_TRAINER_FIELD

FORGED_RESULT = result_text(SEARCH, pod_uid="forged", test_score=0.999)


def pod_spec(**parts: Any) -> dict[str, Any]:
    """The spec of the Job's pods with parts replaced."""
    return {**copy.deepcopy(JOB["spec"]["template"]["spec"]), **parts}


def with_trainer(**parts: Any) -> dict[str, Any]:
    """The same with parts of the trainer container replaced."""
    (container,) = pod_spec()["containers"]
    return pod_spec(containers=[{**container, **parts}])


def add_fields(name: str, *items: Any) -> dict[str, Any]:
    """The same with items appended to a list of the trainer container."""
    (container,) = pod_spec()["containers"]
    return with_trainer(**{name: [*container[name], *items]})


def with_mount(path: str, volume: dict[str, Any]) -> dict[str, Any]:
    """The same with one more volume, mounted in the trainer container."""
    spec = add_fields("volumeMounts", {"name": volume["name"], "mountPath": path})
    return {**spec, "volumes": [*spec["volumes"], volume]}


def with_container(container: dict[str, Any], kind: str = "containers") -> dict[str, Any]:
    """The same with a further container."""
    spec = pod_spec()
    return {**spec, kind: [*spec.get(kind, []), container]}


def replace_item(items: list[Any], index: int, item: Any) -> list[Any]:
    return [*items[:index], item, *items[index + 1 :]]


TOKEN = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 86400}}]}}
USUAL_TOKEN = {
    "name": "kube-api-access-x2x7z",
    "projected": {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ],
    },
}
PROXY = {"name": "istio-proxy", "image": "istio/proxyv2:1.27", "volumeMounts": [{"name": "istio-envoy", "mountPath": "/etc/istio/proxy"}]}
(TRAINER,) = pod_spec()["containers"]
ADDED_BY_WEBHOOKS: dict[str, dict[str, Any]] = {
    "nothing": pod_spec(),
    "a mesh's sidecar and init container": {
        **with_container(PROXY),
        "initContainers": [
            {"name": "istio-init", "image": "istio/proxyv2:1.27", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}
        ],
        "volumes": [*pod_spec()["volumes"], {"name": "istio-envoy", "emptyDir": {}}],
    },
    "a mesh's probes": with_trainer(startupProbe={"httpGet": {"path": "/app-health/trainer/startupz", "port": 15020}}),
    "variables": add_fields(
        "env", {"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::1:role/x"}, {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    ),
    "a cloud identity": {
        **with_mount("/var/run/secrets/eks.amazonaws.com/serviceaccount", TOKEN),
    },
    "the usual token": with_mount("/var/run/secrets/kubernetes.io/serviceaccount", USUAL_TOKEN),
    "placement": pod_spec(
        nodeSelector={"flavor": "spot"}, tolerations=[{"operator": "Exists"}], schedulerName="x", priority=7, nodeName="n"
    ),
    "pull secrets and account": pod_spec(imagePullSecrets=[{"name": "mirror"}], serviceAccountName="default"),
    "resources": with_trainer(resources={"requests": {"cpu": "100m"}}, imagePullPolicy="Always"),
    "identities (OpenShift)": pod_spec(securityContext={"runAsUser": 1000650000, "fsGroup": 1000650000}),
    "defaults of the API server": {
        **with_trainer(livenessProbe={**TRAINER["livenessProbe"], "successThreshold": 1}),
        "volumes": replace_item(pod_spec()["volumes"], 0, with_change(pod_spec()["volumes"][0], "configMap.defaultMode", 420)),
        "dnsPolicy": "ClusterFirst",
    },
}


@pytest.mark.parametrize("spec", ADDED_BY_WEBHOOKS.values(), ids=ADDED_BY_WEBHOOKS)
def test_what_webhooks_add_does_not_cost_a_pod_its_word(spec: dict[str, Any]) -> None:
    """The pod's result becomes that of the search, without a warning."""
    pod = {**ended_pod(JOB, code=0, message=result_text(SEARCH)), "spec": spec}
    decided = decide(observe(SEARCH, JOB, pod), CREATED)

    assert decided.warnings == {}
    assert decided.status.phase is Phase.SUCCEEDED


OTHER_CONFIG = replace_item(pod_spec()["volumes"], 0, {"name": "autohas-config", "configMap": {"name": "mine"}})
CODE = {"name": "code", "configMap": {"name": "code"}}
POST_START = {"postStart": {"exec": {"command": ["sh", "-c", "echo {} >/dev/termination-log"]}}}
FORGERIES: dict[str, tuple[dict[str, Any], str]] = {
    "image": (with_trainer(image="evil:1"), 'its image is "evil:1", not "trainer:1"'),
    "no trainer": (pod_spec(containers=[{**TRAINER, "name": "other"}]), 'its image is "", not "trainer:1"'),
    "command": (with_trainer(command=["sh"]), "command differs from its Job's"),
    "args": (with_trainer(args=["--help"]), "args differs from its Job's"),
    "working folder": (with_trainer(workingDir="/scratch"), "workingDir differs from its Job's"),
    "hook": (with_trainer(lifecycle=POST_START), "lifecycle differs from its Job's"),
    "probe that runs a command": (with_trainer(startupProbe={"exec": {"command": ["sh"]}}), "startupProbe.exec differs from its Job's"),
    "message from elsewhere": (
        with_trainer(terminationMessagePath="/etc/autohas/search.json"),
        "terminationMessagePath differs from its Job's",
    ),
    "variables from a Secret": (with_trainer(envFrom=[{"secretRef": {"name": "x"}}]), "envFrom differs from its Job's"),
    "another value": (
        with_trainer(env=replace_item(TRAINER["env"], 0, {"name": "AUTOHAS_SEARCH_FILE", "value": "/tmp/x"})),
        "variable AUTOHAS_SEARCH_FILE differs from its Job's",
    ),
    "the last of two values": (add_fields("env", {"name": "AUTOHAS_GPU", "value": "x"}), "variable AUTOHAS_GPU differs from its Job's"),
    "no value": (with_trainer(env=TRAINER["env"][1:]), "variable AUTOHAS_SEARCH_FILE differs from its Job's"),
    "preloaded code": (
        add_fields("env", {"name": "LD_PRELOAD", "value": "x"}),
        "it has the variable LD_PRELOAD, which its Job does not have",
    ),
    "a browser that Python starts": (
        add_fields("env", {"name": "PYTHONWARNINGS", "value": "all:0:antigravity.x:0:0"}),
        "it has the variable PYTHONWARNINGS, which its Job does not have",
    ),
    "another search": (pod_spec(volumes=OTHER_CONFIG), "volume autohas-config differs from its Job's"),
    "other checkpoints": (
        pod_spec(volumes=replace_item(pod_spec()["volumes"], 1, {"name": "autohas-checkpoint", "emptyDir": {}})),
        "volume autohas-checkpoint differs from its Job's",
    ),
    "moved mount": (
        with_trainer(volumeMounts=replace_item(TRAINER["volumeMounts"], 0, {"name": "autohas-config", "mountPath": "/x"})),
        "mount /etc/autohas differs from its Job's",
    ),
    "code over code": (with_mount("/opt/autohas", CODE), "it mounts /opt/autohas, which its Job does not"),
    "code among tokens": (with_mount("/var/run/secrets/x", CODE), "it mounts /var/run/secrets/x, which its Job does not"),
    "a path that climbs": (
        with_mount("/var/run/secrets/../../../opt/autohas", TOKEN),
        "it mounts /var/run/secrets/../../../opt/autohas, which its Job does not",
    ),
    "a sidecar in its files": (
        with_container({"name": "x", "volumeMounts": [{"name": "autohas-checkpoint", "mountPath": "/x"}]}, "initContainers"),
        "another of its containers mounts autohas-checkpoint",
    ),
    "shared processes": (pod_spec(shareProcessNamespace=True), "shareProcessNamespace differs from its Job's"),
    "the node's processes": (pod_spec(hostPID=True), "hostPID differs from its Job's"),
}


@pytest.mark.parametrize(("spec", "difference"), FORGERIES.values(), ids=FORGERIES)
def test_a_pod_that_its_job_does_not_describe_counts_for_nothing(spec: dict[str, Any], difference: str) -> None:
    """Its result is not taken, no Job is deleted, and the warning says in what it differs; the Job's own pod speaks for the search."""
    forged = {**ended_pod(JOB, code=0, message=FORGED_RESULT, uid="forged", created_s=NOW_S + 1), "spec": spec}
    decided = decide(observe(SEARCH, JOB, POD, forged), RUNNING)

    assert (decided.status.phase, decided.action, decided.status.result) == (Phase.RUNNING, None, None)
    assert [(warning.type, warning.reason) for warning in decided.warnings.values()] == [("Warning", "PodIgnored")]
    assert decided.warnings["forged"].message.endswith(f"claims to be a trainer, but {difference}: the operator ignores it")


FETCHING = stored_search(
    trainer={
        "volumes": [{"name": "data", "emptyDir": {}}],
        "initContainers": [{"name": "fetch", "command": ["fetch"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
)
FETCHING_JOB = stored_job(FETCHING)
(FETCH,) = FETCHING_JOB["spec"]["template"]["spec"]["initContainers"]
ANOTHER = {"name": "another", "image": "x", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}


@pytest.mark.parametrize(
    ("init_containers", "difference"),
    [
        ([], "it has no init container fetch"),
        ([{**FETCH, "image": "evil:1"}], 'in init container fetch, its image is "evil:1", not "trainer:1"'),
        ([{**FETCH, "command": ["forge"]}], "in init container fetch, command differs from its Job's"),
        ([{**FETCH, "restartPolicy": "Always"}], "in init container fetch, restartPolicy differs from its Job's"),
        ([{**FETCH, "env": FETCH["env"][1:]}], "in init container fetch, variable HOME differs from its Job's"),
        (
            [{**FETCH, "env": [*FETCH["env"], {"name": "LD_PRELOAD", "value": "x"}]}],
            "in init container fetch, it has the variable LD_PRELOAD, which its Job does not have",
        ),
        (
            [{**FETCH, "volumeMounts": [*FETCH["volumeMounts"], {"name": "data", "mountPath": "/opt/code"}]}],
            "in init container fetch, it mounts /opt/code, which its Job does not",
        ),
        ([FETCH, ANOTHER], "another of its containers mounts data"),
    ],
)
def test_a_pod_whose_data_another_container_writes_counts_for_nothing(init_containers: list[dict[str, Any]], difference: str) -> None:
    """An init container brings what the trainer reads: it is compared as the trainer is, and no other may write to the same volume."""
    forged = with_change(ended_pod(FETCHING_JOB, code=0, message=result_text(FETCHING)), "spec.initContainers", init_containers)
    decided = decide(observe(FETCHING, FETCHING_JOB, forged), CREATED)

    assert decided.status.result is None
    assert decided.warnings["pod-1"].message.endswith(f"claims to be a trainer, but {difference}: the operator ignores it")


def test_an_init_container_of_a_webhook_does_not_cost_a_pod_its_word() -> None:
    """Next to that of the Job, on a volume of its own."""
    mesh = {"name": "istio-init", "image": "istio/proxyv2:1.27", "volumeMounts": [{"name": "envoy", "mountPath": "/etc/envoy"}]}
    pod = with_change(ended_pod(FETCHING_JOB, code=0, message=result_text(FETCHING)), "spec.initContainers", [mesh, FETCH])
    decided = decide(observe(FETCHING, FETCHING_JOB, pod), CREATED)

    assert (decided.warnings, decided.status.phase) == ({}, Phase.SUCCEEDED)


def test_every_wish_of_a_search_is_part_of_what_its_pods_are_compared_with() -> None:
    """A pod as the Job controller makes it counts, whatever its search asks for; taking away any mount or variable makes it another."""
    search = stored_search(trainer=EVERY_TRAINER_FIELD)
    settings = replace(SETTINGS, service_accounts=("trainer",))
    job = stored_job(search)
    pod = running_pod(job)
    (container,) = pod["spec"]["containers"]
    poorer = [
        with_change(pod, "spec.containers", [{**container, name: replace_item(container[name], index, {"name": "X", "mountPath": "/x"})}])
        for name in ("env", "envFrom", "volumeMounts")
        for index in range(len(container[name]))
    ]

    assert plan(observe(search, job, pod), Status(), settings, NOW_S).warnings == {}
    assert len(poorer) > 20
    assert [pod for pod in poorer if not plan(observe(search, job, pod), Status(), settings, NOW_S).warnings] == []


def test_the_platform_says_where_its_webhooks_mount() -> None:
    """Below trainer.injectedMounts the operator accepts any mount of a webhook, elsewhere none."""
    allowing = replace(SETTINGS, injected_mounts=("/etc/ssl/certs",))
    inside, outside = (
        {**ended_pod(JOB, code=0, message=result_text(SEARCH)), "spec": with_mount(path, CODE)}
        for path in ("/etc/ssl/certs", "/etc/ssl/certs-2")
    )

    assert plan(observe(SEARCH, JOB, inside), CREATED, allowing, NOW_S).status.phase is Phase.SUCCEEDED
    assert plan(observe(SEARCH, JOB, outside), CREATED, allowing, NOW_S).status.phase is Phase.STARTING


def test_a_forged_pod_alone_is_named_in_the_condition() -> None:
    """A webhook that names another image in every pod: TrainerReady says which, and what to do."""
    mirrored = {**running_pod(JOB), "spec": with_trainer(image="mirror.example/trainer:1")}
    judgement = verdict_of(decide(observe(SEARCH, JOB, mirrored), CREATED).status, ConditionType.TRAINER_READY)

    assert judgement is not None
    assert (judgement.status, judgement.reason) == ("False", "PodIgnored")
    assert 'its image is "mirror.example/trainer:1", not "trainer:1"; if a webhook changes it' in judgement.message


FATAL = condition(
    "Failed", "PodFailurePolicy", "Container trainer for pod ml/forged failed with exit code 65 matching FailJob rule at index 0"
)
TOO_MANY = condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
SPOILED = [
    (ended_pod(JOB, code=0, message=FORGED_RESULT, uid="forged"), condition("Complete")),
    (ended_pod(JOB, code=65, message=error_text(SEARCH, "no", code=65, pod_uid="forged"), uid="forged"), FATAL),
    (ended_pod(JOB, code=1, uid="forged"), TOO_MANY),
]


@pytest.mark.parametrize(("pod", "end"), SPOILED, ids=["complete", "fatal", "backoff"])
def test_a_job_that_a_forged_pod_ended_is_replaced(pod: dict[str, Any], end: dict[str, Any]) -> None:
    """The Job controller believes the forgery and stops the real trainer: the next attempt continues from its checkpoint."""
    job = {**JOB, "status": {"conditions": [end]}}
    decided = decide(observe(SEARCH, job, {**pod, "spec": with_trainer(image="evil:1")}), RUNNING)

    assert decided.action == DeleteJob(name=JOB["metadata"]["name"], uid="job-1")
    assert decided.status.phase is Phase.INTERRUPTED
    assert verdict(decided.status, ConditionType.TRAINER_READY) == ("False", "JobReplaced")
    assert verdict(decided.status, ConditionType.FINISHED)[0] == "False"


def test_a_job_that_only_changed_pods_have_ended_is_not_repeated_for_ever() -> None:
    """No trainer of its own has worked: another Job would burn as much again, so the search says what to do and waits."""
    job = {**JOB, "status": {"conditions": [condition("Complete")]}}
    changed_pod = {**ended_pod(JOB, code=0, message=result_text(SEARCH)), "spec": with_trainer(image="mirror.example/trainer:1")}
    decided = decide(observe(SEARCH, job, changed_pod), CREATED)
    judgement = verdict_of(decided.status, ConditionType.TRAINER_READY)

    assert decided.action is None
    assert judgement is not None
    assert judgement.reason == "PodIgnored"
    assert "then delete Job fashion-5ea4c400-1: the next attempt follows" in judgement.message


def test_a_real_failure_beside_a_forged_one_is_the_searchs() -> None:
    """The trainer's own exit code 65 ends the search, whatever else is there."""
    job = {**JOB, "status": {"conditions": [FATAL]}}
    forged = {**ended_pod(JOB, code=65, uid="forged"), "spec": with_trainer(image="evil:1")}
    own = ended_pod(JOB, code=65, message=error_text(SEARCH, "no file labels", code=65))
    status = decide(observe(SEARCH, job, own, forged), RUNNING).status

    assert status.phase is Phase.FAILED
    assert verdict(status, ConditionType.SUCCEEDED) == ("False", "DataError")


def test_a_forged_pod_is_never_asked_for_progress() -> None:
    """The poller skips the pod, and the search does not take its report; nor that of a Job that is not in the status."""
    cache = Cache()
    cache.put_search({**SEARCH, "status": {"jobUid": "job-1"}})
    for job in (JOB, stored_job(SEARCH, 60)):
        cache.put_job(job)
    stray = running_pod(stored_job(SEARCH, 60), uid="stray", created_s=NOW_S + 2)
    forged = {**running_pod(JOB, uid="forged", created_s=NOW_S + 1), "spec": with_trainer(image="evil:1")}
    for pod in (POD, forged, stray):
        cache.put_pod(pod)
    for uid in ("pod-1", "forged", "stray"):
        cache.reports[uid] = Report(pod_uid=uid, time_s=NOW_S, progress=progress(SEARCH, pod_uid=uid))
    seen = cache.observe(Key("ml", "fashion"))

    assert [pod.uid for pod in cache.pods.values() if cache.is_trainer(pod)] == ["pod-1"]
    assert seen is not None
    assert seen.report is not None
    assert seen.report.pod_uid == "pod-1"


def test_a_forger_is_warned_about_once_and_the_search_succeeds() -> None:
    """Twenty forged pods: five events and log lines at once, one more in a minute, and the trainer's own result."""

    async def play() -> FakeCluster:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        for number in range(20):
            pod = ended_pod(cluster.job, code=0, message=FORGED_RESULT, uid=f"forged-{number}")
            cluster.put_pod({**pod, "spec": with_trainer(image="evil:1")})
            await cluster.wait(0.1)
        warned.append(len([line for line in lines if line["event"] == "object ignored"]))
        await succeed(cluster)
        return cluster

    warned: list[int] = []
    with capture_logs() as lines:
        cluster = asyncio.run(play())

    assert warned == [5]
    assert cluster.status["result"]["scores"]["test"] == "0.93"
    events = [event for event in cluster.api.all(EVENTS) if event["reason"] == "PodIgnored"]
    assert len(events) == len({event["message"] for event in events})
    assert 5 <= len(events) <= 6


def foreign_job(attempt: int, **parts: Any) -> dict[str, Any]:
    """A copy of the search's Job under another attempt, with its hash, labels and owner, and parts of the pod's spec replaced."""
    job = stored_job(SEARCH, attempt, uid=f"foreign-{attempt}")
    return with_change(job, "spec.template.spec", {**job["spec"]["template"]["spec"], **parts})


def foreign_image(attempt: int) -> dict[str, Any]:
    (container,) = stored_job(SEARCH, attempt)["spec"]["template"]["spec"]["containers"]
    return foreign_job(attempt, containers=[{**container, "image": "evil:1"}])


def test_a_job_that_the_operator_did_not_make_is_never_an_attempt() -> None:
    """Attempt 60 by a user with the role edit: the operator deletes it, the Job in the status continues, and its image is never used."""

    async def play() -> FakeCluster:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        uids.append(cluster.job["metadata"]["uid"])
        cluster.api.add(JOBS, "ml", foreign_image(60))
        cluster.put_pod(running_pod(foreign_image(60), uid="foreign"))
        await cluster.wait(1)
        during.append((cluster.status["phase"], cluster.status["attempt"], cluster.status["jobUid"]))
        await cluster.collect_garbage()
        await cluster.wait(1)
        await succeed(cluster)
        return cluster

    during: list[tuple[str, int, str]] = []
    uids: list[str] = []
    cluster = asyncio.run(play())
    warned = [(event["type"], event["reason"]) for event in cluster.api.all(EVENTS) if event["type"] == "Warning"]
    messages = [event["message"] for event in cluster.api.all(EVENTS) if event["type"] == "Warning"]

    assert warned == [("Warning", "JobIgnored")]
    assert during == [("Running", 1, *uids)]
    assert [job["metadata"]["name"] for job in cluster.api.all(JOBS)] == ["fashion-5ea4c400-1"]
    assert messages == [
        "Job fashion-5ea4c400-60 claims to be attempt 60, but this operator did not create it: the operator ignores and deletes it"
    ]
    assert (cluster.status["phase"], cluster.status["attempt"], cluster.status["trainer"]["image"]) == ("Succeeded", 1, "trainer:1")


(JOB_TRAINER,) = stored_job(SEARCH, 2)["spec"]["template"]["spec"]["containers"]
FOREIGN = {
    "image": foreign_image(2),
    "account": foreign_job(2, serviceAccountName="admin"),
    "host": foreign_job(2, hostPID=True),
    "volume": foreign_job(
        2, volumes=[*JOB["spec"]["template"]["spec"]["volumes"][1:], {"name": "autohas-config", "hostPath": {"path": "/"}}]
    ),
    "variable": foreign_job(2, containers=[{**JOB_TRAINER, "env": [*JOB_TRAINER["env"], {"name": "PYTHONPATH", "value": "/x"}]}]),
    "command": foreign_job(2, containers=[{**JOB_TRAINER, "command": ["sleep", "9"]}]),
}


@pytest.mark.parametrize("job", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_job_between_two_attempts_is_not_adopted(job: dict[str, Any]) -> None:
    """The Job in the status is gone and a user creates one before the operator: the operator deletes it and stores nothing of it."""
    decided = decide(observe(SEARCH, job), RUNNING)

    assert [stray.uid for stray in decided.strays] == ["foreign-2"]
    assert isinstance(decided.action, CreateAttempt)
    assert decided.status.job_uid is None
    assert decided.status.trainer is not None
    assert decided.status.trainer.image == "trainer:1"


def test_a_foreign_job_under_the_next_name_holds_nothing_up() -> None:
    """With our owner it is deleted and the name taken; the ConfigMap of another search is replaced as well."""

    async def play() -> FakeCluster:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        cluster.api.remove(JOBS, "ml", "fashion-5ea4c400-1")
        cluster.api.remove(PODS, "ml", "fashion-5ea4c400-1-pod-1")
        cluster.api.add(JOBS, "ml", foreign_image(2))
        forged = copy.deepcopy(cluster.api.objects["configmaps", "ml", "fashion-5ea4c400-1"])
        forged["metadata"] |= {"name": "fashion-5ea4c400-2", "uid": "forged"}
        cluster.api.add(CONFIG_MAPS, "ml", {**forged, "data": {"search.json": '{"spec": {"task": "an easier one"}}'}})
        for _ in range(3):
            await cluster.wait(3)
            await cluster.collect_garbage()
        await cluster.wait(6)
        await run(cluster, uid="pod-2", attempt=2, starts=2)
        await succeed(cluster, uid="pod-2", attempt=2)
        return cluster

    cluster = asyncio.run(play())
    (container,) = cluster.job["spec"]["template"]["spec"]["containers"]

    assert (cluster.status["phase"], cluster.status["attempt"], container["image"]) == ("Succeeded", 2, "trainer:1")
    assert "an easier one" not in cluster.api.objects["configmaps", "ml", "fashion-5ea4c400-2"]["data"]["search.json"]


def test_a_job_made_just_before_a_kill_is_found_again() -> None:
    """Nothing is noted yet: attempt 1 as this operator would make it is adopted, and its uid is noted."""
    decided = decide(observe(SEARCH, JOB))

    assert (decided.strays, decided.action) == ((), None)
    assert (decided.status.attempt, decided.status.job_uid) == (1, "job-1")


def test_kueue_may_change_where_a_job_runs() -> None:
    """Admitted with another flavour, its node selector, tolerations, labels and suspension are Kueue's: the Job stays the noted one."""
    flavor = foreign_job(1, nodeSelector={"cloud.example/spot": "true"}, tolerations=[{"key": "spot", "operator": "Exists"}])
    flavor = with_change(
        flavor, "spec.template.metadata.labels", {**JOB["spec"]["template"]["metadata"]["labels"], "kueue.x-k8s.io/podset": "main"}
    )
    flavor = with_change(with_change(flavor, "spec.suspend", False), "spec.parallelism", 1)  # noqa: FBT003 - JSON
    pod = running_pod(flavor)

    unnoted = decide(observe(SEARCH, flavor, pod))
    noted = decide(observe(SEARCH, flavor, pod), unnoted.status)

    assert unnoted.status.job_uid == noted.status.job_uid == "foreign-1"
    assert (unnoted.strays, noted.strays, unnoted.warnings, noted.warnings) == ((), (), {}, {})
    assert noted.action is None


def test_a_search_that_an_older_operator_started_goes_on() -> None:
    """Its status has no uid, and its Job lacks a volume, a mount and a variable of ours: it is noted and left alone."""
    spec = stored_job(SEARCH, 3)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    older = {
        **container,
        "env": [entry for entry in container["env"] if entry["name"] != "AUTOHAS_GPU"],
        "volumeMounts": container["volumeMounts"][:2],
    }
    volumes = [*spec["volumes"][:2], {"name": "autohas-shm", "emptyDir": {"medium": "Memory"}}]
    job = foreign_job(3, containers=[older], volumes=volumes)
    before = RUNNING.replace(attempt=3, job_uid=None)
    decided = decide(observe(SEARCH, job, running_pod(job)), before)

    assert (decided.action, decided.strays, decided.warnings) == (None, (), {})
    assert (decided.status.attempt, decided.status.job_uid, decided.status.phase) == (3, "foreign-3", Phase.RUNNING)


@pytest.mark.parametrize("job", [foreign_image(3), foreign_job(3, hostPID=True), foreign_job(3, serviceAccountName="admin")])
def test_an_upgrade_adopts_no_foreign_job(job: dict[str, Any]) -> None:
    """Without a noted uid too, image, account and host flags must be those that the operator makes."""
    before = RUNNING.replace(attempt=3, job_uid=None)
    decided = decide(observe(SEARCH, job), before)

    assert [stray.uid for stray in decided.strays] == ["foreign-3"]
    assert decided.status.job_uid is None


def test_labels_of_a_noted_job_may_be_changed() -> None:
    """`kubectl label --overwrite job autohas.dev/attempt=60`: the number is read off the name, and no second Job is made."""
    job = with_change(JOB, "metadata.labels", {**JOB["metadata"]["labels"], "autohas.dev/attempt": "60"})
    decided = decide(observe(SEARCH, job, POD), RUNNING)

    assert (decided.action, decided.status.attempt) == (None, 1)


def test_a_job_under_another_name_is_left_alone() -> None:
    """The operator may not delete it under its policy, and takes no notice of it."""
    odd = with_change(foreign_image(60), "metadata.name", "mine")
    decided = decide(observe(SEARCH, JOB, POD, odd), RUNNING)

    assert (decided.action, decided.strays, decided.status.attempt) == (None, (), 1)


def test_a_stray_that_cannot_be_deleted_holds_nothing_up() -> None:
    """A policy forbids the deletion: the search's own Job is followed all the same, to its result."""

    async def play() -> FakeCluster:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        own = cluster.job
        cluster.api.add(JOBS, "ml", foreign_image(60))
        cluster.api.fault = Refusal("delete", "jobs", ForbiddenError(status=403, message="denied by a policy", request="DELETE"))
        await cluster.wait(1)
        cluster.put_pod(ended_pod(own, code=0, message=result_text(cluster.search)))
        await cluster.wait(1)
        return cluster

    assert asyncio.run(play()).status["phase"] == "Succeeded"


def test_a_spec_hash_is_no_secret() -> None:
    """A Job with an older hash is not adopted either: it is deleted as one of an older spec."""
    job = with_change(foreign_image(1), "metadata.annotations", {ANNOTATION_SPEC_HASH: "sha256:old"})
    decided = decide(observe(SEARCH, job))

    assert decided.action == DeleteJob(name="fashion-5ea4c400-1", uid="foreign-1")
    assert decided.status.job_uid is None

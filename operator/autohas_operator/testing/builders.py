"""Builds objects as an API server returns them, and the messages of trainers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from autohas_api.accept.acceptance import accept
from autohas_api.base.digest import configuration_digest, result_digest, sha256
from autohas_api.base.names import LABEL_ATTEMPT, LABEL_SEARCH, LABEL_UID, TRAINER_CONTAINER
from autohas_api.space.decisions import OFF_GRID, Role
from autohas_api.testing.rejections import a_search, with_change
from autohas_api.wire.messages import CheckpointInfo, Error, Interrupted, Notice, Progress, Result, Stage, encode_termination_message
from autohas_operator.manifests.job import Attempt, build_job
from autohas_operator.records.observed import Observed, Report, job_record, pod_record, search_record
from autohas_operator.settings import PodSettings
from autohas_operator.wording import timestamp

NOW_S: Final = 1_800_000_000.0
"""The time at which tests begin, in seconds since the epoch."""
PODS: Final = PodSettings(image="trainer:1", image_pull_policy="IfNotPresent", image_pull_secrets=(), run_as_user=65532, fs_group=65532)
CLAIM: Final = {"storage": {"persistentVolumeClaim": {"claimName": "ck"}}}
DURABLE: Final = with_change(a_search("fashion"), "spec.checkpoint", CLAIM)
"""A search as a person writes it, with its checkpoints on a claim."""
SEARCH_UID: Final = "5ea4c400-0000-4000-8000-000000000001"


def stored_search(name: str = "fashion", *, durable: bool = True, **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of a spec
    """A search as the API server stores it; `spec` replaces fields."""
    document = a_search(name)
    document["metadata"] |= {"namespace": "ml", "uid": SEARCH_UID, "resourceVersion": "1", "generation": 1}
    document["spec"] |= {"checkpoint": CLAIM} if durable else {}
    document["spec"] |= spec
    return document


def stored_job(
    search: Mapping[str, Any],
    attempt: int = 1,
    *,
    uid: str = "",
    created_s: float = NOW_S,
    **status: Any,  # noqa: ANN401 - parts of a status
) -> dict[str, Any]:
    """The Job that the operator creates for a search, as the API server stores it."""
    record = search_record(search)
    accepted = accept(json.loads(record.document))[0]
    image = accepted.spec.trainer.image or PODS.image
    job = build_job(record, accepted, Attempt(number=attempt, image=image), PODS)
    job["metadata"] |= {"uid": uid or f"job-{attempt}", "resourceVersion": "1", "creationTimestamp": timestamp(created_s)}
    return {**job, "status": status}


def condition(kind: str, reason: str = "", message: str = "", *, at_s: float = NOW_S) -> dict[str, Any]:
    """A true condition."""
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": timestamp(at_s)}


def stored_pod(  # noqa: PLR0913 - one argument for each thing that pods differ in
    job: Mapping[str, Any],
    *,
    uid: str = "pod-1",
    phase: str = "Pending",
    state: Mapping[str, Any] | None = None,
    started: bool = False,
    conditions: list[dict[str, Any]] | None = None,
    created_s: float = NOW_S,
    scheduled: bool = True,
) -> dict[str, Any]:
    """A pod of a Job."""
    labels = job["metadata"]["labels"]
    scheduling = [condition("PodScheduled", at_s=created_s)] if scheduled else []
    container = [{"name": TRAINER_CONTAINER, "state": dict(state), "started": started}] if state is not None else []
    return {
        "metadata": {
            "name": f"{job['metadata']['name']}-{uid}",
            "namespace": job["metadata"]["namespace"],
            "uid": uid,
            "resourceVersion": "1",
            "creationTimestamp": timestamp(created_s),
            "labels": {name: labels[name] for name in (LABEL_SEARCH, LABEL_UID, LABEL_ATTEMPT)},
            "ownerReferences": [{"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"], "controller": True}],
        },
        "spec": {**job["spec"]["template"]["spec"], **({"nodeName": "node-1"} if scheduled else {})},
        "status": {
            "phase": phase,
            "podIP": "127.0.0.1",
            "conditions": [*scheduling, *(conditions or [])],
            "containerStatuses": container,
        },
    }


def running_pod(job: Mapping[str, Any], *, uid: str = "pod-1", started: bool = True, created_s: float = NOW_S) -> dict[str, Any]:
    """A pod whose trainer runs."""
    return stored_pod(job, uid=uid, phase="Running", state={"running": {}}, started=started, created_s=created_s)


def ended_pod(  # noqa: PLR0913 - as above
    job: Mapping[str, Any],
    *,
    code: int,
    message: str = "",
    uid: str = "pod-1",
    reason: str = "Error",
    created_s: float = NOW_S,
    ended_s: float | None = None,
) -> dict[str, Any]:
    """A pod whose trainer has exited."""
    finished = {"finishedAt": timestamp(ended_s)} if ended_s is not None else {}
    state = {"terminated": {"exitCode": code, "message": message, "reason": reason, **finished}}
    return stored_pod(job, uid=uid, phase="Succeeded" if code == 0 else "Failed", state=state, created_s=created_s)


def add_running_sidecar(pod: dict[str, Any], container: str = "istio-proxy") -> dict[str, Any]:
    """The same pod with a sidecar that still runs, so that the pod has not ended."""
    statuses = [*pod["status"]["containerStatuses"], {"name": container, "state": {"running": {}}, "started": True}]
    return with_change(with_change(pod, "status.containerStatuses", statuses), "status.phase", "Running")


def refused_pod(job: Mapping[str, Any], reason: str, message: str, *, uid: str = "pod-1") -> dict[str, Any]:
    """A pod that its kubelet rejected or evicted: it has no container status."""
    pod = stored_pod(job, uid=uid, phase="Failed")
    return {**pod, "status": {**pod["status"], "reason": reason, "message": message}}


def observe(search: Mapping[str, Any], *children: Mapping[str, Any], report: Report | None = None, **rest: Any) -> Observed:  # noqa: ANN401
    """What a pass observes of these objects."""
    jobs = tuple(job for child in children if "kind" in child and (job := job_record(child)) is not None)
    pods = tuple(pod for child in children if "kind" not in child and (pod := pod_record(child)) is not None)
    return Observed(search=search_record(search), jobs=jobs, pods=pods, report=report, **rest)


def progress(search: Mapping[str, Any], *, pod_uid: str = "pod-1", attempt: int = 1, **fields: Any) -> Progress:  # noqa: ANN401 - fields of Progress
    """A trainer's report, 42 % of the way."""
    defaults: dict[str, Any] = {
        "stage": Stage.LANES,
        "step": 420,
        "steps": 1000,
        "percent": 42.9,
        "eta_seconds": 5400.0,
        "best": 0.91,
        "entropy": 0.8,
        "starts": 1,
        "interruptions": 0,
        "active_seconds": 60.0,
        "checkpoint": CheckpointInfo(step=400, time=NOW_S, digest=sha256("checkpoint")),
    }
    identity = {"search_uid": search["metadata"]["uid"], "pod_uid": pod_uid, "attempt": attempt}
    return Progress(**(defaults | identity | fields))


def report(search: Mapping[str, Any], *, at_s: float = NOW_S, pod_uid: str = "pod-1", **fields: Any) -> Report:  # noqa: ANN401
    """The same as the cache holds it."""
    return Report(pod_uid=pod_uid, time_s=at_s, progress=progress(search, pod_uid=pod_uid, **fields))


def notice(number: int, reason: str, message: str = "from step 400") -> Notice:
    """One notice of a report."""
    return Notice(id=number, reason=reason, message=message, time=NOW_S)


def result(search: Mapping[str, Any], *, pod_uid: str = "pod-1", attempt: int = 1, **fields: Any) -> Result:  # noqa: ANN401 - fields of Result
    """A valid result: the default configuration has won."""
    _, space = accept({**search, "status": {}})
    values, choices = space.as_mapping(space.default), space.indices(space.default)
    configuration, model = configuration_digest(values), sha256("weights")
    numbers = [d for d in zip(space.decisions, choices, strict=True) if d[0].role is not Role.ARCHITECTURE]
    defaults: dict[str, Any] = {
        "choices": list(choices),
        "values": [values[decision.name] if index == OFF_GRID else "" for decision, index in numbers],
        "test_score": 0.93,
        "selection_score": 0.94,
        "default_test_score": 0.9,
        "default_selection_score": 0.91,
        "trainings": 3.9,
        "parameters": 1234,
        "stop_reason": "Completed",
        "configuration_digest": configuration,
        "model_digest": model,
        "digest": result_digest(configuration=configuration, test_score=0.93, model=model),
    }
    identity = {"search_uid": search["metadata"]["uid"], "pod_uid": pod_uid, "attempt": attempt}
    return Result(**(defaults | identity | fields))


def result_text(search: Mapping[str, Any], **fields: Any) -> str:  # noqa: ANN401 - fields of Result
    """The same as a termination message."""
    return encode_termination_message(result(search, **fields)).decode()


def error_text(search: Mapping[str, Any], message: str, *, code: int, pod_uid: str = "pod-1", attempt: int = 1) -> str:
    """The termination message of a trainer that failed."""
    uid = search["metadata"]["uid"]
    return encode_termination_message(Error(search_uid=uid, pod_uid=pod_uid, attempt=attempt, exit_code=code, message=message)).decode()


def interrupted_text(search: Mapping[str, Any], *, pod_uid: str = "pod-1", **fields: Any) -> str:  # noqa: ANN401 - fields of Interrupted
    """The termination message of a trainer after SIGTERM, without a checkpoint of its own by default."""
    identity = {"search_uid": search["metadata"]["uid"], "pod_uid": pod_uid, "attempt": 1}
    return encode_termination_message(Interrupted(**({"step": 420, "stage": Stage.LANES} | identity | fields))).decode()

"""Scenarios: the whole life of one search on a fake cluster. Each ends the same when the operator is killed at any write."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from autohas_api.base.digest import sha256
from autohas_api.base.names import ANNOTATION_PAUSED, ANNOTATION_TOUCHED_AT, LABEL_QUEUE
from autohas_api.wire.messages import CheckpointInfo
from autohas_api.wire.status import Phase
from autohas_operator.client import JOBS, PODS, SEARCHES
from autohas_operator.errors import ForbiddenError
from autohas_operator.records.observed import Key
from autohas_operator.testing.builders import (
    add_running_sidecar,
    condition,
    ended_pod,
    error_text,
    interrupted_text,
    report,
    result_text,
    running_pod,
    stored_pod,
    stored_search,
)
from autohas_operator.testing.fake_cluster import FakeCluster

SEARCH: Final = stored_search()
KEY: Final = Key("ml", "fashion")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a search, and the phase and the number of attempts with which it must end."""

    play: Callable[[FakeCluster], Coroutine[Any, Any, None]]
    phase: Phase
    attempts: int


async def start(cluster: FakeCluster) -> None:
    """Apply the search; the operator creates its Job."""
    cluster.apply(SEARCH)
    await cluster.settle()
    await cluster.wait(5)


async def run(cluster: FakeCluster, *, uid: str = "pod-1", attempt: int = 1, starts: int = 1) -> None:
    """A pod of the newest Job runs and reports."""
    cluster.put_pod(running_pod(cluster.job, uid=uid, created_s=cluster.api.now_s))
    await cluster.wait(1)
    progress_report = report(cluster.search, at_s=cluster.api.now_s, pod_uid=uid, attempt=attempt, starts=starts)
    cluster.operator.report(progress_report, KEY)
    await cluster.settle()
    if cluster.status["phase"] != "Running":  # the kill lost the report: the next operator polls again
        cluster.operator.report(progress_report, KEY)
        await cluster.settle()


async def succeed(cluster: FakeCluster, *, uid: str = "pod-1", attempt: int = 1) -> None:
    """The trainer ends with a valid result."""
    text = result_text(cluster.search, pod_uid=uid, attempt=attempt)
    cluster.put_pod(ended_pod(cluster.job, code=0, message=text, uid=uid, reason="Completed"))
    await cluster.wait(20)


async def run_to_success(cluster: FakeCluster) -> None:
    """The trainer runs and succeeds; nothing goes wrong."""
    await start(cluster)
    await run(cluster)
    await succeed(cluster)


async def preempt_pod(cluster: FakeCluster) -> None:
    """The pod is preempted; the Job creates another one."""
    await start(cluster)
    await run(cluster)
    cluster.put_pod(ended_pod(cluster.job, code=75, message=interrupted_text(cluster.search)))
    await cluster.wait(10)
    await run(cluster, uid="pod-2")
    await succeed(cluster, uid="pod-2")


async def delete_job(cluster: FakeCluster) -> None:
    """A person deletes the Job; its pod terminates a second later."""
    await start(cluster)
    await run(cluster)
    metadata = cluster.job["metadata"]
    cluster.api.remove(JOBS, "ml", metadata["name"])
    await cluster.wait(1)
    cluster.api.remove(PODS, "ml", f"{metadata['name']}-pod-1")
    await cluster.wait(6)
    await run(cluster, uid="pod-2", attempt=2)
    await succeed(cluster, uid="pod-2", attempt=2)


async def delete_pod_record(cluster: FakeCluster) -> None:
    """The pod object disappears, and the Job controller creates no other one until the operator updates the Job."""
    await start(cluster)
    await run(cluster)
    cluster.api.remove(PODS, "ml", f"{cluster.job['metadata']['name']}-pod-1")
    await cluster.wait(130)
    if ANNOTATION_TOUCHED_AT in cluster.job["metadata"]["annotations"]:
        await run(cluster, uid="pod-2", starts=2)
        await succeed(cluster, uid="pod-2")


async def lose_result(cluster: FakeCluster) -> None:
    """The node dies after the trainer's exit: the Job is complete, and the pod with the result is gone."""
    await start(cluster)
    await run(cluster)
    cluster.api.remove(PODS, "ml", f"{cluster.job['metadata']['name']}-pod-1")
    cluster.finish_job(condition("Complete"))
    await cluster.wait(1)
    await cluster.collect_garbage()
    await cluster.wait(6)
    await run(cluster, uid="pod-2", attempt=2)
    await succeed(cluster, uid="pod-2", attempt=2)


async def keep_sidecar_running(cluster: FakeCluster) -> None:
    """The sidecar of a service mesh keeps running after two trainers: one that crashed, and one that succeeded."""
    await start(cluster)
    await run(cluster)
    pod = ended_pod(cluster.job, code=1, message="boom", created_s=cluster.api.now_s, ended_s=cluster.api.now_s)
    cluster.put_pod(add_running_sidecar(pod))
    await cluster.wait(30)
    await cluster.wait(5)
    await cluster.collect_garbage()
    await cluster.wait(6)
    await run(cluster, uid="pod-2", attempt=2, starts=2)
    text = result_text(cluster.search, pod_uid="pod-2", attempt=2)
    cluster.put_pod(
        add_running_sidecar(ended_pod(cluster.job, code=0, message=text, uid="pod-2", reason="Completed", ended_s=cluster.api.now_s))
    )
    await cluster.wait(1)
    await cluster.wait(30)
    await cluster.collect_garbage()
    await cluster.wait(6)


async def reboot_node(cluster: FakeCluster) -> None:
    """The node reboots; the Job has no retries left and fails, and the operator creates another Job."""
    cluster.apply(stored_search(failurePolicy={"backoffLimit": 0}))
    await cluster.settle()
    await cluster.wait(5)
    await run(cluster)
    cluster.put_pod(ended_pod(cluster.job, code=255, reason="Unknown", created_s=cluster.api.now_s, ended_s=cluster.api.now_s))
    cluster.finish_job(condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
    await cluster.wait(1)
    await cluster.collect_garbage()
    await cluster.wait(6)
    await run(cluster, uid="pod-2", attempt=2, starts=2)
    await succeed(cluster, uid="pod-2", attempt=2)


async def fail_on_data(cluster: FakeCluster) -> None:
    """The trainer cannot use the data set and exits with code 65."""
    await start(cluster)
    cluster.put_pod(ended_pod(cluster.job, code=65, message=error_text(cluster.search, "no file labels", code=65)))
    cluster.finish_job(condition("Failed", "PodFailurePolicy", "failed with exit code 65 matching"))
    await cluster.wait(1)


async def preempt_six_pods(cluster: FakeCluster) -> None:
    """Six preemptions in a row, each after a newer checkpoint: the operator replaces the Job after every third."""
    await start(cluster)
    for number in range(1, 7):
        attempt = cluster.status["attempt"]
        pod = running_pod(cluster.job, uid=f"pod-{number}", created_s=cluster.api.now_s)
        cluster.put_pod(pod)
        await cluster.wait(1)
        checkpoint = CheckpointInfo(step=100 * number, time=cluster.api.now_s, digest=sha256("checkpoint"))
        fields = {"starts": number, "interruptions": number - 1, "checkpoint": checkpoint}
        for _ in range(2):  # twice: after a kill the next operator polls again
            cluster.operator.report(report(cluster.search, at_s=cluster.api.now_s, pod_uid=f"pod-{number}", attempt=attempt, **fields), KEY)
            await cluster.wait(20)
        preempted = ended_pod(
            cluster.job, code=75, message=interrupted_text(cluster.search), uid=f"pod-{number}", created_s=cluster.api.now_s
        )
        cluster.put_pod(preempted)
        await cluster.wait(6)
        await cluster.collect_garbage()
        await cluster.wait(6)
    await run(cluster, uid="pod-7", attempt=3)
    await succeed(cluster, uid="pod-7", attempt=3)


async def suspend_and_resume(cluster: FakeCluster) -> None:
    """A person suspends the running search and resumes it an hour later."""
    await start(cluster)
    await run(cluster)
    cluster.edit_spec(suspend=True)
    await cluster.wait(1)
    metadata = cluster.job["metadata"]
    cluster.api.remove(JOBS, "ml", metadata["name"])
    await cluster.wait(6)
    cluster.api.remove(PODS, "ml", f"{metadata['name']}-pod-1")
    await cluster.wait(6)
    await cluster.wait(3600)
    cluster.edit_spec(suspend=False)
    await cluster.wait(1)
    await run(cluster, uid="pod-2", attempt=2)
    await succeed(cluster, uid="pod-2", attempt=2)


async def create_suspended(cluster: FakeCluster) -> None:
    """A search that is created suspended gets no Job until a person resumes it."""
    cluster.apply(stored_search(suspend=True))
    await cluster.settle()
    await cluster.wait(60)
    cluster.edit_spec(suspend=False)
    await cluster.wait(5)
    await run(cluster)
    await succeed(cluster)


async def toggle_suspend(cluster: FakeCluster) -> None:
    """A person suspends and resumes the search twice at once; then the old pod ends."""
    await start(cluster)
    await run(cluster)
    for _ in range(2):
        cluster.edit_spec(suspend=True)
        await cluster.settle()
        cluster.edit_spec(suspend=False)
        await cluster.settle()
    await cluster.collect_garbage()
    await cluster.wait(6)
    await run(cluster, uid="pod-2", attempt=2)
    await succeed(cluster, uid="pod-2", attempt=2)


async def queue_and_evict(cluster: FakeCluster) -> None:
    """Kueue keeps the Job suspended, admits it, evicts it and admits it again."""
    search = stored_search()
    search["metadata"]["labels"] = {LABEL_QUEUE: "team"}
    cluster.apply(search)
    cluster.api.suspends_jobs = True
    await cluster.settle()
    await cluster.wait(60)
    cluster.resume_job()
    await run(cluster)
    cluster.suspend_job()
    cluster.api.remove(PODS, "ml", f"{cluster.job['metadata']['name']}-pod-1")
    await cluster.wait(60)
    cluster.resume_job()
    await run(cluster, uid="pod-2")
    await succeed(cluster, uid="pod-2")


async def correct_queue_name(cluster: FakeCluster) -> None:
    """A person corrects the misspelt name of the queue while the Job waits; then Kueue admits the Job."""
    search = stored_search()
    search["metadata"]["labels"] = {LABEL_QUEUE: "taem"}
    cluster.apply(search)
    cluster.api.suspends_jobs = True
    await cluster.settle()
    await cluster.wait(60)
    cluster.api.edit(SEARCHES, "ml", "fashion", metadata={**cluster.search["metadata"], "labels": {LABEL_QUEUE: "team"}})
    await cluster.wait(1)
    await cluster.collect_garbage()
    await cluster.wait(6)
    cluster.resume_job()
    await run(cluster, attempt=2)
    await succeed(cluster, attempt=2)


async def exceed_start_deadline(cluster: FakeCluster) -> None:
    """No node has room before the start deadline; the operator deletes the Job."""
    cluster.apply(stored_search(budget={"trainings": "4", "startDeadlineSeconds": 600}))
    await cluster.settle()
    cluster.put_pod(stored_pod(cluster.job, created_s=cluster.api.now_s, scheduled=False))
    await cluster.wait(60)
    await cluster.wait(540)
    await cluster.collect_garbage()
    await cluster.wait(10)


async def exceed_max_interruptions(cluster: FakeCluster) -> None:
    """Two preemptions where `maxInterruptions` allows one."""
    cluster.apply(stored_search(failurePolicy={"maxInterruptions": 1}))
    await cluster.settle()
    await cluster.wait(5)
    for number in (1, 2):
        await run(cluster, uid=f"pod-{number}", starts=number)
        text = interrupted_text(cluster.search, pod_uid=f"pod-{number}")
        cluster.put_pod(ended_pod(cluster.job, code=75, message=text, uid=f"pod-{number}", created_s=cluster.api.now_s))
        await cluster.wait(10)
    await cluster.collect_garbage()
    await cluster.wait(10)


async def delete_children_after_ttl(cluster: FakeCluster) -> None:
    """An hour after the end the operator deletes Jobs and ConfigMaps; the result stays in the search."""
    await delete_job(cluster)
    await cluster.wait(3600)
    await cluster.collect_garbage()
    await cluster.wait(600)


async def pause_reconciliation(cluster: FakeCluster) -> None:
    """A person pauses reconciliation; meanwhile the pod is preempted."""
    await start(cluster)
    await run(cluster)
    cluster.annotate({ANNOTATION_PAUSED: "true"})
    await cluster.settle()
    cluster.put_pod(ended_pod(cluster.job, code=75, message=interrupted_text(cluster.search)))
    await cluster.wait(60)
    cluster.annotate({})
    await cluster.wait(1)
    await run(cluster, uid="pod-2")
    await succeed(cluster, uid="pod-2")


async def correct_spec(cluster: FakeCluster) -> None:
    """The operator rejects a spec that cannot work; a person corrects it, and the search runs."""
    cluster.apply(stored_search(budget={"trainings": "1"}))
    await cluster.settle()
    await cluster.wait(60)
    cluster.edit_spec(budget={"trainings": "4"})
    await cluster.wait(5)
    await run(cluster)
    await succeed(cluster)


async def exceed_quota(cluster: FakeCluster) -> None:
    """A quota refuses the Job at first."""
    cluster.api.refusals["jobs"] = ForbiddenError(status=403, message="exceeded quota: count/jobs.batch", request="POST")
    cluster.apply(SEARCH)
    await cluster.settle()
    await cluster.wait(60)
    cluster.api.refusals.clear()
    await cluster.wait(300)  # the retry interval is at most as long as the refusals have lasted: one or two minutes
    await run(cluster)
    await succeed(cluster)


SCENARIOS: Final[dict[str, Scenario]] = {
    "success": Scenario(run_to_success, Phase.SUCCEEDED, attempts=1),
    "pod preempted": Scenario(preempt_pod, Phase.SUCCEEDED, attempts=1),
    "Job deleted": Scenario(delete_job, Phase.SUCCEEDED, attempts=2),
    "pod record deleted": Scenario(delete_pod_record, Phase.SUCCEEDED, attempts=1),
    "result lost": Scenario(lose_result, Phase.SUCCEEDED, attempts=2),
    "sidecar running": Scenario(keep_sidecar_running, Phase.SUCCEEDED, attempts=2),
    "node rebooted": Scenario(reboot_node, Phase.SUCCEEDED, attempts=2),
    "unusable data": Scenario(fail_on_data, Phase.FAILED, attempts=1),
    "six pods preempted": Scenario(preempt_six_pods, Phase.SUCCEEDED, attempts=3),
    "suspended": Scenario(suspend_and_resume, Phase.SUCCEEDED, attempts=2),
    "created suspended": Scenario(create_suspended, Phase.SUCCEEDED, attempts=1),
    "suspend toggled": Scenario(toggle_suspend, Phase.SUCCEEDED, attempts=2),
    "queued": Scenario(queue_and_evict, Phase.SUCCEEDED, attempts=1),
    "queue name corrected": Scenario(correct_queue_name, Phase.SUCCEEDED, attempts=2),
    "start deadline exceeded": Scenario(exceed_start_deadline, Phase.FAILED, attempts=1),
    "maxInterruptions exceeded": Scenario(exceed_max_interruptions, Phase.FAILED, attempts=1),
    "children deleted": Scenario(delete_children_after_ttl, Phase.SUCCEEDED, attempts=2),
    "reconciliation paused": Scenario(pause_reconciliation, Phase.SUCCEEDED, attempts=1),
    "spec corrected": Scenario(correct_spec, Phase.SUCCEEDED, attempts=1),
    "quota exceeded": Scenario(exceed_quota, Phase.SUCCEEDED, attempts=1),
}


def play(name: str, cluster: FakeCluster) -> FakeCluster:
    """Play a scenario on `cluster`, which may hold faults; returns it."""
    asyncio.run(SCENARIOS[name].play(cluster))
    return cluster


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A scenario that was played without a fault: its outcome, and the number of writes the operator made."""

    outcome: dict[str, Any]
    num_writes: int


@functools.cache
def play_undisturbed(name: str) -> Undisturbed:
    """The scenario without any fault, played once per process: the expectation of every disturbed one."""
    cluster = play(name, FakeCluster())
    return Undisturbed(outcome(cluster), cluster.api.num_writes)


def outcome(cluster: FakeCluster) -> dict[str, Any]:
    """What no fault may change: the end without its times, the Jobs that were created, the Jobs and ConfigMaps that are left."""
    status = cluster.status
    fields = {name: status.get(name) for name in ("phase", "attempt", "best", "result", "trainer", "interruptions")}
    ends = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"] if c["type"] in ("Succeeded", "Finished")}
    left = sorted((plural, name) for plural, _, name in cluster.api.objects if plural in ("jobs", "configmaps"))
    return {**fields, "ends": ends, "jobs": cluster.api.jobs_made, "left": left}

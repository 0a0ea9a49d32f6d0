"""Whole lives of a search, played on a world in memory; each survives a kill of the operator at any write."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from autohas_api.base.digest import sha256
from autohas_api.base.names import ANNOTATION_PAUSED, ANNOTATION_TOUCHED_AT, LABEL_QUEUE
from autohas_api.wire.messages import CheckpointInfo
from autohas_operator.client import JOBS, PODS, SEARCHES
from autohas_operator.errors import ForbiddenError
from autohas_operator.records.observed import Key
from autohas_operator.testing.builders import (
    condition,
    ended_pod,
    error_text,
    interrupted_text,
    outlived,
    report,
    result_text,
    running_pod,
    stored_pod,
    stored_search,
)
from autohas_operator.testing.world import World

SEARCH: Final = stored_search()
KEY: Final = Key("ml", "fashion")
Life = Callable[[World], Coroutine[Any, Any, None]]


async def start(world: World) -> None:
    """Apply the search and let its Job be made."""
    world.apply(SEARCH)
    await world.settle()
    await world.wait(5)


async def run(world: World, *, uid: str = "pod-1", attempt: int = 1, starts: int = 1) -> None:
    """A pod of the newest Job runs and reports."""
    world.put_pod(running_pod(world.job, uid=uid, created_s=world.api.now_s))
    await world.wait(1)
    said = report(world.search, at_s=world.api.now_s, pod_uid=uid, attempt=attempt, starts=starts)
    world.operator.report(said, KEY)
    await world.settle()
    if world.status["phase"] != "Running":  # the operator was killed and its report with it: it polls again
        world.operator.report(said, KEY)
        await world.settle()


async def succeed(world: World, *, uid: str = "pod-1", attempt: int = 1) -> None:
    """The trainer ends with a valid result."""
    text = result_text(world.search, pod_uid=uid, attempt=attempt)
    world.put_pod(ended_pod(world.job, code=0, message=text, uid=uid, reason="Completed"))
    await world.wait(20)


async def straight(world: World) -> None:
    """Nothing goes wrong."""
    await start(world)
    await run(world)
    await succeed(world)


async def interrupted(world: World) -> None:
    """The pod is preempted, the Job makes another."""
    await start(world)
    await run(world)
    world.put_pod(ended_pod(world.job, code=75, message=interrupted_text(world.search)))
    await world.wait(10)
    await run(world, uid="pod-2")
    await succeed(world, uid="pod-2")


async def job_deleted(world: World) -> None:
    """A person deletes the Job; its pod lingers for a while."""
    await start(world)
    await run(world)
    metadata = world.job["metadata"]
    world.api.remove(JOBS, "ml", metadata["name"])
    await world.wait(1)
    world.api.remove(PODS, "ml", f"{metadata['name']}-pod-1")
    await world.wait(6)
    await run(world, uid="pod-2", attempt=2)
    await succeed(world, uid="pod-2", attempt=2)


async def job_forgotten(world: World) -> None:
    """The pod is gone without a trace, and the Job controller makes no other before its Job is touched."""
    await start(world)
    await run(world)
    world.api.remove(PODS, "ml", f"{world.job['metadata']['name']}-pod-1")
    await world.wait(130)
    if ANNOTATION_TOUCHED_AT in world.job["metadata"]["annotations"]:
        await run(world, uid="pod-2", starts=2)
        await succeed(world, uid="pod-2")


async def result_lost(world: World) -> None:
    """The node dies after the trainer's exit: the Job is complete, its pod is gone."""
    await start(world)
    await run(world)
    world.api.remove(PODS, "ml", f"{world.job['metadata']['name']}-pod-1")
    world.finish_job(condition("Complete"))
    await world.wait(1)
    await world.collect_garbage()
    await world.wait(6)
    await run(world, uid="pod-2", attempt=2)
    await succeed(world, uid="pod-2", attempt=2)


async def held_by_a_sidecar(world: World) -> None:
    """The proxy of a mesh outlives two trainers: one that crashed, and one that succeeded."""
    await start(world)
    await run(world)
    pod = ended_pod(world.job, code=1, message="boom", created_s=world.api.now_s, ended_s=world.api.now_s)
    world.put_pod(outlived(pod))
    await world.wait(30)
    await world.wait(5)
    await world.collect_garbage()
    await world.wait(6)
    await run(world, uid="pod-2", attempt=2, starts=2)
    text = result_text(world.search, pod_uid="pod-2", attempt=2)
    world.put_pod(outlived(ended_pod(world.job, code=0, message=text, uid="pod-2", reason="Completed", ended_s=world.api.now_s)))
    await world.wait(1)
    await world.wait(30)
    await world.collect_garbage()
    await world.wait(6)


async def lost_with_its_node(world: World) -> None:
    """The node reboots; with no retries left the Job gives up, and the search takes another one."""
    world.apply(stored_search(failurePolicy={"backoffLimit": 0}))
    await world.settle()
    await world.wait(5)
    await run(world)
    world.put_pod(ended_pod(world.job, code=255, reason="Unknown", created_s=world.api.now_s, ended_s=world.api.now_s))
    world.finish_job(condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
    await world.wait(1)
    await world.collect_garbage()
    await world.wait(6)
    await run(world, uid="pod-2", attempt=2, starts=2)
    await succeed(world, uid="pod-2", attempt=2)


async def failed(world: World) -> None:
    """The data is unusable."""
    await start(world)
    world.put_pod(ended_pod(world.job, code=65, message=error_text(world.search, "no file labels", code=65)))
    world.finish_job(condition("Failed", "PodFailurePolicy", "failed with exit code 65 matching"))
    await world.wait(1)


async def often_interrupted(world: World) -> None:
    """Six preemptions in a row, each with a checkpoint further on: every third renews the Job."""
    await start(world)
    for number in range(1, 7):
        attempt = world.status["attempt"]
        pod = running_pod(world.job, uid=f"pod-{number}", created_s=world.api.now_s)
        world.put_pod(pod)
        await world.wait(1)
        checkpoint = CheckpointInfo(step=100 * number, time=world.api.now_s, digest=sha256("checkpoint"))
        said = {"starts": number, "interruptions": number - 1, "checkpoint": checkpoint}
        for _ in range(2):  # again after a kill: the operator polls
            world.operator.report(report(world.search, at_s=world.api.now_s, pod_uid=f"pod-{number}", attempt=attempt, **said), KEY)
            await world.wait(20)
        over = ended_pod(world.job, code=75, message=interrupted_text(world.search), uid=f"pod-{number}", created_s=world.api.now_s)
        world.put_pod(over)
        await world.wait(6)
        await world.collect_garbage()
        await world.wait(6)
    await run(world, uid="pod-7", attempt=3)
    await succeed(world, uid="pod-7", attempt=3)


async def suspended(world: World) -> None:
    """A person suspends the search while it runs, looks at it for a while, and lets it go on."""
    await start(world)
    await run(world)
    world.edit_spec(suspend=True)
    await world.wait(1)
    metadata = world.job["metadata"]
    world.api.remove(JOBS, "ml", metadata["name"])
    await world.wait(6)
    world.api.remove(PODS, "ml", f"{metadata['name']}-pod-1")
    await world.wait(6)
    await world.wait(3600)
    world.edit_spec(suspend=False)
    await world.wait(1)
    await run(world, uid="pod-2", attempt=2)
    await succeed(world, uid="pod-2", attempt=2)


async def suspended_at_first(world: World) -> None:
    """A search that is applied suspended makes nothing before it is let go."""
    world.apply(stored_search(suspend=True))
    await world.settle()
    await world.wait(60)
    world.edit_spec(suspend=False)
    await world.wait(5)
    await run(world)
    await succeed(world)


async def flipped(world: World) -> None:
    """Suspended and let go again at once, twice; then the old pod ends."""
    await start(world)
    await run(world)
    for _ in range(2):
        world.edit_spec(suspend=True)
        await world.settle()
        world.edit_spec(suspend=False)
        await world.settle()
    await world.collect_garbage()
    await world.wait(6)
    await run(world, uid="pod-2", attempt=2)
    await succeed(world, uid="pod-2", attempt=2)


async def queued(world: World) -> None:
    """Kueue holds the Job back, admits it, evicts it and admits it again."""
    search = stored_search()
    search["metadata"]["labels"] = {LABEL_QUEUE: "team"}
    world.apply(search)
    world.api.suspends_jobs = True
    await world.settle()
    await world.wait(60)
    world.resume_job()
    await run(world)
    world.suspend_job()
    world.api.remove(PODS, "ml", f"{world.job['metadata']['name']}-pod-1")
    await world.wait(60)
    world.resume_job()
    await run(world, uid="pod-2")
    await succeed(world, uid="pod-2")


async def requeued(world: World) -> None:
    """The queue's name is misspelt, corrected while the Job waits, and then Kueue admits it."""
    search = stored_search()
    search["metadata"]["labels"] = {LABEL_QUEUE: "taem"}
    world.apply(search)
    world.api.suspends_jobs = True
    await world.settle()
    await world.wait(60)
    world.api.edit(SEARCHES, "ml", "fashion", metadata={**world.search["metadata"], "labels": {LABEL_QUEUE: "team"}})
    await world.wait(1)
    await world.collect_garbage()
    await world.wait(6)
    world.resume_job()
    await run(world, attempt=2)
    await succeed(world, attempt=2)


async def too_late(world: World) -> None:
    """No node has room before the start deadline; the Job that is left is deleted."""
    world.apply(stored_search(budget={"trainings": "4", "startDeadlineSeconds": 600}))
    await world.settle()
    world.put_pod(stored_pod(world.job, created_s=world.api.now_s, scheduled=False))
    await world.wait(60)
    await world.wait(540)
    await world.collect_garbage()
    await world.wait(10)


async def interrupted_too_often(world: World) -> None:
    """Two preemptions where one is allowed."""
    world.apply(stored_search(failurePolicy={"maxInterruptions": 1}))
    await world.settle()
    await world.wait(5)
    for number in (1, 2):
        await run(world, uid=f"pod-{number}", starts=number)
        text = interrupted_text(world.search, pod_uid=f"pod-{number}")
        world.put_pod(ended_pod(world.job, code=75, message=text, uid=f"pod-{number}", created_s=world.api.now_s))
        await world.wait(10)
    await world.collect_garbage()
    await world.wait(10)


async def cleaned_up(world: World) -> None:
    """Ended, looked at for an hour, then tidied away: the result stays."""
    await job_deleted(world)
    await world.wait(3600)
    await world.collect_garbage()
    await world.wait(600)


async def paused(world: World) -> None:
    """A person wants the operator out of the way for a while; meanwhile the pod is preempted."""
    await start(world)
    await run(world)
    world.annotate({ANNOTATION_PAUSED: "true"})
    await world.settle()
    world.put_pod(ended_pod(world.job, code=75, message=interrupted_text(world.search)))
    await world.wait(60)
    world.annotate({})
    await world.wait(1)
    await run(world, uid="pod-2")
    await succeed(world, uid="pod-2")


async def mended(world: World) -> None:
    """A spec that cannot work is rejected, edited, and then runs."""
    world.apply(stored_search(budget={"trainings": "1"}))
    await world.settle()
    await world.wait(60)
    world.edit_spec(budget={"trainings": "4"})
    await world.wait(5)
    await run(world)
    await succeed(world)


async def refused(world: World) -> None:
    """A quota has no room for the Job at first."""
    world.api.refusals["jobs"] = ForbiddenError(status=403, message="exceeded quota: count/jobs.batch", request="POST")
    world.apply(SEARCH)
    await world.settle()
    await world.wait(60)
    world.api.refusals.clear()
    await world.wait(300)  # it was refused for a minute or two, so it is asked for again within as long
    await run(world)
    await succeed(world)


LIVES: Final[dict[str, Life]] = {
    "straight": straight,
    "interrupted": interrupted,
    "job deleted": job_deleted,
    "job forgotten": job_forgotten,
    "result lost": result_lost,
    "held by a sidecar": held_by_a_sidecar,
    "lost with its node": lost_with_its_node,
    "failed": failed,
    "often interrupted": often_interrupted,
    "suspended": suspended,
    "suspended at first": suspended_at_first,
    "flipped": flipped,
    "queued": queued,
    "requeued": requeued,
    "too late": too_late,
    "interrupted too often": interrupted_too_often,
    "cleaned up": cleaned_up,
    "paused": paused,
    "mended": mended,
    "refused": refused,
}
ENDS: Final = {
    "straight": ("Succeeded", 1),
    "interrupted": ("Succeeded", 1),
    "job deleted": ("Succeeded", 2),
    "job forgotten": ("Succeeded", 1),
    "result lost": ("Succeeded", 2),
    "held by a sidecar": ("Succeeded", 2),
    "lost with its node": ("Succeeded", 2),
    "failed": ("Failed", 1),
    "often interrupted": ("Succeeded", 3),
    "suspended": ("Succeeded", 2),
    "suspended at first": ("Succeeded", 1),
    "flipped": ("Succeeded", 2),
    "queued": ("Succeeded", 1),
    "requeued": ("Succeeded", 2),
    "too late": ("Failed", 1),
    "interrupted too often": ("Failed", 1),
    "cleaned up": ("Succeeded", 2),
    "paused": ("Succeeded", 1),
    "mended": ("Succeeded", 1),
    "refused": ("Succeeded", 1),
}
"""Phase and number of attempts at the end of each."""

"""A Job that its controller may have forgotten is annotated, so that the controller processes it again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autohas_api.base.names import ANNOTATION_TOUCHED_AT
from autohas_api.testing.rejections import with_change
from autohas_operator.client import PODS
from autohas_operator.decide.actions import TouchJob
from autohas_operator.testing.builders import NOW_S, ended_pod, observe
from autohas_operator.testing.decisions import JOB, POD, RUNNING, SEARCH, decide
from autohas_operator.testing.fake_cluster import FakeCluster
from autohas_operator.testing.scenarios import KEY, run, start
from autohas_operator.wording import timestamp

TOUCH = TouchJob(name=JOB["metadata"]["name"], uid=JOB["metadata"]["uid"])


def touched(at_s: float) -> dict[str, Any]:
    """The Job, annotated this many seconds after its creation."""
    annotations = {**JOB["metadata"]["annotations"], ANNOTATION_TOUCHED_AT: timestamp(NOW_S + at_s)}
    return with_change(JOB, "metadata.annotations", annotations)


@pytest.mark.parametrize(
    ("job", "due_s"),
    [(JOB, 120), (touched(120), 240), (touched(240), 480), (touched(480), 960), (touched(4000), 5800), (touched(5800), 7600)],
    ids=["never", "once", "twice", "thrice", "late", "again"],
)
def test_a_job_without_pods_is_touched_at_distances_that_double(job: dict[str, Any], due_s: float) -> None:
    """After two minutes, then at intervals that double up to half an hour."""
    early, due = (decide(observe(SEARCH, job), at_s=NOW_S + at_s) for at_s in (due_s - 1, due_s))

    assert (early.action, due.action) == (None, TOUCH)
    assert early.requeue_after_s is not None
    assert early.requeue_after_s <= 30
    assert due.status.phase == early.status.phase


def test_a_job_whose_pods_are_over_is_touched_two_minutes_after_the_last_end() -> None:
    """A report of its trainer and the end of its pod restart the wait."""
    over = ended_pod(JOB, code=1, ended_s=NOW_S + 300)
    early, due = (decide(observe(SEARCH, JOB, over), RUNNING, at_s=NOW_S + at_s).action for at_s in (419, 420))

    assert (early, due) == (None, TOUCH)


@pytest.mark.parametrize(
    ("job", "pods"),
    [(JOB, (POD,)), (with_change(JOB, "spec.suspend", value=True), ())],
    ids=["running", "waits for quota"],
)
def test_a_job_at_work_or_on_hold_is_not_touched(job: dict[str, Any], pods: tuple[dict[str, Any], ...]) -> None:
    """A running pod proves that its controller works; a suspended Job needs no pod."""
    assert decide(observe(SEARCH, job, *pods), RUNNING, at_s=NOW_S + 86_400).action is None


def test_the_touch_is_written_once() -> None:
    """The annotation is on the Job in the API server, its other annotations stay, and the next pass writes nothing."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        before = dict(cluster.job["metadata"]["annotations"])
        cluster.api.remove(PODS, "ml", f"{cluster.job['metadata']['name']}-pod-1")
        await cluster.wait(600)
        after, num_writes = cluster.job["metadata"]["annotations"], cluster.api.num_writes
        cluster.operator.queue.add(KEY)
        await cluster.settle()

        assert after == {**before, ANNOTATION_TOUCHED_AT: timestamp(cluster.api.now_s)}
        assert cluster.api.num_writes == num_writes

    asyncio.run(play())

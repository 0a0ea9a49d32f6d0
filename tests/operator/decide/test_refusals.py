"""Requests other than the creation of a Job that the API server refuses: one error has no further effects."""

from __future__ import annotations

import asyncio

from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.errors import ApiError, InvalidError
from autohas_operator.reconcile.apply import clean_up
from autohas_operator.records.observed import search_record
from autohas_operator.testing.fake_cluster import FakeCluster, Refusal
from autohas_operator.testing.scenarios import run, start, succeed


def reasons(cluster: FakeCluster) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in cluster.status["conditions"]}


def test_a_refused_delete_does_not_reject_the_search() -> None:
    """A webhook answers the Job's DELETE with 400: the search is being suspended, says why it is not yet, and is not called Rejected."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        denied = InvalidError(status=400, message="admission webhook denied the request", request="DELETE")
        cluster.api.fault = Refusal("delete", "jobs", denied)
        cluster.edit_spec(suspend=True)
        await cluster.settle()
        refused = (cluster.status["phase"], reasons(cluster)["TrainerReady"], reasons(cluster)["Accepted"])
        cluster.api.fault = None
        await cluster.wait(600)
        await cluster.collect_garbage()
        await cluster.wait(10)

        assert refused == ("Suspending", ("False", "JobForbidden"), ("True", "Valid"))
        assert cluster.status["phase"] == "Suspended"

    asyncio.run(play())


def test_events_that_cannot_be_read_hold_nothing_up() -> None:
    """The API server answers the list of events with 500 while a Job has no pod: the search is suspended all the same."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        cluster.api.fault = Refusal("list", "events", ApiError(status=500, message="etcd is slow", request="GET"))
        await cluster.wait(60)
        waiting = reasons(cluster)["TrainerReady"]
        cluster.edit_spec(suspend=True)
        await cluster.wait(60)
        await cluster.collect_garbage()
        await cluster.wait(10)

        assert waiting == ("False", "PodsNotCreated")
        assert cluster.status["phase"] == "Suspended"

    asyncio.run(play())


def test_a_job_that_is_gone_does_not_keep_the_others() -> None:
    """Two Jobs are to be cleaned up and the first has just gone: the second goes too."""

    async def play() -> None:
        cluster = FakeCluster()
        await start(cluster)
        await run(cluster)
        await succeed(cluster)
        job = cluster.job
        cluster.finish_job({"type": "Complete", "status": "True"})
        await cluster.settle()
        gone = CleanUp(config_maps=(), jobs=(("gone", "uid-0"), (job["metadata"]["name"], job["metadata"]["uid"])))
        await clean_up(cluster.api, search_record(cluster.search), gone)

        assert "deletionTimestamp" in cluster.job["metadata"]

    asyncio.run(play())

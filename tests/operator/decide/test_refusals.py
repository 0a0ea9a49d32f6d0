"""Requests that the API server refuses, other than the creation of a Job, in a world in memory: one trouble stays one trouble."""

from __future__ import annotations

import asyncio

from autohas_operator.decide.cleanup import CleanUp
from autohas_operator.errors import ApiError, InvalidError
from autohas_operator.reconcile.apply import clean_up
from autohas_operator.records.observed import search_record
from autohas_operator.testing.lives import run, start, succeed
from autohas_operator.testing.world import Refusing, World


def reasons(world: World) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in world.status["conditions"]}


def test_a_refused_delete_does_not_reject_the_search() -> None:
    """A webhook answers the Job's DELETE with 400: the search is being suspended, says why it is not yet, and is not called Rejected."""

    async def whole() -> None:
        world = World()
        await start(world)
        await run(world)
        denied = InvalidError(status=400, message="admission webhook denied the request", request="DELETE")
        world.api.trouble = Refusing("delete", "jobs", denied)
        world.edit_spec(suspend=True)
        await world.settle()
        refused = (world.status["phase"], reasons(world)["TrainerReady"], reasons(world)["Accepted"])
        world.api.trouble = None
        await world.wait(600)
        await world.collect_garbage()
        await world.wait(10)

        assert refused == ("Suspending", ("False", "JobForbidden"), ("True", "Valid"))
        assert world.status["phase"] == "Suspended"

    asyncio.run(whole())


def test_events_that_cannot_be_read_hold_nothing_up() -> None:
    """The API server answers the list of events with 500 while a Job has no pod: the search is suspended all the same."""

    async def whole() -> None:
        world = World()
        await start(world)
        world.api.trouble = Refusing("list", "events", ApiError(status=500, message="etcd is slow", request="GET"))
        await world.wait(60)
        waiting = reasons(world)["TrainerReady"]
        world.edit_spec(suspend=True)
        await world.wait(60)
        await world.collect_garbage()
        await world.wait(10)

        assert waiting == ("False", "PodsNotCreated")
        assert world.status["phase"] == "Suspended"

    asyncio.run(whole())


def test_a_job_that_is_gone_does_not_keep_the_others() -> None:
    """Two Jobs are to be cleaned up and the first has just gone: the second goes too."""

    async def whole() -> None:
        world = World()
        await start(world)
        await run(world)
        await succeed(world)
        job = world.job
        world.finish_job({"type": "Complete", "status": "True"})
        await world.settle()
        gone = CleanUp(config_maps=(), jobs=(("gone", "uid-0"), (job["metadata"]["name"], job["metadata"]["uid"])))
        await clean_up(world.api, search_record(world.search), gone)

        assert "deletionTimestamp" in world.job["metadata"]

    asyncio.run(whole())

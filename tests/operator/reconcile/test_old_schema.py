"""Searches that were stored under a former schema: the server has pruned the fields that it no longer knows, a required one is missing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autohas_operator.client import EVENTS, SEARCHES
from autohas_operator.testing.fake_cluster import FakeCluster
from autohas_operator.testing.scenarios import KEY, SEARCH, run, run_to_success, start


async def upgrade(cluster: FakeCluster) -> int:
    """A new operator finds the search without the field that was renamed, and looks at it five times; returns its writes but events."""
    spec = {name: value for name, value in cluster.search["spec"].items() if name != "training"}
    conditions = [{**c, "reason": "NoneYet"} if c["type"] == "CheckpointReady" else c for c in cluster.search["status"]["conditions"]]
    cluster.api.edit(SEARCHES, "ml", "fashion", spec=spec, status={**cluster.search["status"], "conditions": conditions})
    cluster.operator = type(cluster.operator)(cluster.api)
    before = cluster.api.num_writes - len(cluster.api.all(EVENTS))
    for _ in range(5):
        cluster.operator.queue.add(KEY)
        await cluster.wait(60)
    return cluster.api.num_writes - len(cluster.api.all(EVENTS)) - before


def accepted(cluster: FakeCluster) -> dict[str, Any]:
    """The condition Accepted."""
    found: dict[str, Any] = next(c for c in cluster.status["conditions"] if c["type"] == "Accepted")
    return found


@pytest.mark.parametrize("is_ended", [False, True], ids=["running", "ended"])
def test_a_search_of_a_former_schema_is_reported_once_and_keeps_what_it_has(*, is_ended: bool) -> None:
    """One event and one status write, however often the search is looked at; the result and the Job stay, and no Job is made."""

    async def play() -> None:
        cluster = FakeCluster()
        if is_ended:
            await run_to_success(cluster)
        else:
            await start(cluster)
            await run(cluster)
        events, result, jobs = cluster.events(), cluster.status.get("result"), cluster.api.jobs_made
        num_writes = await upgrade(cluster)

        assert cluster.events() == [*events, "SpecUnreadable"]
        assert num_writes == 1
        assert (accepted(cluster)["status"], accepted(cluster)["reason"]) == ("False", "SpecUnreadable")
        assert accepted(cluster)["message"] == (
            "the search was stored under a former schema: spec.training: Required value; its status and result stay; delete it, and apply"
            " it again with the present names of fields"
        )
        assert cluster.status["phase"] == ("Succeeded" if is_ended else "Rejected")
        assert cluster.status.get("result") == result
        assert (result is not None) is is_ended
        assert (cluster.job["metadata"]["name"], cluster.api.jobs_made) == ("fashion-5ea4c400-1", jobs)

    asyncio.run(play())


def test_a_search_of_a_former_schema_that_never_began_is_rejected_once() -> None:
    """Without an attempt it is judged as any other: the field that is missing is named, and nothing is made."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.apply({**SEARCH, "spec": {name: value for name, value in SEARCH["spec"].items() if name != "training"}})
        for _ in range(5):
            cluster.operator.queue.add(KEY)
            await cluster.wait(60)

        assert cluster.events() == ["SearchRejected"]
        assert (accepted(cluster)["reason"], accepted(cluster)["message"]) == ("InvalidSpec", "spec.training: Required value")
        assert cluster.api.jobs_made == []

    asyncio.run(play())

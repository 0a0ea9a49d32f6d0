"""Whole lives against an API server in memory, with the operator killed at every single write.

See autohas_operator.testing.world for what that server is and is not.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autohas_operator.client import CONFIG_MAPS, JOBS, PODS
from autohas_operator.testing.lives import ENDS, LIVES, Life
from autohas_operator.testing.world import World, owned_by


def live(life: Life, **kill: Any) -> World:
    async def whole() -> World:
        world = World()
        for name, value in kill.items():
            setattr(world.api, name, value)
        await life(world)
        return world

    return asyncio.run(whole())


def outcome(world: World) -> dict[str, Any]:
    """What must not depend on restarts: the end without its times, the Jobs that were made, what is left."""
    status = world.status
    kept = {name: status.get(name) for name in ("phase", "attempt", "best", "result", "trainer")}
    ends = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"] if c["type"] in ("Succeeded", "Finished")}
    left = sorted((plural, name) for plural, _, name in world.api.objects if plural in ("jobs", "configmaps"))
    return {**kept, "ends": ends, "jobs": world.api.jobs_made, "left": left}


@pytest.mark.parametrize("name", LIVES)
def test_every_life_comes_to_its_end(name: str) -> None:
    """Phase and number of attempts are as they should be."""
    world = live(LIVES[name])

    assert (world.status["phase"], world.status["attempt"]) == ENDS[name]
    assert all(owned_by(job, world.search["metadata"]["uid"]) for job in world.api.all(JOBS))


KILLS = [(name, write, before) for name in LIVES for write in range(1, live(LIVES[name]).api.num_writes + 1) for before in (True, False)]


@pytest.mark.parametrize(("name", "write", "before"), KILLS)
def test_a_kill_at_any_write_changes_no_outcome(name: str, write: int, before: bool) -> None:  # noqa: FBT001 - a table
    """Killed before or after its n-th write, the next operator brings the same end, and never a second Job."""
    undisturbed = live(LIVES[name])
    killed = live(LIVES[name], kill_at=write, kill_before=before)

    assert killed.num_restarts == 1
    assert outcome(killed) == outcome(undisturbed)
    assert len(set(killed.api.jobs_made)) == len(killed.api.jobs_made)


def test_a_limit_leaves_no_job_that_works_on() -> None:
    """The search is Failed first, then its children go."""
    for name, reason in (("too late", "StartDeadlineExceeded"), ("interrupted too often", "InterruptionLimit")):
        world = live(LIVES[name])
        succeeded = next(c for c in world.status["conditions"] if c["type"] == "Succeeded")

        assert (succeeded["status"], succeeded["reason"]) == ("False", reason)
        assert world.api.all(JOBS) == world.api.all(CONFIG_MAPS) == ()


def test_cleaning_up_takes_the_children_of_all_attempts() -> None:
    """An hour after the end Jobs, pods and ConfigMaps are gone, those of attempt 1 too; the result is where it was."""
    world = live(LIVES["cleaned up"])

    assert world.api.all(JOBS) == world.api.all(PODS) == world.api.all(CONFIG_MAPS) == ()
    assert world.status["result"]["scores"]["test"] == "0.93"

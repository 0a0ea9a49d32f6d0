"""Whole lives through bad days: every outcome is that of the undisturbed life, and no Job is ever made twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autohas_api.wire.status import Phase
from autohas_operator.client import JOBS, SEARCHES
from autohas_operator.errors import ForbiddenError
from autohas_operator.testing.builders import stored_search
from autohas_operator.testing.lives import KEY, LIVES, run, start, straight, succeed
from autohas_operator.testing.storms import Crowd, Outage, Storm, StormyWorld, TwoOperators
from autohas_operator.testing.world import World

SEEDS = range(5)


async def lived(world: World, name: str) -> World:
    await LIVES[name](world)
    return world


def outcome(world: World) -> dict[str, Any]:
    """What bad weather must not change."""
    status = world.status
    kept = {part: status.get(part) for part in ("phase", "attempt", "result", "trainer", "interruptions")}
    ends = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"] if c["type"] in ("Succeeded", "Finished")}
    left = sorted((plural, name) for plural, _, name in world.api.objects if plural in ("jobs", "configmaps"))
    return {**kept, "ends": ends, "jobs": world.api.jobs_made, "left": left}


UNDISTURBED = {name: outcome(asyncio.run(lived(World(), name))) for name in LIVES}


@pytest.mark.parametrize("name", LIVES)
def test_refused_and_lost_requests_change_no_outcome(name: str) -> None:
    """409, 429, 500 and timeouts, before and after the effect, at every seventh request or so; five different storms."""
    num_struck = 0
    for seed in SEEDS:
        world = StormyWorld()
        world.api.trouble = storm = Storm(seed)
        asyncio.run(lived(world, name))
        num_struck += storm.num_struck

        assert outcome(world) == UNDISTURBED[name], seed
    assert num_struck > len(SEEDS)


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("name", ["straight", "interrupted", "result lost", "suspended", "cleaned up"])
def test_an_api_server_that_is_away_for_a_minute_is_waited_for(name: str, first: int) -> None:
    """Whenever it goes, the same operator carries on when it is back."""
    world = StormyWorld()
    world.api.trouble = outage = Outage(world.api, first)
    asyncio.run(lived(world, name))

    assert outage.has_struck
    assert outcome(world) == UNDISTURBED[name]


@pytest.mark.parametrize("name", LIVES)
def test_watches_that_are_cut_change_no_outcome(name: str) -> None:
    """Before every piece of news the operator makes a pass on what it knew before: it trusts fresh reads where it matters."""
    world = asyncio.run(lived(StormyWorld(is_late=True), name))

    assert outcome(world) == UNDISTURBED[name]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", LIVES)
def test_two_operators_at_once_do_no_harm(name: str, seed: int) -> None:
    """Their requests interleave at random: one Job per attempt, one outcome."""
    world = TwoOperators()
    world.api.trouble = Crowd(seed)
    asyncio.run(lived(world, name))

    assert outcome(world) == UNDISTURBED[name]
    assert len(set(world.api.jobs_made)) == len(world.api.jobs_made)


VISITS = {
    Phase.PENDING: "refused",
    Phase.REJECTED: "mended",
    Phase.QUEUED: "queued",
    Phase.STARTING: "straight",
    Phase.RUNNING: "straight",
    Phase.INTERRUPTED: "interrupted",
    Phase.SUSPENDING: "suspended",
    Phase.SUSPENDED: "suspended",
    Phase.FINALIZING: "result lost",
    Phase.SUCCEEDED: "cleaned up",
    Phase.FAILED: "too late",
}


@pytest.mark.parametrize("phase", Phase)
def test_the_operator_is_killed_in_each_phase(phase: Phase) -> None:
    """Kill -9 right after the phase was first written: the next operator brings the same end."""
    world = World()
    world.api.kill_in_phase = phase.value
    asyncio.run(lived(world, VISITS[phase]))

    assert world.num_restarts == 1
    assert outcome(world) == UNDISTURBED[VISITS[phase]]


class Unlawful:
    """The operator lacks one right; the API server's own words."""

    def __init__(self, verb: str, plural: str) -> None:
        self._lacking = (verb, plural)

    async def before(self, verb: str, plural: str) -> None:
        if (verb, plural) == self._lacking:
            user = 'User "system:serviceaccount:autohas:autohas-operator"'
            text = f'{plural} is forbidden: {user} cannot {verb} resource "{plural}" in API group "" in the namespace "ml"'
            raise ForbiddenError(status=403, message=text, request=f"{verb} {plural}")

    async def after(self, verb: str, plural: str) -> None:
        """Answers arrive."""


@pytest.mark.parametrize(
    ("verb", "plural"),
    [("get", "autohassearches"), ("list", "jobs"), ("list", "pods"), ("create", "configmaps"), ("create", "jobs"), ("delete", "jobs")],
)
def test_a_right_that_the_operator_lacks_is_named_in_the_search(verb: str, plural: str) -> None:
    """Verb, resource and cure are in TrainerReady; nothing is noted as done; when the right is granted, the search goes on."""

    async def whole() -> tuple[dict[str, Any], str]:
        world = World()
        if verb == "delete":
            await start(world)
            await run(world)
            world.edit_spec(suspend=True)
        else:
            world.apply(stored_search())
        await world.operator.hear()
        world.operator.queue.add(KEY)
        world.api.trouble = Unlawful(verb, plural)
        await world.operator.work()
        said = next(c for c in world.status["conditions"] if c["type"] == "TrainerReady")
        world.api.trouble = None
        await world.wait(300)
        return said, world.status["phase"]

    said, phase = asyncio.run(whole())

    assert (said["status"], said["reason"]) == ("False", "OperatorForbidden")
    assert f"the operator may not {verb} {plural}; grant it" in said["message"]
    assert phase == ("Suspending" if verb == "delete" else "Starting")


def test_an_operator_that_may_not_write_status_harms_nothing() -> None:
    """Nothing can be said then: the Job is made once, tried again with back-off, and told when the right is there."""

    async def whole() -> World:
        world = World()
        world.apply(stored_search())
        world.api.trouble = Unlawful("update", "autohassearches")
        for _ in range(5):
            await world.wait(60)
        assert world.api.all(SEARCHES)[0]["status"] == {}
        world.api.trouble = None
        await world.wait(300)
        await run(world)
        await succeed(world)
        return world

    world = asyncio.run(whole())

    assert world.api.jobs_made == ["fashion-5ea4c400-1"]
    assert world.status["phase"] == "Succeeded"


def test_a_search_that_is_applied_again_after_its_end_makes_nothing() -> None:
    """Edits of what may change after the end, resyncs and restarts: terminal is terminal."""

    async def whole() -> World:
        world = World()
        await straight(world)
        world.edit_spec(suspend=True, failurePolicy={"backoffLimit": 0})
        await world.wait(10)
        world.operator = type(world.operator)(world.api)
        await world.wait(10)
        return world

    world = asyncio.run(whole())

    assert (world.status["phase"], world.status["observedGeneration"]) == ("Succeeded", 2)
    assert len(world.api.all(JOBS)) == 1

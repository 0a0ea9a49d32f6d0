"""Scenarios under faults of the API server: every outcome equals that of the undisturbed scenario, and no Job is created twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autohas_api.wire.status import Phase
from autohas_operator.client import JOBS, SEARCHES
from autohas_operator.errors import ForbiddenError
from autohas_operator.testing.builders import stored_search
from autohas_operator.testing.fake_cluster import FakeCluster
from autohas_operator.testing.faults import Outage, PatientCluster, RandomFaults, RandomInterleaving, TwoOperators
from autohas_operator.testing.scenarios import KEY, SCENARIOS, outcome, play, play_undisturbed, run, run_to_success, start, succeed

SEEDS = range(5)


@pytest.mark.parametrize("name", SCENARIOS)
def test_refused_and_lost_requests_change_no_outcome(name: str) -> None:
    """About every seventh request fails with 409, 429, 500 or a timeout, before or after it takes effect; five random sequences."""
    num_faults = 0
    for seed in SEEDS:
        cluster = PatientCluster()
        cluster.api.fault = faults = RandomFaults(seed)
        play(name, cluster)
        num_faults += faults.num_faults

        assert outcome(cluster) == play_undisturbed(name).outcome, seed
    assert num_faults > len(SEEDS)


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("name", ["success", "pod preempted", "result lost", "suspended", "children deleted"])
def test_an_outage_of_the_api_server_changes_no_outcome(name: str, first: int) -> None:
    """The same operator continues when the API server is back, whichever request the outage began with."""
    cluster = PatientCluster()
    cluster.api.fault = outage = Outage(cluster.api, first)
    play(name, cluster)

    assert outage.has_begun
    assert outcome(cluster) == play_undisturbed(name).outcome


@pytest.mark.parametrize("name", SCENARIOS)
def test_watches_that_are_cut_change_no_outcome(name: str) -> None:
    """Before every event of a watch the operator reconciles on its stale cache: it reads from the API server what must be current."""
    cluster = play(name, PatientCluster(is_late=True))

    assert outcome(cluster) == play_undisturbed(name).outcome


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_operators_at_once_do_no_harm(name: str, seed: int) -> None:
    """Their requests interleave at random: there is one Job per attempt and one outcome."""
    cluster = TwoOperators()
    cluster.api.fault = RandomInterleaving(seed)
    play(name, cluster)

    assert outcome(cluster) == play_undisturbed(name).outcome
    assert len(set(cluster.api.jobs_made)) == len(cluster.api.jobs_made)


VISITS = {
    Phase.PENDING: "quota exceeded",
    Phase.REJECTED: "spec corrected",
    Phase.QUEUED: "queued",
    Phase.STARTING: "success",
    Phase.RUNNING: "success",
    Phase.INTERRUPTED: "pod preempted",
    Phase.SUSPENDING: "suspended",
    Phase.SUSPENDED: "suspended",
    Phase.FINALIZING: "result lost",
    Phase.SUCCEEDED: "children deleted",
    Phase.FAILED: "start deadline exceeded",
}


@pytest.mark.parametrize("phase", Phase)
def test_the_operator_is_killed_in_each_phase(phase: Phase) -> None:
    """Kill -9 right after the phase is first written: the next operator comes to the same outcome."""
    cluster = FakeCluster()
    cluster.api.kill_in_phase = phase.value
    play(VISITS[phase], cluster)

    assert cluster.num_restarts == 1
    assert outcome(cluster) == play_undisturbed(VISITS[phase]).outcome


class MissingRight:
    """The operator lacks one right; the messages are those of the API server."""

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
    """TrainerReady names verb, resource and remedy; the phase stays where it was; when the right is granted, the search continues."""

    async def run_scenario() -> tuple[dict[str, Any], str]:
        cluster = FakeCluster()
        if verb == "delete":
            await start(cluster)
            await run(cluster)
            cluster.edit_spec(suspend=True)
        else:
            cluster.apply(stored_search())
        await cluster.operator.watch()
        cluster.operator.queue.add(KEY)
        cluster.api.fault = MissingRight(verb, plural)
        await cluster.operator.work()
        ready = next(c for c in cluster.status["conditions"] if c["type"] == "TrainerReady")
        cluster.api.fault = None
        await cluster.wait(300)
        return ready, cluster.status["phase"]

    ready, phase = asyncio.run(run_scenario())

    assert (ready["status"], ready["reason"]) == ("False", "OperatorForbidden")
    assert f"the operator may not {verb} {plural}; grant it" in ready["message"]
    assert phase == ("Suspending" if verb == "delete" else "Starting")


def test_an_operator_that_may_not_write_status_harms_nothing() -> None:
    """The Job is created once; the write is retried with back-off, and the status appears when the right is granted."""

    async def run_scenario() -> FakeCluster:
        cluster = FakeCluster()
        cluster.apply(stored_search())
        cluster.api.fault = MissingRight("update", "autohassearches")
        for _ in range(5):
            await cluster.wait(60)
        assert cluster.api.all(SEARCHES)[0]["status"] == {}
        cluster.api.fault = None
        await cluster.wait(300)
        await run(cluster)
        await succeed(cluster)
        return cluster

    cluster = asyncio.run(run_scenario())

    assert cluster.api.jobs_made == ["fashion-5ea4c400-1"]
    assert cluster.status["phase"] == "Succeeded"


def test_a_search_that_is_applied_again_after_its_end_creates_nothing() -> None:
    """Edits of fields that may change after the end, resyncs and restarts leave the phase and the Job as they are."""

    async def run_scenario() -> FakeCluster:
        cluster = FakeCluster()
        await run_to_success(cluster)
        cluster.edit_spec(suspend=True, failurePolicy={"backoffLimit": 0})
        await cluster.wait(10)
        cluster.operator = type(cluster.operator)(cluster.api)
        await cluster.wait(10)
        return cluster

    cluster = asyncio.run(run_scenario())

    assert (cluster.status["phase"], cluster.status["observedGeneration"]) == ("Succeeded", 2)
    assert len(cluster.api.all(JOBS)) == 1

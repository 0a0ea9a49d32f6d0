"""One operator for each namespace: the holder of the Lease acts; the others report it and take over when the Lease has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from autohas_operator.client import EVENTS, JOBS
from autohas_operator.cluster.leases import DURATIONS, LEASES, MAX_DURATION_S, PERIOD_S, NamespaceLeases
from autohas_operator.errors import ForbiddenError, UnreachableError
from autohas_operator.metrics import Metrics
from autohas_operator.process.server import Health
from autohas_operator.reconcile.reconciler import Reconciler
from autohas_operator.testing import builders
from autohas_operator.testing.fake_cluster import FakeApi, FakeCluster, Refusal
from autohas_operator.testing.scenarios import SEARCH

LASTS_S = DURATIONS * PERIOD_S


class Rivals:
    """Two releases and one API server; `elapsed_s` is the monotonic clock of both."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.elapsed_s = 0.0
        self.woken: list[tuple[str, str]] = []
        self.first, self.second = (self.operator(name) for name in ("a/autohas-operator", "b/autohas-operator"))

    def operator(self, identity: str, skew_s: float = 0.0) -> NamespaceLeases:
        return NamespaceLeases(
            self.api,
            Metrics(),
            identity=identity,
            namespaces=("ml",),
            in_use=lambda: (),
            wake=lambda namespace: self.woken.append((identity, namespace)),
            clock=lambda: self.api.now_s + self.elapsed_s + skew_s,
            monotonic=lambda: self.elapsed_s,
        )

    @property
    def holder(self) -> str:
        (lease,) = self.api.all(LEASES)
        return str(lease["spec"]["holderIdentity"])


def run(scenario: Callable[[Rivals], Awaitable[Any]]) -> Any:
    async def play() -> Any:
        return await scenario(Rivals())

    return asyncio.run(play())


def test_the_first_serves_and_the_second_names_it() -> None:
    """Each operator asks twice; the Lease is written once, and the second operator names its holder."""

    async def scenario(cluster: Rivals) -> None:
        answers = [await who.holds("ml") for who in (cluster.first, cluster.second, cluster.first, cluster.second)]

        assert answers == [True, False, True, False]
        assert cluster.holder == "a/autohas-operator"
        assert (cluster.first.list_taken(), cluster.second.list_taken()) == ({}, {"ml": "a/autohas-operator"})

    run(scenario)


def test_the_second_takes_over_when_the_first_is_gone() -> None:
    """It takes over when the Lease has expired and not a second earlier; then it reconciles the searches again."""

    async def scenario(cluster: Rivals) -> None:
        await cluster.first.holds("ml")
        await cluster.second.holds("ml")
        cluster.elapsed_s = LASTS_S - 1
        await cluster.second.refresh("ml")
        early = cluster.holder
        cluster.elapsed_s = LASTS_S
        await cluster.second.refresh("ml")

        assert (early, cluster.holder) == ("a/autohas-operator", "b/autohas-operator")
        assert await cluster.second.holds("ml")
        assert cluster.woken == [("b/autohas-operator", "ml")]
        assert not await cluster.first.holds("ml")  # it comes back and asks before it acts
        assert cluster.first.list_taken() == {"ml": "b/autohas-operator"}

    run(scenario)


def test_a_holder_that_renews_keeps_its_namespace() -> None:
    """An hour of renewals, each period one."""

    async def scenario(cluster: Rivals) -> None:
        for second in range(0, 3600, int(PERIOD_S)):
            cluster.elapsed_s = second
            await cluster.first.refresh("ml")
            await cluster.second.refresh("ml")

        assert cluster.holder == "a/autohas-operator"
        assert cluster.woken == []

    run(scenario)


def test_a_restart_of_the_holder_serves_at_once() -> None:
    """The holder is the release: a new pod of it does not wait for its predecessor's Lease."""

    async def scenario(cluster: Rivals) -> None:
        await cluster.first.holds("ml")
        assert await cluster.operator("a/autohas-operator").holds("ml")

    run(scenario)


def test_clocks_need_not_agree() -> None:
    """An operator whose clock is a day ahead does not take a Lease that is renewed."""

    async def scenario(cluster: Rivals) -> None:
        ahead = cluster.operator("c/autohas-operator", skew_s=86_400)
        await cluster.first.holds("ml")
        answers = []
        for second in range(0, 400, int(PERIOD_S)):
            cluster.elapsed_s = second
            await cluster.first.refresh("ml")
            await ahead.refresh("ml")
            answers.append(await ahead.holds("ml"))

        assert set(answers) == {False}

    run(scenario)


def test_of_two_that_find_it_expired_one_wins() -> None:
    """Both have read the same version: the second write is a conflict, and its author reads again."""

    async def scenario(cluster: Rivals) -> None:
        third = cluster.operator("c/autohas-operator")
        for who in (cluster.first, cluster.second, third):
            await who.holds("ml")
        cluster.elapsed_s = LASTS_S
        await asyncio.gather(cluster.second.refresh("ml"), third.refresh("ml"))

        assert sorted([await cluster.second.holds("ml"), await third.holds("ml")]) == [False, True]

    run(scenario)


@pytest.mark.parametrize("duration", [2**31 - 1, 0, -1, None])
def test_a_lease_lasts_no_longer_than_an_operator_would_ask(duration: object) -> None:
    """People with the role edit may write Leases of a namespace, of any duration: one that is not renewed ends within the hour."""

    async def scenario(cluster: Rivals) -> None:
        spec = {"holderIdentity": "absent", "leaseDurationSeconds": duration, "renewTime": "2027-01-15T08:00:00.000000Z"}
        cluster.api.add(LEASES, "ml", {"metadata": {"name": "autohas-operator"}, "spec": spec})
        at_first = await cluster.first.holds("ml")
        cluster.elapsed_s = MAX_DURATION_S
        await cluster.first.refresh("ml")

        assert (at_first, cluster.holder) == (False, "a/autohas-operator")

    run(scenario)


def test_without_the_right_to_leases_the_namespace_is_served() -> None:
    """Roles of an older chart: a warning, and everything as before."""

    async def scenario(cluster: Rivals) -> None:
        cluster.api.fault = Refusal("get", "leases", ForbiddenError(status=403, message="leases is forbidden", request="GET"))
        assert await cluster.first.holds("ml")
        assert cluster.first.list_taken() == {}

    run(scenario)


def test_a_holder_that_cannot_renew_stops_in_time() -> None:
    """When its Lease has expired by its own clock and the API server does not answer, it is not sure any more."""

    async def scenario(cluster: Rivals) -> None:
        await cluster.first.holds("ml")
        cluster.api.fault = Refusal("get", "leases", UnreachableError("no answer"))
        cluster.elapsed_s = LASTS_S - 1
        assert await cluster.first.holds("ml")
        cluster.elapsed_s = LASTS_S
        with pytest.raises(UnreachableError):
            await cluster.first.holds("ml")

    run(scenario)


def test_a_namespace_of_another_operator_is_left_alone() -> None:
    """A search appears there: no Job, no status, no event."""

    async def scenario() -> None:
        cluster = FakeCluster()
        operator = cluster.operator

        async def never(_namespace: str) -> bool:
            return False

        operator.reconciler = Reconciler(
            cluster.api,
            operator.cache,
            operator.events,
            builders.PODS,
            lambda: cluster.api.now_s,
            warning_events=operator.warning_events,
            metrics=operator.metrics,
            monotonic=lambda: cluster.api.now_s,
            may_serve=never,
        )
        cluster.apply(SEARCH)
        await cluster.settle()

        assert cluster.api.num_writes == 0
        assert cluster.status == {}
        assert (list(cluster.api.all(JOBS)), list(cluster.api.all(EVENTS))) == ([], [])

    asyncio.run(scenario())


def test_an_operator_that_may_not_serve_is_not_ready() -> None:
    """The sentence of /readyz names namespace, holder and Lease, so that `helm install --wait` fails with it in sight."""
    health = Health(lambda: 0.0)
    health.is_ready = True
    ready = health.why_not_ready()
    health.list_taken = lambda: {"ml": "a/autohas-operator"}

    assert ready is None
    assert health.why_not_ready() == "namespace ml is served by a/autohas-operator (Lease autohas-operator)"

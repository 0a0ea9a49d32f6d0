"""The cost of a namespace without quota for the others: refusals and missing pods that last for hours, on a fake cluster."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from autohas_api.wire.reasons import Reason
from autohas_api.wire.status import ConditionType
from autohas_operator.client import CONFIG_MAPS, EVENTS, JOBS, SEARCHES
from autohas_operator.errors import Blamed, Blocker, ForbiddenError, InvalidError, OperatorError
from autohas_operator.reconcile.warning_events import WarningEvents
from autohas_operator.records.observed import WarningEvent
from autohas_operator.testing import kubernetes_messages
from autohas_operator.testing.builders import NOW_S, ended_pod, observe, stored_job, stored_search
from autohas_operator.testing.decisions import SEARCH, decide
from autohas_operator.testing.fake_cluster import FakeApi, FakeCluster, Refusal
from autohas_operator.testing.scenarios import KEY, run
from autohas_operator.wording import timestamp

FORBIDDEN = ForbiddenError(status=403, message=kubernetes_messages.JOB_QUOTA, request="POST")
INVALID = InvalidError(status=422, message="spec.template: Invalid value", request="POST")


class Counting:
    """Counts requests by verb and plural, refused ones too."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()

    async def before(self, verb: str, plural: str) -> None:
        self.seen[verb, plural] += 1

    async def after(self, verb: str, plural: str) -> None:
        """An answer costs nothing."""


BLOCKERS = [
    Blocker(blamed=Blamed.TRAINER, reason=Reason.JOB_FORBIDDEN, message=kubernetes_messages.JOB_QUOTA),
    Blocker(blamed=Blamed.SPEC, reason=Reason.TEMPLATE_REJECTED, message="spec.template: Invalid value"),
]


@pytest.mark.parametrize("blocker", BLOCKERS, ids=lambda blocker: blocker.reason)
def test_what_has_been_refused_for_long_is_asked_for_ever_more_seldom(blocker: Blocker) -> None:
    """After 30 s, then after as long as it has lasted: 60, 120, 240, 480 s, and 600 s at most."""
    status, now_s, waits = decide(observe(SEARCH, blocker=blocker), at_s=NOW_S).status, NOW_S, []
    for _ in range(8):
        decided = decide(observe(SEARCH, blocker=blocker), status, at_s=now_s)
        status = decided.status
        assert decided.requeue_after_s is not None
        waits.append(decided.requeue_after_s)
        now_s += decided.requeue_after_s

    assert waits == [30, 30, 60, 120, 240, 480, 600, 600]


def test_a_search_that_is_resumed_is_tried_soon() -> None:
    """A week of suspension is no week of refusals: the first retry comes after 30 s."""
    blocker = BLOCKERS[0]
    accepted = decide(observe(SEARCH, blocker=blocker), at_s=NOW_S).status
    resting = decide(observe(stored_search(suspend=True)), accepted, at_s=NOW_S + 60).status
    resumed = decide(observe(SEARCH, blocker=blocker), resting, at_s=NOW_S + 604_800).status

    assert decide(observe(SEARCH, blocker=blocker), resumed, at_s=NOW_S + 604_801).requeue_after_s == 30


def test_the_start_deadline_does_not_wait_for_a_retry() -> None:
    """Refused for 599 s of 600: the next look is when the deadline passes."""
    search = stored_search(budget={"trainings": "4", "startDeadlineSeconds": 600})
    first = decide(observe(search, blocker=BLOCKERS[0]), at_s=NOW_S).status

    assert decide(observe(search, blocker=BLOCKERS[0]), first, at_s=NOW_S + 480).requeue_after_s == 120


@pytest.mark.parametrize(("error", "ready"), [(FORBIDDEN, "QuotaExceeded"), (INVALID, "NotAccepted")], ids=["quota", "invalid"])
def test_a_search_that_is_refused_for_an_hour_costs_a_dozen_writes(error: OperatorError, ready: str) -> None:
    """Tries at 0, 30, 60, 120, 240, 480, 960 s and four more 600 s apart; one ConfigMap, one status."""

    async def play() -> None:
        cluster, counting = FakeCluster(), Counting()
        cluster.api.refusals["jobs"] = error
        cluster.apply(SEARCH)
        cluster.api.fault = counting
        await cluster.settle()
        for _ in range(720):
            await cluster.wait(5)

        assert counting.seen["create", "jobs"] == 7 + 4
        assert counting.seen["create", "configmaps"] == 1
        assert counting.seen["update", "autohassearches"] == 1
        conditions = {c["type"]: c["reason"] for c in cluster.status["conditions"]}
        assert conditions[ConditionType.TRAINER_READY] == ready

    asyncio.run(play())


async def _stuck(cluster: FakeCluster, counting: Counting, hours: float) -> None:
    """A Job without a pod, looked after every 5 s."""
    cluster.apply(SEARCH)
    await cluster.settle()
    cluster.api.fault = counting
    for _ in range(int(hours * 720)):
        await cluster.wait(5)


def test_events_of_a_job_without_a_pod_are_listed_ever_more_seldom() -> None:
    """First after 20 s, then 60, 120, 300 s later and every 600 s: 4 in the first ten minutes, 9 in the first hour."""

    async def play() -> None:
        cluster, counting = FakeCluster(), Counting()
        await _stuck(cluster, counting, 1 / 6)
        early = counting.seen["list", "events"]
        for _ in range(600):
            await cluster.wait(5)

        assert (early, counting.seen["list", "events"]) == (4, 9)

    asyncio.run(play())


def test_a_quota_that_is_lifted_and_used_up_again_is_asked_after_at_once() -> None:
    """After an hour without a pod one comes, and is stopped: the events of the new trouble are not those of the old one."""

    async def play() -> None:
        cluster, counting = FakeCluster(), Counting()
        await _stuck(cluster, counting, 1)
        before = counting.seen["list", "events"]
        await run(cluster)
        cluster.put_pod(ended_pod(cluster.job, code=75, ended_s=cluster.api.now_s))
        await cluster.wait(1)
        stopped = counting.seen["list", "events"] - before
        await cluster.wait(30)
        overdue = counting.seen["list", "events"] - before

        assert (stopped, overdue) == (1, 2)

    asyncio.run(play())


def test_a_thousand_stuck_searches_list_as_many_events_as_the_ration_allows() -> None:
    """100 lists at once and 5 per further second; between two lists the last warning is reused."""

    async def play() -> None:
        api = FakeApi()
        counting = Counting()
        api.fault = counting
        warning_events = WarningEvents(api, lambda: api.now_s, monotonic=lambda: api.now_s)
        searches = [stored_search(f"s{n}") for n in range(1000)]
        seen = [observe(search, stored_job(search, uid=f"job-{n}")) for n, search in enumerate(searches)]
        warning = {"reason": "FailedCreate", "message": kubernetes_messages.QUOTA, "lastTimestamp": timestamp(NOW_S)}
        api.add(EVENTS, "ml", {"metadata": {"name": "e"}, "involvedObject": {"uid": "job-0"}, **warning})
        api.now_s = NOW_S + 20
        first = [await warning_events.about(view) for view in seen]
        at_once = counting.seen["list", "events"]
        api.now_s += 10
        again = [await warning_events.about(view) for view in seen]

        assert (at_once, counting.seen["list", "events"]) == (100, 150)
        assert first[0] == again[0] == WarningEvent(reason="FailedCreate", message=kubernetes_messages.QUOTA, time_s=NOW_S)

    asyncio.run(play())


def test_a_wall_clock_that_is_set_back_delays_no_look() -> None:
    """An hour passes while the clock is set back by half an hour: the operator still reads the newest warning."""

    async def play() -> None:
        api, passed_s = FakeApi(), [0.0]
        warning_events = WarningEvents(api, lambda: api.now_s, monotonic=lambda: passed_s[0])
        search = stored_search("s")
        view = observe(search, stored_job(search, uid="job"))
        about = {"involvedObject": {"uid": "job"}, "reason": "FailedCreate"}
        api.now_s = NOW_S
        api.add(EVENTS, "ml", {"metadata": {"name": "old"}, **about, "message": "old", "lastTimestamp": timestamp(NOW_S)})
        api.now_s = NOW_S + 3600
        old = await warning_events.about(view)
        api.add(EVENTS, "ml", {"metadata": {"name": "new"}, **about, "message": "new", "lastTimestamp": timestamp(NOW_S + 3600)})
        api.now_s -= 1800
        passed_s[0] += 3600
        new = await warning_events.about(view)

        assert [warning and warning.message for warning in (old, new)] == ["old", "new"]

    asyncio.run(play())


def test_what_is_remembered_goes_with_the_trouble_and_with_the_search() -> None:
    """Neither a search that gets on nor one that is deleted leaves anything behind."""

    async def play() -> None:
        cluster = FakeCluster()
        await _stuck(cluster, Counting(), 1 / 60)
        troubles = cluster.operator.warning_events._stuck_children
        stuck = len(troubles)
        await run(cluster)
        running = len(troubles)
        cluster.api.remove(JOBS, "ml", cluster.job["metadata"]["name"])
        cluster.api.remove(SEARCHES, "ml", "fashion")
        cluster.operator.queue.add(KEY)
        await cluster.settle()

        assert (stuck, running, len(troubles)) == (1, 0, 0)

    asyncio.run(play())


async def _too_late(cluster: FakeCluster) -> None:
    """No quota for the first Job before the start deadline."""
    cluster.api.refusals["jobs"] = FORBIDDEN
    cluster.apply(stored_search(budget={"trainings": "4", "startDeadlineSeconds": 600}))
    await cluster.settle()
    for _ in range(70):
        await cluster.wait(10)


def _end(cluster: FakeCluster) -> tuple[str, str]:
    succeeded = next(c for c in cluster.status["conditions"] if c["type"] == "Succeeded")
    return cluster.status["phase"], succeeded["reason"]


@pytest.mark.parametrize("kill_before", [True, False])
@pytest.mark.parametrize("kill_at", [None, *range(1, 8)])
def test_a_search_that_ends_without_a_job_leaves_no_config_map(kill_at: int | None, kill_before: bool) -> None:  # noqa: FBT001 - a case
    """Its ConfigMap was made for a Job that was never allowed; killed at any write, the next operator deletes it all the same."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.api.kill_at, cluster.api.kill_before = kill_at, kill_before
        await _too_late(cluster)
        await cluster.collect_garbage()

        assert _end(cluster) == ("Failed", "StartDeadlineExceeded")
        assert cluster.api.all(CONFIG_MAPS) == ()
        assert cluster.num_restarts == (kill_at is not None)

    asyncio.run(play())


def test_a_config_map_that_may_not_be_deleted_does_not_keep_the_search_from_its_end() -> None:
    """It goes with the search, whose it is."""

    async def play() -> None:
        cluster = FakeCluster()
        cluster.api.fault = Refusal("delete", "configmaps", FORBIDDEN)
        await _too_late(cluster)

        assert _end(cluster) == ("Failed", "StartDeadlineExceeded")
        assert len(cluster.api.all(CONFIG_MAPS)) == 1

    asyncio.run(play())

"""The counters of a search never fall, in whatever order the operator sees its pods, their reports and their termination messages."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from functools import cache
from itertools import pairwise, permutations
from typing import Any

import pytest

from autohas_api.base.digest import sha256
from autohas_api.wire.messages import CheckpointInfo
from autohas_operator.client import JOBS, PODS
from autohas_operator.cluster.cache import Cache
from autohas_operator.records.observed import Report
from autohas_operator.testing.builders import (
    NOW_S,
    condition,
    ended_pod,
    interrupted_text,
    notice,
    observe,
    report,
    running_pod,
    stored_search,
)
from autohas_operator.testing.decisions import JOB, RUNNING, SEARCH, decide
from autohas_operator.testing.documents import nth_order
from autohas_operator.testing.fake_cluster import FakeApi, FakeCluster, Operator
from autohas_operator.testing.scenarios import KEY

NUM_PODS = 3


class RecordingApi(FakeApi):
    """Keeps every status that was written."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[dict[str, Any]] = []

    async def replace_status(self, resource: Any, document: Any) -> Any:
        written = await super().replace_status(resource, document)
        self.statuses.append(copy.deepcopy(written["status"]))
        return written


class ObservedCluster(FakeCluster):
    """A cluster that keeps all statuses, all reports, and the pods as they were while they ran; `disturb` acts at each removal."""

    def __init__(self, removal_order: int, disturb: Callable[[ObservedCluster], None]) -> None:
        super().__init__()
        self.api: RecordingApi = RecordingApi()
        self.operator = Operator(self.api)
        self.removal_order = removal_order
        self.reports: list[Report] = []
        self.running_pods: list[dict[str, Any]] = []
        self.disturb = disturb

    async def _vanish(self, resource: Any, document: Any) -> None:
        self.disturb(self)
        await super()._vanish(resource, document)
        self.disturb(self)
        await self.settle()


def disturb_nothing(cluster: ObservedCluster) -> None:
    """The pods disappear, and nothing else happens."""


def restart_operator(cluster: ObservedCluster) -> None:
    """Another operator takes over, with empty caches."""
    cluster.operator = Operator(cluster.api)


def repeat_reports(cluster: ObservedCluster) -> None:
    """Every report of every trainer arrives once more, the newest first."""
    for trainer_report in reversed(cluster.reports):
        cluster.operator.report(trainer_report, KEY)


def repeat_watch_events(cluster: ObservedCluster) -> None:
    """The watch delivers the pods once more as they were while they ran."""
    for document in cluster.running_pods:
        cluster.operator.cache.put_pod(document)
    cluster.operator.queue.add(KEY)


def delay_termination_messages(cluster: ObservedCluster) -> None:
    """The kubelet delivers the trainers' termination messages, each with a checkpoint of its own, only now."""
    for pod in cluster.api.all(PODS):
        number = int(pod["metadata"]["uid"].removeprefix("pod-"))
        message = interrupted_text(
            cluster.search, pod_uid=f"pod-{number}", starts=number, step=100 * number - 50, checkpoint_digest=sha256(f"{number}")
        )
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = message
        cluster.api.touch(pod)


DISTURBANCES = (disturb_nothing, restart_operator, repeat_reports, repeat_watch_events, delay_termination_messages)


async def interrupt(cluster: ObservedCluster, number: int, *, attempt: int = 1) -> None:
    """The `number`-th trainer reports step 100 * `number` and is interrupted."""
    cluster.put_pod(running_pod(cluster.job, uid=f"pod-{number}", created_s=cluster.api.now_s))
    await cluster.wait(1)
    cluster.running_pods.append(cluster.api.all(PODS)[-1] | {})
    checkpoint = CheckpointInfo(step=100 * number, time=cluster.api.now_s, digest=sha256("checkpoint"))
    fields = {"starts": number, "interruptions": number - 1, "checkpoint": checkpoint, "percent": 10.0 * number, "step": 100 * number}
    notices = [notice(10_000 * number, "CheckpointRestored")]
    cluster.reports.append(
        report(
            cluster.search,
            at_s=cluster.api.now_s,
            pod_uid=f"pod-{number}",
            attempt=attempt,
            notices=notices,
            active_seconds=60.0 * number,
            **fields,
        )
    )
    cluster.operator.report(cluster.reports[-1], KEY)
    await cluster.wait(20)
    cluster.put_pod(ended_pod(cluster.job, code=75, uid=f"pod-{number}", created_s=cluster.api.now_s - 21, ended_s=cluster.api.now_s))
    await cluster.wait(1)


async def interrupt_four_times(cluster: ObservedCluster) -> None:
    """Three interruptions, after which the operator replaces the Job; its pods disappear one by one; a fourth interruption."""
    cluster.apply(stored_search(failurePolicy={"maxInterruptions": 4}))
    await cluster.settle()
    for number in range(1, NUM_PODS + 1):
        await interrupt(cluster, number)
    await cluster.collect_garbage()
    await cluster.wait(6)
    await interrupt(cluster, NUM_PODS + 1, attempt=2)


@cache
def play_interruptions(removal_order: int, disturb: Callable[[ObservedCluster], None]) -> ObservedCluster:
    """The cluster after four interruptions; played once for all tests that read it."""
    cluster = ObservedCluster(removal_order, disturb)
    asyncio.run(interrupt_four_times(cluster))
    return cluster


def counts(status: dict[str, Any]) -> dict[str, int]:
    """Everything in status that only grows."""
    names = ("attempt", "starts", "interruptions", "lastNotice")
    return {name: status.get(name, 0) for name in names} | {"step": status.get("checkpoint", {}).get("step", 0)}


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda disturb: disturb.__name__)
@pytest.mark.parametrize("removal_order", range(6))
def test_no_order_of_what_is_seen_takes_anything_back(removal_order: int, disturb: Callable[[ObservedCluster], None]) -> None:
    """Four interruptions are four, in every order of removal; with maxInterruptions 4 the search is not Failed."""
    cluster = play_interruptions(removal_order, disturb)
    history = [counts(status) for status in cluster.api.statuses]
    falls = [(name, one[name], two[name]) for one, two in pairwise(history) for name in one if two[name] < one[name]]

    assert falls == []
    assert cluster.status["phase"] == "Interrupted"
    assert history[-1] == {"attempt": 2, "starts": 4, "interruptions": 4, "lastNotice": 40_000, "step": 400}
    assert cluster.status["progress"] == "40%"


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda disturb: disturb.__name__)
@pytest.mark.parametrize("removal_order", range(6))
def test_progress_stays_that_of_the_newest_trainer_while_its_job_ends(
    removal_order: int, disturb: Callable[[ObservedCluster], None]
) -> None:
    """Between the third interruption and the next trainer it stays at 30 %."""
    cluster = play_interruptions(removal_order, disturb)
    shown = [status["progress"] for status in cluster.api.statuses if "progress" in status]

    assert shown == sorted(shown)


def test_answers_of_one_trainer_that_arrive_in_the_wrong_order_leave_the_later_one() -> None:
    """Of two polls at once the earlier answer arrives second: the cache drops it and queues no search."""
    cache = Cache()
    cache.put_pod(running_pod(JOB))
    late, early = (report(SEARCH, active_seconds=seconds, percent=percent) for seconds, percent in ((70.0, 50.0), (60.0, 42.0)))

    assert (cache.put_report(late), cache.put_report(early)) == (True, False)
    assert cache.reports == {"pod-1": late}


def test_an_answer_of_a_pod_that_others_followed_is_history() -> None:
    """Once the successor has reported, the cache drops late reports, also after the successor is gone."""
    cache = Cache()
    first, second = (running_pod(JOB, uid=f"pod-{number}", created_s=NOW_S + number) for number in (1, 2))
    cache.put_pod(first)
    cache.put_report(report(SEARCH))
    cache.put_pod(second)
    cache.put_report(report(SEARCH, pod_uid="pod-2", starts=2))
    cache.forget(second)

    assert cache.put_report(report(SEARCH)) is False
    assert cache.reports == {}


BEFORE = RUNNING.replace(starts=3, last_notice=30_004)


def test_a_trainer_on_a_claim_that_was_emptied_is_counted_on() -> None:
    """The trainer counts itself as the first, but its pod is newer than the last report: it is the fourth start, with new notices."""
    pod = running_pod(JOB, uid="pod-4", created_s=NOW_S + 60)
    last_report = report(SEARCH, at_s=NOW_S + 90, pod_uid="pod-4", notices=[notice(10_000, "UpdateRejected")])
    seen = decide(observe(SEARCH, JOB, pod, report=last_report), BEFORE, at_s=NOW_S + 90)

    assert (seen.status.starts, seen.status.last_notice) == (4, 40_000)
    assert [a.reason for a in seen.announcements] == ["UpdateRejected"]


@pytest.mark.parametrize("pods", [("pod-1",), ("pod-1", "pod-4")], ids=["ended", "followed"])
def test_the_report_of_a_trainer_before_the_last_one_is_not_taken(pods: tuple[str, ...]) -> None:
    """A restarted operator reads the first trainer, which has ended or was followed: progress, starts and notices stay."""
    ended = [ended_pod(JOB, code=75, uid="pod-1", ended_s=NOW_S)]
    later = [running_pod(JOB, uid=uid, created_s=NOW_S + 60) for uid in pods[1:]]
    last_report = report(SEARCH, at_s=NOW_S + 90, percent=99.0, notices=[notice(10_000, "UpdateRejected")])
    seen = decide(observe(SEARCH, JOB, *ended, *later, report=last_report), BEFORE, at_s=NOW_S + 90)

    assert (seen.status.starts, seen.status.last_notice, seen.status.progress) == (3, 30_004, "42%")
    assert "UpdateRejected" not in [a.reason for a in seen.announcements]


GONE_BACK = CheckpointInfo(step=200, time=NOW_S + 80, digest=sha256("back"))
OUTDATED = CheckpointInfo(step=200, time=NOW_S - 80, digest=sha256("old"))


@pytest.mark.parametrize(("checkpoint", "step"), [(GONE_BACK, 200), (OUTDATED, 400)], ids=["written later", "written before"])
def test_a_checkpoint_of_a_lower_step_counts_only_when_it_is_younger(checkpoint: CheckpointInfo, step: int) -> None:
    """A trainer that could not read step 400 restored an older one and writes from there; an older report says nothing new."""
    last_report = report(SEARCH, at_s=NOW_S + 90, checkpoint=checkpoint)
    after = decide(observe(SEARCH, JOB, running_pod(JOB), report=last_report), RUNNING, at_s=NOW_S + 90).status.checkpoint

    assert after is not None
    assert after.step == step


def test_the_orders_of_removal_are_all_orders() -> None:
    """The fake cluster can remove three pods in each of the six orders."""
    assert [tuple(nth_order((1, 2, 3), number)) for number in range(6)] == list(permutations((1, 2, 3)))
    assert nth_order((1, 2, 3), -1) == [3, 2, 1]


EXHAUSTED = condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
REBOOT, RESTART, CRASH, EVICTION = (255, "Unknown"), (137, "ContainerStatusUnknown"), (1, "Error"), (75, "Error")
END_ORDERS = [order for order in permutations((REBOOT, RESTART, CRASH, EVICTION)) if order[-1] != EVICTION]
"""Two lost pods, a failure and an interruption; with backoffLimit 2 the Job gives up after the last one that it counts."""


async def end_next(cluster: ObservedCluster, number: int, code: int, reason: str) -> None:
    """The `number`-th trainer reports and ends; no checkpoint of it is known, so that its Job is not renewed."""
    cluster.put_pod(running_pod(cluster.job, uid=f"pod-{number}", created_s=cluster.api.now_s))
    await cluster.settle()
    heard = {"starts": number, "checkpoint": None, "active_seconds": 60.0 * number}
    cluster.operator.report(report(cluster.search, at_s=cluster.api.now_s, pod_uid=f"pod-{number}", **heard), KEY)
    await cluster.wait(20)
    created_s = cluster.api.now_s - 20
    cluster.put_pod(ended_pod(cluster.job, code=code, reason=reason, uid=f"pod-{number}", created_s=created_s, ended_s=cluster.api.now_s))
    await cluster.settle()


async def set_job(cluster: ObservedCluster, **status: Any) -> None:
    """The Job controller writes the status of the Job."""
    metadata = cluster.job["metadata"]
    cluster.api.edit(JOBS, metadata["namespace"], metadata["name"], status=status)
    await cluster.settle()


async def vanish(cluster: ObservedCluster, *uids: str) -> None:
    """These pods are collected, the oldest first."""
    for pod in cluster.api.all(PODS):
        if pod["metadata"]["uid"] in uids:
            await cluster._vanish(PODS, pod)


async def lose(cluster: ObservedCluster, order: tuple[tuple[int, str], ...], *, are_all_collected: bool) -> None:
    """Trainers end in this order, and their pods go: each lost one before its count is seen, or all of them after the last count."""
    cluster.apply(stored_search(failurePolicy={"backoffLimit": 2}))
    await cluster.settle()
    num_failed = 0
    for number, end in enumerate(order, start=1):
        await end_next(cluster, number, *end)
        num_failed += end != EVICTION
        if end in (REBOOT, RESTART) and not are_all_collected:
            await vanish(cluster, f"pod-{number}")
        await set_job(cluster, failed=num_failed)
    if are_all_collected:
        await vanish(cluster, *(f"pod-{number}" for number in range(1, len(order) + 1)))
    await set_job(cluster, failed=num_failed, conditions=[EXHAUSTED])


@pytest.mark.parametrize("disturb", [disturb_nothing, restart_operator], ids=lambda disturb: disturb.__name__)
@pytest.mark.parametrize("collected", ["lost pods", "all pods"])
@pytest.mark.parametrize("order", END_ORDERS, ids=lambda order: "-".join(str(code) for code, _ in order))
def test_lost_pods_stay_interruptions_when_their_node_is_deleted(
    order: tuple[tuple[int, str], ...], collected: str, disturb: Callable[[ObservedCluster], None]
) -> None:
    """Of three ends that the Job counts two were lost: it is replaced, one failure is carried over, and all three interruptions count."""
    cluster = ObservedCluster(0, disturb)
    asyncio.run(lose(cluster, order, are_all_collected=collected == "all pods"))
    counted = {name: cluster.status.get(name) for name in ("starts", "interruptions", "failures")}
    phase, is_replaced = cluster.status["phase"], "deletionTimestamp" in cluster.job["metadata"]
    asyncio.run(cluster.collect_garbage())
    asyncio.run(cluster.wait(6))

    assert (counted, phase, is_replaced) == ({"starts": 4, "interruptions": 3, "failures": 1}, "Interrupted", True)
    assert (cluster.status["attempt"], cluster.job["spec"]["backoffLimit"]) == (2, 1)
    assert "lostPods" not in cluster.status

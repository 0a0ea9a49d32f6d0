"""Reports against clocks that disagree and numbers that grow too large: progress is written, and the end always is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from autohas_api.wire.messages import NOTICES_PER_RUN, NOTICES_PER_START
from autohas_api.wire.status import Status
from autohas_operator.decide.reports import write_due_in_s
from autohas_operator.errors import ForbiddenError, InvalidError
from autohas_operator.testing.builders import NOW_S, notice, observe, report, running_pod, stored_job, stored_search
from autohas_operator.testing.decisions import JOB, POD, RUNNING, SEARCH, decide
from autohas_operator.testing.fake_cluster import FakeApi, FakeCluster, Operator
from autohas_operator.testing.scenarios import KEY, run, start, succeed
from autohas_operator.wording import timestamp

GREATEST = 2**53 - 1
"""The CRD's maximum of status.lastNotice."""


@pytest.mark.parametrize(("age_s", "due_s"), [(0, 15), (5, 10), (15, 0), (600, 0), (-1, 0), (-600, 0)])
def test_progress_waits_for_no_time_that_another_clock_wrote(age_s: float, due_s: float) -> None:
    """The operator moved here from a node whose clock is ten minutes ahead: the next report is written at once, then every 15 s."""
    assert write_due_in_s(Status(last_report_time=timestamp(NOW_S)), NOW_S + age_s) == due_s


def test_progress_continues_after_a_move_to_a_slower_clock() -> None:
    """One write adopts the new clock's time; the next one waits for its 15 s again."""
    before = RUNNING.replace(last_report_time=timestamp(NOW_S + 600))
    first = decide(observe(SEARCH, JOB, POD, report=report(SEARCH, at_s=NOW_S + 5, percent=50.0)), before, at_s=NOW_S + 5).status
    soon = decide(observe(SEARCH, JOB, POD, report=report(SEARCH, at_s=NOW_S + 10, percent=51.0)), first, at_s=NOW_S + 10)

    assert (first.progress, first.last_report_time) == ("50%", timestamp(NOW_S + 5))
    assert (soon.status.progress, soon.requeue_after_s) == ("50%", 10)


def test_the_run_of_a_comparison_is_progress() -> None:
    """It is written with the rest of the progress, every 15 s; a search of its own has none."""

    def at(seconds: float, run: int, previous: Status) -> Status:
        answer = report(SEARCH, at_s=NOW_S + seconds, run=run, runs=20)
        return decide(observe(SEARCH, JOB, POD, report=answer), previous, at_s=NOW_S + seconds).status

    before = at(20, 3, RUNNING)
    soon, later = at(25, 4, before), at(35, 4, before)

    assert (before.run, soon.run, later.run) == ("3/20", "3/20", "4/20")
    assert decide(observe(SEARCH, JOB, POD, report=report(SEARCH)), RUNNING).status.run is None


def test_the_best_score_of_a_run_is_not_that_of_the_run_before() -> None:
    """Until the fourth run has a leader there is none; within a run a report without one takes nothing away."""

    def at(seconds: float, run: int, previous: Status, best: float | None) -> Status:
        answer = report(SEARCH, at_s=NOW_S + seconds, run=run, runs=20, best=best)
        return decide(observe(SEARCH, JOB, POD, report=answer), previous, at_s=NOW_S + seconds).status

    third = at(20, 3, RUNNING, 0.75)
    same, fourth = at(40, 3, third, None), at(40, 4, third, None)

    assert (third.best, same.best, fourth.best) == ("0.75", "0.75", None)


def test_notices_of_a_comparison_that_began_again_are_new() -> None:
    """A second pod on its own disk begins with run 1, after notices of run 3: its ids are above theirs."""
    search, job = stored_search(durable=False), stored_job(stored_search(durable=False))
    earlier = 3 * NOTICES_PER_RUN + NOTICES_PER_START + 2
    before = Status(starts=1, run="3/4", last_notice=earlier, last_report_time=timestamp(NOW_S))
    first = notice(NOTICES_PER_RUN + NOTICES_PER_START + 1, "SupernetDiverged")
    answer = report(search, at_s=NOW_S + 200, pod_uid="pod-2", run=1, runs=4, notices=[first])
    status = decide(
        observe(search, job, running_pod(job, uid="pod-2", created_s=NOW_S + 100), report=answer), before, at_s=NOW_S + 201
    ).status

    assert status.last_notice is not None
    assert status.last_notice > earlier


def test_a_notice_number_never_outgrows_what_status_may_hold() -> None:
    """The third start on a pod's own disk sends a notice with the maximum id, which stays the maximum."""
    search, job = stored_search(durable=False), stored_job(stored_search(durable=False))
    before = Status(starts=2, last_report_time=timestamp(NOW_S))
    answer = report(search, at_s=NOW_S + 200, pod_uid="pod-3", notices=[notice(GREATEST, "SupernetDiverged")])
    status = decide(
        observe(search, job, running_pod(job, uid="pod-3", created_s=NOW_S + 100), report=answer), before, at_s=NOW_S + 201
    ).status

    assert (status.starts, status.last_notice) == (3, GREATEST)


class Strict(FakeApi):
    """Enforces one rule of a schema: no checkpoint beyond step 1000."""

    async def replace_status(self, resource: Any, document: Any) -> Any:
        if document["status"].get("checkpoint", {}).get("step", 0) > 1000:
            raise InvalidError(status=422, message="status.checkpoint.step: Invalid value", request="PUT")
        return await super().replace_status(resource, document)


def test_a_report_that_does_not_fit_into_status_keeps_no_end_from_being_stored() -> None:
    """The result is written without the report that does not fit; the log has one line about it."""

    async def play() -> FakeCluster:
        cluster = FakeCluster()
        cluster.api = Strict()
        cluster.operator = Operator(cluster.api)
        await start(cluster)
        await run(cluster)
        explanation = report(SEARCH, at_s=cluster.api.now_s + 20).progress
        assert explanation is not None
        assert explanation.checkpoint is not None
        far = explanation.replace(checkpoint=explanation.checkpoint.replace(step=1001), percent=99.0)
        for _ in range(3):
            cluster.api.now_s += 20
            cluster.operator.report(replace(report(SEARCH, at_s=cluster.api.now_s), progress=far), KEY)
            await cluster.settle()
        await succeed(cluster)
        return cluster

    with capture_logs() as lines:
        cluster = asyncio.run(play())
    assert cluster.status["phase"] == "Succeeded"
    assert cluster.status["result"]["scores"]["test"] == "0.93"
    assert cluster.status["checkpoint"]["step"] == 400
    assert cluster.operator.queue.num_failing == 0
    assert [line["event"] for line in lines].count("report rejected") == 1


def test_a_blocker_that_a_condition_names_is_counted() -> None:
    """The pass succeeds, because a condition names the blocker; the counter counts it all the same."""

    async def play() -> str:
        cluster = FakeCluster()
        cluster.api.refusals["jobs"] = ForbiddenError(status=403, message="exceeded quota", request="POST")
        await start(cluster)
        return cluster.operator.metrics.render().decode()

    assert 'autohas_reconcile_blocked_total{reason="QuotaExceeded"} 1.0' in asyncio.run(play())

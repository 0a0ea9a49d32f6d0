"""Malformed objects that any user may write: the operator continues with all other objects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from autohas_api.testing.rejections import with_change
from autohas_operator.client import JOBS, PODS, SEARCHES
from autohas_operator.cluster.cache import Cache
from autohas_operator.cluster.informer import Informer
from autohas_operator.cluster.resync import Resync, refill
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Key, job_record, pod_record, search_record
from autohas_operator.testing.builders import NOW_S, condition, ended_pod, running_pod, stored_job, stored_search
from autohas_operator.testing.fake_cluster import FakeApi
from autohas_operator.wording import epoch

SEARCH = stored_search()
JOB = stored_job(SEARCH, conditions=[condition("Complete")])
POD = running_pod(JOB)
ODD: tuple[Any, ...] = (None, "x", "", 7, True, [], {}, [None], ["x"], [{}], {"x": None})
ANNOTATIONS = ("touched-at", "spec-hash", "starts-before", "step-before", "interruptions-before", "paused")


@pytest.mark.parametrize(
    "text",
    ["x", "", "2027-01-15", "2027-01-15T08:00:00", "99999-01-01T00:00:00Z", "2027-13-45T99:00:00Z", "\u0660", "9" * 5000, 7, {}],
)
def test_what_is_no_time_counts_as_none(text: object) -> None:
    """A time of the API says its zone."""
    assert epoch(text) is None


@pytest.mark.parametrize("word", ["x", "-1", "1e9", "9" * 5000, "\u0663", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
@pytest.mark.parametrize("name", ANNOTATIONS)
def test_any_annotation_can_be_read(name: str, word: str) -> None:
    """People annotate Jobs and searches; what the operator cannot use counts as absent or 0."""
    hostile = {f"autohas.dev/{name}": word}
    job = job_record(with_change(JOB, "metadata.annotations", hostile))

    assert job is not None
    assert (job.starts_before, job.step_before, job.interruptions_before) == (0, 0, 0)
    assert search_record(with_change(SEARCH, "metadata.annotations", hostile)).is_paused == (name == "paused")


@pytest.mark.parametrize("document", [SEARCH, JOB, POD, ended_pod(JOB, code=0)], ids=["search", "job", "pod", "ended pod"])
def test_any_part_may_be_missing_or_odd(document: dict[str, Any]) -> None:
    """Every part of an object but its name in turn is gone, null, or something else; the record is made, or the object is not ours."""
    tried = 0
    for path in paths(document):
        for odd in (..., *ODD):
            broken = replace_at(document, path, odd)
            record = {"searches": search_record, "jobs": job_record, "pods": pod_record}[kind_of(document)](broken)
            assert record is None or record.uid == document["metadata"]["uid"]
            tried += 1

    assert tried > 100


def kind_of(document: dict[str, Any]) -> str:
    return {"AutoHASSearch": "searches", "Job": "jobs"}.get(document.get("kind", ""), "pods")


IDENTITY = {("metadata",), ("kind",), ("apiVersion",), *(("metadata", name) for name in ("name", "namespace", "uid"))}
"""What the API server vouches for."""


def paths(document: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something that may be broken."""
    items = document.items() if isinstance(document, dict) else list(enumerate(document)) if isinstance(document, list) else ()
    found = [(*prefix, name) for name, _ in items]
    deeper = [path for name, part in items for path in paths(part, (*prefix, name))]
    return [path for path in found if path not in IDENTITY] + deeper


def replace_at(document: Any, path: tuple[Any, ...], odd: object) -> Any:
    """A copy with one part replaced; `...` takes it away."""
    copy = dict(document) if isinstance(document, dict) else list(document)
    name, *rest = path
    if rest:
        copy[name] = replace_at(copy[name], tuple(rest), odd)
    elif odd is ...:
        del copy[name]
    else:
        copy[name] = odd
    return copy


def test_one_object_that_cannot_be_read_costs_nobody_else_anything() -> None:
    """At a start and a resync the operator logs and counts the object, and serves the other search."""

    async def scenario() -> tuple[Cache, str]:
        api, cache, metrics = FakeApi(), Cache(), Metrics()
        api.add(SEARCHES, "ml", with_change(SEARCH, "metadata", {**SEARCH["metadata"], "name": "odd", "uid": "odd"}))
        del api.objects["autohassearches", "ml", "odd"]["metadata"]["name"]  # the API server would not; another bug may
        api.add(SEARCHES, "ml", SEARCH)
        api.add(JOBS, "ml", with_change(JOB, "metadata.annotations", {"autohas.dev/touched-at": "x"}))
        api.add(PODS, "ml", POD)
        queue: WorkQueue[Key] = WorkQueue(lambda: 0.0, lambda: 0.5)
        informer = Informer(cache, queue.add, metrics)
        await refill(api, informer, ())
        await Resync(api, informer, queue, namespaces=(), period_s=600, rng=lambda: 0.5, monotonic=lambda: 0.0).round()
        return cache, metrics.render().decode()

    with capture_logs() as lines:
        cache, metrics = asyncio.run(scenario())
    observed = cache.observe(Key("ml", "fashion"))

    assert observed is not None
    assert [job.touched_s for job in observed.jobs] == [None]
    assert len(observed.pods) == 1
    assert 'autohas_objects_unreadable_total{resource="autohassearches"} 2.0' in metrics
    assert {(line["event"], line["resource"]) for line in lines} == {("object unreadable", "autohassearches")}


def test_resync_survives_a_bug() -> None:
    """Whatever a round raises, the next one comes; failures are counted."""
    third = asyncio.Event()

    class Broken(FakeApi):
        rounds = 0

        def pages(self, *_: Any, **__: Any) -> Any:
            self.rounds += 1
            if self.rounds == 3:
                third.set()
            raise ZeroDivisionError

    async def scenario() -> str:
        api, metrics = Broken(), Metrics()
        queue: WorkQueue[Key] = WorkQueue(lambda: NOW_S, lambda: 0.5)
        resync = Resync(
            api, Informer(Cache(), queue.add, metrics), queue, namespaces=(), period_s=0, rng=lambda: 0.5, monotonic=lambda: 0.0
        )
        loop = asyncio.create_task(resync.run())
        async with asyncio.timeout(5):
            await third.wait()
        loop.cancel()
        return metrics.render().decode()

    assert "autohas_resync_failures_total 3.0" in asyncio.run(scenario())

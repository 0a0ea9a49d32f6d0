"""The cache: versions never decrease, lists repair what watches missed, and the operator's own writes queue no search."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autohas_api.testing.rejections import with_change
from autohas_operator.client import JOBS, PODS, SEARCHES
from autohas_operator.cluster.cache import MAX_GONE, Cache
from autohas_operator.cluster.informer import Informer
from autohas_operator.cluster.resync import Resync, refill
from autohas_operator.cluster.workqueue import WorkQueue
from autohas_operator.errors import UnreachableError
from autohas_operator.metrics import Metrics
from autohas_operator.records.observed import Key
from autohas_operator.testing.builders import report, running_pod, stored_job, stored_search
from autohas_operator.testing.fake_cluster import FakeApi

KEY = Key("ml", "fashion")
SEARCH = stored_search()
JOB = stored_job(SEARCH)
POD = running_pod(JOB)


def at(document: dict[str, Any], version: int) -> dict[str, Any]:
    return with_change(document, "metadata.resourceVersion", str(version))


def resync(api: FakeApi, informer: Informer, queue: WorkQueue[Key]) -> Resync:
    return Resync(api, informer, queue, namespaces=(), period_s=600, rng=lambda: 0.5, monotonic=lambda: 0.0)


def test_an_older_event_never_replaces_a_newer_record() -> None:
    """A watch that lags behind our own write is dropped."""
    cache = Cache()
    cache.put_job(at(with_change(JOB, "status", {"failed": 2}), 20))

    assert cache.put_job(at(JOB, 9)) is None
    assert next(iter(cache.jobs.values())).num_failed == 2


def test_a_slow_answer_does_not_bring_back_what_is_gone() -> None:
    """The read began before the deletion was seen; a uid never comes again."""
    cache = Cache()
    cache.put_job(at(JOB, 5))
    cache.forget(at(JOB, 6))

    assert cache.put_job(at(JOB, 5)) is None
    assert list(cache.jobs) == []


def test_only_the_newest_deletions_are_remembered() -> None:
    """Memory is bounded: after 20,000 more the first one is forgotten."""
    cache = Cache()
    cache.forget(JOB)
    for number in range(MAX_GONE):
        cache.jobs.forget(f"other-{number}")

    assert cache.put_job(JOB) == KEY


def test_our_own_status_writes_wake_nobody() -> None:
    """A search is worth a look when its spec, generation or deletion changes, not when its status does."""
    cache = Cache()

    assert cache.put_search(at(SEARCH, 1)) == KEY
    assert cache.put_search(at({**SEARCH, "status": {"phase": "Running"}}, 2)) is None
    assert cache.put_search(at(with_change(SEARCH, "metadata.generation", 2), 3)) == KEY
    assert cache.put_search(at(with_change(SEARCH, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z"), 4)) == KEY


def test_children_find_their_search_by_label_and_foreign_objects_do_not() -> None:
    """Objects without our labels are not remembered."""
    cache = Cache()

    assert cache.put_job(JOB) == KEY
    assert cache.put_pod(POD) == KEY
    assert cache.put_pod(with_change(POD, "metadata.labels", {})) is None
    assert cache.put_job(with_change(JOB, "metadata.labels", {"autohas.dev/search": "fashion"})) is None


def test_a_deleted_pod_takes_its_report_along() -> None:
    """Memory follows the cluster."""
    cache = Cache()
    cache.put_search(SEARCH)
    cache.put_pod(POD)
    cache.reports["pod-1"] = report(SEARCH)

    assert cache.forget(POD) == KEY
    assert cache.reports == {}
    assert cache.forget(POD) is None


def test_a_search_made_again_replaces_the_one_of_its_name() -> None:
    """The deletion was missed; the new uid is the search now."""
    cache = Cache()
    cache.put_search(at(SEARCH, 1))
    cache.put_search(at(with_change(SEARCH, "metadata.uid", "new"), 2))
    record = cache.search(KEY)

    assert record is not None
    assert record.uid == "new"
    assert len(cache.searches) == 1


def test_a_late_event_of_the_old_search_does_not_evict_the_new_one() -> None:
    """Deleted and recreated in a gap of the watch: the list delivers the new search before the watch delivers events of the old one."""
    cache = Cache()
    cache.put_search(at(with_change(SEARCH, "metadata.uid", "new"), 30))

    assert cache.put_search(at(SEARCH, 10)) is None
    assert cache.forget(at(SEARCH, 20)) is None
    assert cache.put_search(at(with_change(SEARCH, "metadata.uid", "new"), 31)) is None
    assert [record.uid for record in cache.searches.values()] == ["new"]


def test_searches_without_a_readable_version_are_ordered_by_their_creation() -> None:
    """A version that is no number orders nothing and harms nothing."""
    cache = Cache()
    for uid, second in (("new", 2), ("old", 1)):
        search = with_change(with_change(SEARCH, "metadata.uid", uid), "metadata.creationTimestamp", f"2027-01-15T08:00:0{second}Z")
        cache.put_search(with_change(search, "metadata.resourceVersion", "\u00b2"))

    assert [record.uid for record in cache.searches.values()] == ["new"]


def test_a_pod_that_is_given_to_another_search_leaves_its_own() -> None:
    """`kubectl label --overwrite`: each search is shown what has its name now, also after the pod has gone."""
    cache = Cache()
    cache.put_search(SEARCH)
    cache.put_pod(at(POD, 1))
    moved = at(with_change(POD, "metadata.labels", {**POD["metadata"]["labels"], "autohas.dev/search": "quarantine"}), 2)
    cache.put_pod(moved)
    observed = cache.observe(KEY)
    elsewhere = [pod.uid for pod in cache.pods.of(Key("ml", "quarantine"))]
    cache.forget(at(moved, 3))

    assert observed is not None
    assert (observed.pods, elsewhere) == ((), ["pod-1"])
    assert cache.observe(KEY) is not None
    assert cache.pods.by_key == {}


def test_a_job_stays_with_the_search_that_owns_it() -> None:
    """Every user who may edit labels can change them; the owner reference counts."""
    cache = Cache()
    labels = {**JOB["metadata"]["labels"], "autohas.dev/search": "quarantine"}

    assert cache.put_job(with_change(JOB, "metadata.labels", labels)) == KEY


def test_a_child_that_loses_its_labels_goes_and_may_come_again() -> None:
    """A watch that selects by label says DELETED when the label goes, and ADDED, of the same uid, when it is put back."""
    cache = Cache()
    cache.put_job(at(JOB, 1))
    cache.forget(at(with_change(JOB, "metadata.labels", {}), 2))
    slow = cache.put_job(at(JOB, 1))
    cache.put_pod(at(POD, 1))

    assert (slow, cache.put_job(at(JOB, 3))) == (None, KEY)
    assert cache.put_pod(at(with_change(POD, "metadata.labels", {}), 2)) == KEY
    assert list(cache.pods) == []


def test_a_list_that_breaks_off_wakes_whom_it_has_changed() -> None:
    """The page of pods fails: the new search is queued all the same, once now and once within the period."""

    class NoPods(FakeApi):
        def pages(self, resource: Any, namespace: Any, **selectors: Any) -> Any:
            if resource is PODS:
                raise UnreachableError("GET pods: timeout")
            return super().pages(resource, namespace, **selectors)

    async def scenario() -> None:
        api, cache = NoPods(), Cache()
        queue: WorkQueue[Key] = WorkQueue(lambda: 0.0, lambda: 0.5)
        api.add(SEARCHES, "ml", SEARCH)
        with pytest.raises(UnreachableError):
            await resync(api, Informer(cache, queue.add, Metrics()), queue).round()

        assert queue.pop() == KEY
        assert queue.num_delayed == 1

    asyncio.run(scenario())


def test_a_list_drops_what_is_gone_and_keeps_what_is_younger() -> None:
    """Deleted while the watch was down, against created after the list."""
    cache = Cache()
    cache.put_job(at(JOB, 5))
    cache.put_job(at(stored_job(SEARCH, 2), 50))

    dropped = cache.forget_unlisted(cache.jobs, set(), 10)

    assert dropped == {KEY}
    assert list(cache.jobs) == ["job-2"]


def test_a_resync_round_heals_and_hands_out_every_key() -> None:
    """A Job that vanished unnoticed is queued at once, everything else within the period."""

    async def scenario() -> None:
        api, cache = FakeApi(), Cache()
        queue: WorkQueue[Key] = WorkQueue(lambda: 0.0, lambda: 0.5)
        for name in ("fashion", "other"):
            api.add(SEARCHES, "ml", with_change(stored_search(name), "metadata.uid", name))
        api.add(JOBS, "ml", JOB)
        await refill(api, Informer(cache, lambda _: None, Metrics()), ())
        api.remove(JOBS, "ml", JOB["metadata"]["name"])
        await resync(api, Informer(cache, queue.add, Metrics()), queue).round()

        assert queue.pop() == KEY
        assert queue.pop() is None
        assert queue.num_delayed == 2
        assert list(cache.jobs) == []

    asyncio.run(scenario())


def test_only_served_namespaces_are_listed() -> None:
    """With watchNamespaces nothing else is looked at."""

    async def scenario() -> None:
        api, cache = FakeApi(), Cache()
        for namespace in ("ml", "secret"):
            api.add(SEARCHES, namespace, with_change(SEARCH, "metadata.uid", namespace))
        await refill(api, Informer(cache, lambda _: None, Metrics()), ("ml",))

        assert list(cache.all_keys()) == [KEY]

    asyncio.run(scenario())

"""The cache: versions never go back, lists heal what watches missed, our own writes wake nobody."""

from __future__ import annotations

import asyncio
from typing import Any

from autohas_api.testing import changed
from autohas_operator.cache import MAX_GONE, Cache
from autohas_operator.client import JOBS, SEARCHES
from autohas_operator.observe import Key
from autohas_operator.resync import Resync, refill
from autohas_operator.testing.builders import report, running_pod, stored_job, stored_search
from autohas_operator.testing.world import FakeApi
from autohas_operator.workqueue import WorkQueue

KEY = Key("ml", "fashion")
SEARCH = stored_search()
JOB = stored_job(SEARCH)
POD = running_pod(JOB)


def at(document: dict[str, Any], version: int) -> dict[str, Any]:
    return changed(document, "metadata.resourceVersion", str(version))


def test_an_older_event_never_replaces_a_newer_record() -> None:
    """A watch that lags behind our own write is dropped."""
    cache = Cache()
    cache.put_job(at(changed(JOB, "status", {"failed": 2}), 20))

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
    assert cache.put_search(at(changed(SEARCH, "metadata.generation", 2), 3)) == KEY
    assert cache.put_search(at(changed(SEARCH, "metadata.deletionTimestamp", "2027-01-15T08:00:00Z"), 4)) == KEY


def test_children_find_their_search_by_label_and_foreign_objects_do_not() -> None:
    """Objects without our labels are not remembered."""
    cache = Cache()

    assert cache.put_job(JOB) == KEY
    assert cache.put_pod(POD) == KEY
    assert cache.put_pod(changed(POD, "metadata.labels", {})) is None
    assert cache.put_job(changed(JOB, "metadata.labels", {"autohas.dev/search": "fashion"})) is None


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
    cache.put_search(at(changed(SEARCH, "metadata.uid", "new"), 2))
    record = cache.search(KEY)

    assert record is not None
    assert record.uid == "new"
    assert len(cache.searches) == 1


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
            api.add(SEARCHES, "ml", changed(stored_search(name), "metadata.uid", name))
        api.add(JOBS, "ml", JOB)
        await refill(api, cache, ())
        api.remove(JOBS, "ml", JOB["metadata"]["name"])
        await Resync(api, cache, queue, namespaces=(), period_s=600, dice=lambda: 0.5).round()

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
            api.add(SEARCHES, namespace, changed(SEARCH, "metadata.uid", namespace))
        await refill(api, cache, ("ml",))

        assert list(cache.all_keys()) == [KEY]

    asyncio.run(scenario())

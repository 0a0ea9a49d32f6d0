"""What the operator tells as events, and how much of it."""

from __future__ import annotations

import asyncio

from autohas_operator.client import EVENTS
from autohas_operator.events import SHARE_BURST, EventRecorder
from autohas_operator.metrics import Metrics
from autohas_operator.observe import SearchRecord, search_record
from autohas_operator.ratelimit import TokenBucket
from autohas_operator.testing.builders import NOW_S, stored_search
from autohas_operator.testing.world import FakeApi
from autohas_operator.transitions import Announcement


def notice(message: str) -> Announcement:
    return Announcement(type="Warning", reason="Notice", message=message)


def told(words: dict[str, int], *, later_s: float = 0.0) -> tuple[dict[str, int], str]:
    """How many events each search has after it said so many things, and again one more `later_s` seconds later; the metrics."""
    api, metrics = FakeApi(), Metrics()
    bucket = TokenBucket(rate_per_s=1000, burst=1000, clock=lambda: api.now_s)
    recorder = EventRecorder(api, metrics, lambda: api.now_s, bucket, monotonic=lambda: api.now_s)

    def record(name: str) -> SearchRecord:
        document = stored_search(name)
        return search_record({**document, "metadata": {**document["metadata"], "uid": name}})

    async def scenario() -> None:
        for name, count in words.items():
            recorder.announce(record(name), [notice(f"number {number}") for number in range(count)])
        if later_s:
            api.now_s += later_s
            recorder.announce(record(next(iter(words))), [notice("later")])
        while await recorder.post_next():
            pass

    asyncio.run(scenario())
    involved = [event["involvedObject"]["name"] for event in api.all(EVENTS)]
    return {name: involved.count(name) for name in words}, metrics.exposition().decode()


def test_a_search_that_talks_without_end_leaves_room_for_the_others() -> None:
    """Of 500 notices 50 become events and 450 are counted as dropped; the other search keeps its word."""
    counts, metrics = told({"loud": 500, "quiet": 3})

    assert counts == {"loud": SHARE_BURST, "quiet": 3}
    assert "autohas_events_dropped_total 450.0" in metrics


def test_a_share_grows_back_with_time() -> None:
    """One event every half minute."""
    assert told({"loud": 500}, later_s=29)[0] == {"loud": SHARE_BURST}
    assert told({"loud": 500}, later_s=31)[0] == {"loud": SHARE_BURST + 1}


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    """An hour back would have cost 120 words: what a search may say is rationed by a clock that only goes on."""
    api, metrics, wall_s = FakeApi(), Metrics(), [NOW_S]
    bucket = TokenBucket(rate_per_s=1000, burst=1000, clock=lambda: 0.0)
    recorder = EventRecorder(api, metrics, lambda: wall_s[0], bucket, monotonic=lambda: 0.0)

    async def scenario() -> None:
        for later_s in (0, -3600):
            wall_s[0] += later_s
            recorder.announce(search_record(stored_search()), [notice(f"at {later_s}")])
        while await recorder.post_next():
            pass

    asyncio.run(scenario())
    assert [event["message"] for event in api.all(EVENTS)] == ["at 0", "at -3600"]

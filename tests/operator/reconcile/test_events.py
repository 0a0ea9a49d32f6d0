"""The events of the operator and their rate limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autohas_api.wire.reasons import Reason
from autohas_operator.client import EVENTS
from autohas_operator.decide.announcements import Announcement
from autohas_operator.metrics import Metrics
from autohas_operator.reconcile.events import SHARE_BURST, EventRecorder
from autohas_operator.records.observed import SearchRecord, search_record
from autohas_operator.testing.builders import NOW_S, stored_search
from autohas_operator.testing.fake_cluster import FakeApi
from autohas_operator.token_bucket import TokenBucket


def notice(message: str) -> Announcement:
    return Announcement(type="Warning", reason=Reason.TRAINER_NOTICE, message=message)


def post_events(words: dict[str, int], *, later_s: float = 0.0) -> tuple[dict[str, int], str]:
    """Number of events of each search after this many announcements, and one more `later_s` seconds later; and the metrics."""
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
    return {name: involved.count(name) for name in words}, metrics.render().decode()


def test_a_search_that_talks_without_end_leaves_room_for_the_others() -> None:
    """Of 500 notices 50 become events and 450 are counted as dropped; the other search loses none."""
    counts, metrics = post_events({"loud": 500, "quiet": 3})

    assert counts == {"loud": SHARE_BURST, "quiet": 3}
    assert "autohas_events_dropped_total 450.0" in metrics


def test_a_share_grows_back_with_time() -> None:
    """One event every half minute."""
    assert post_events({"loud": 500}, later_s=29)[0] == {"loud": SHARE_BURST}
    assert post_events({"loud": 500}, later_s=31)[0] == {"loud": SHARE_BURST + 1}


def test_a_clock_that_is_set_back_stops_no_events() -> None:
    """Setting the clock back by an hour would have cost 120 events: the limit of a search uses a monotonic clock."""
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


class RandomInterleaving:
    """Many searches and one recorder that may post 5 events a second after a burst of 100, as the chart has it."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.start_s = self.api.now_s
        self.metrics = Metrics()
        bucket = TokenBucket(rate_per_s=5, burst=100, clock=self._clock)
        self.recorder = EventRecorder(self.api, self.metrics, self._clock, bucket, monotonic=self._clock)
        self.bucket = bucket
        self.posted_s: dict[str, float] = {}

    def _clock(self) -> float:
        return self.api.now_s

    def say(self, name: str, reason: Reason, message: str = "m") -> None:
        document = stored_search(name)
        record = search_record({**document, "metadata": {**document["metadata"], "uid": name}})
        self.recorder.announce(record, [Announcement(type="Normal", reason=reason, message=message)])

    def post(self, until_s: float = 1e9) -> None:
        """Post what waits at the pace of the bucket, until nothing waits or this many seconds have passed since the start."""

        async def scenario() -> None:
            while self.api.now_s - self.start_s < until_s:
                self.api.now_s += self.bucket.reserve()
                if not await self.recorder.post_next():
                    break
                for event in self.events():
                    self.posted_s.setdefault(f"{event['involvedObject']['name']}: {event['reason']}", self.api.now_s - self.start_s)

        asyncio.run(scenario())

    def events(self) -> list[dict[str, Any]]:
        return list(self.api.all(EVENTS))

    def num_dropped(self) -> int:
        (value,) = (line.split()[1] for line in self.metrics.render().decode().splitlines() if line.startswith("autohas_events_dropped_t"))
        return int(float(value))


def test_in_a_flood_the_newest_is_posted_first() -> None:
    """Of 400 searches the last one fails while hundreds of events wait: a second later it can be read."""
    crowd = RandomInterleaving()
    for number in range(400):
        crowd.say(f"s{number}", Reason.SEARCH_ACCEPTED)
    crowd.post(until_s=10)
    crowd.say("s7", Reason.SEARCH_FAILED)
    crowd.post(until_s=11)

    assert crowd.posted_s["s7: SearchFailed"] <= 10.4


def test_what_is_ten_minutes_late_is_dropped_and_counted() -> None:
    """6,000 events at once: 100 and 5 a second for ten minutes are posted, the rest never, and then the queue is empty."""
    crowd = RandomInterleaving()
    for number in range(2000):
        for reason in (Reason.SEARCH_ACCEPTED, Reason.CHECKPOINT_NOT_DURABLE, Reason.TRAINER_JOB_CREATED):
            crowd.say(f"s{number}", reason)
    posted = 0

    async def scenario() -> None:
        nonlocal posted
        while True:
            crowd.api.now_s += crowd.bucket.reserve()
            if not await crowd.recorder.post_next():
                break
            posted += 1

    asyncio.run(scenario())
    assert crowd.api.now_s - crowd.start_s == pytest.approx(600, abs=1)
    assert posted == pytest.approx(100 + 5 * 600, abs=2)
    assert posted + crowd.num_dropped() == 6000


def test_under_a_backlog_an_event_replaces_the_older_one_of_its_kind() -> None:
    """Interrupted three times while 150 others wait: the last interruption is posted, the two before it are counted as dropped."""
    crowd = RandomInterleaving()
    for number in range(150):
        crowd.say(f"s{number}", Reason.SEARCH_ACCEPTED)
    for pod in ("a", "b", "c"):
        crowd.say("s1", Reason.SEARCH_INTERRUPTED, f"pod {pod} was stopped")
    crowd.post()

    assert [event["message"] for event in crowd.events() if event["reason"] == "SearchInterrupted"] == ["pod c was stopped"]
    assert crowd.num_dropped() == 2
    assert len(crowd.events()) == 151


def test_without_a_backlog_nothing_is_lost_and_the_order_stays() -> None:
    """Three interruptions are three events in their order; a repeated announcement is one event with count 2."""
    crowd = RandomInterleaving()
    for pod in ("a", "b", "c", "c"):
        crowd.say("s1", Reason.SEARCH_INTERRUPTED, f"pod {pod} was stopped")
    crowd.post()

    assert [(event["message"][4], event["count"]) for event in crowd.events()] == [("a", 1), ("b", 1), ("c", 2)]


def test_the_newest_ten_thousand_are_kept() -> None:
    """Memory is bounded: of 10,500 that wait the oldest 500 are dropped."""
    crowd = RandomInterleaving()
    for number in range(10_500):
        crowd.say(f"s{number}", Reason.SEARCH_ACCEPTED)

    assert crowd.num_dropped() == 500
    crowd.post(until_s=1)
    assert "s10499: SearchAccepted" in crowd.posted_s

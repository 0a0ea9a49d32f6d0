"""The work queue and the token bucket, on a clock that tests set."""

from __future__ import annotations

import asyncio

import pytest

from autohas_operator.cluster.workqueue import FIRST_DELAY_S, MAX_DELAY_S, WorkQueue
from autohas_operator.token_bucket import TokenBucket


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="queue")
def _queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock, lambda: 0.5)


def drain(queue: WorkQueue[str]) -> list[str]:
    found = []
    while (key := queue.pop()) is not None:
        found.append(key)
    return found


def test_a_key_is_queued_once(queue: WorkQueue[str]) -> None:
    """Added three times, handed out once, in the order of the first adds."""
    for key in "abaab":
        queue.add(key)

    assert len(queue) == 2
    assert drain(queue) == ["a", "b"]


def test_a_key_that_changes_while_it_is_worked_on_comes_back(queue: WorkQueue[str]) -> None:
    """Never to two workers at once, but never lost either."""
    queue.add("a")
    assert queue.pop() == "a"
    queue.add("a")
    queue.add("a")

    assert queue.pop() is None
    queue.done("a")
    assert drain(queue) == ["a"]


def test_done_without_a_change_does_not_come_back(queue: WorkQueue[str]) -> None:
    """The usual end of a pass."""
    queue.add("a")
    queue.pop()
    queue.done("a")

    assert queue.pop() is None


def test_a_delayed_key_ripens_at_its_time(queue: WorkQueue[str], clock: Clock) -> None:
    """The earliest of several times counts; none of them counts after an immediate add."""
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    clock.now_s = 4.9
    early = drain(queue)
    clock.now_s = 5.0
    due = drain(queue)
    queue.done("a")
    clock.now_s = 30

    assert (early, due, drain(queue)) == ([], ["a"], [])
    assert queue.num_delayed == 0


def test_back_off_doubles_up_to_its_limit_and_is_forgotten(queue: WorkQueue[str]) -> None:
    """0.5, 1, 2 ... 300 s; a success starts over; a server's Retry-After is obeyed."""
    delays = [queue.add_rate_limited("a") for _ in range(12)]
    queue.forget("a")

    assert delays[:3] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S]
    assert delays[-1] == MAX_DELAY_S
    assert queue.add_rate_limited("a") == FIRST_DELAY_S
    assert queue.add_rate_limited("b", at_least_s=7) == 7


def test_times_that_no_longer_count_do_not_pile_up(queue: WorkQueue[str], clock: Clock) -> None:
    """50 keys far away, brought forward by a thousand resyncs: the heap stays within twice the 50 that count, and 64."""
    keys = [f"search {number}" for number in range(50)]
    for _ in range(1000):
        clock.now_s += 600
        for key in keys:
            queue.add_after(key, 86_400 * 30)
            queue.add_after(key, 300)
            queue.add(key)
        for key in drain(queue):
            queue.done(key)
            queue.add_after(key, 86_400 * 30)
    waiting = len(queue._heap)
    clock.now_s += 86_400 * 30

    assert waiting <= 2 * 50 + 64
    assert sorted(drain(queue)) == sorted(keys)


def test_failures_that_last_have_an_age(queue: WorkQueue[str], clock: Clock) -> None:
    """From the first failure in a row, of the key that has failed for longest."""
    none_yet = queue.oldest_failing_s
    queue.add_rate_limited("a")
    clock.now_s = 100
    queue.add_rate_limited("a")
    queue.add_rate_limited("b")
    clock.now_s = 130
    both = (queue.num_failing, queue.oldest_failing_s)
    queue.forget("a")

    assert (none_yet, both, queue.oldest_failing_s) == (0, (2, 130), 30)


def test_back_off_is_jittered(clock: Clock) -> None:
    """Keys that failed together are not retried together."""
    low, high = WorkQueue[str](clock, lambda: 0.0), WorkQueue[str](clock, lambda: 1.0)

    assert low.add_rate_limited("a") == pytest.approx(0.8 * FIRST_DELAY_S)
    assert high.add_rate_limited("a") == pytest.approx(1.2 * FIRST_DELAY_S)


def test_sleeping_workers_wake_up() -> None:
    """Two workers that wait get a key each, whichever way it arrives."""

    async def scenario() -> set[str]:
        queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time, lambda: 0.5)
        workers = [asyncio.create_task(queue.get()) for _ in range(2)]
        await asyncio.sleep(0)
        queue.add("a")
        queue.add_after("b", 0.001)
        async with asyncio.timeout(5):
            return set(await asyncio.gather(*workers))

    assert asyncio.run(scenario()) == {"a", "b"}


def test_a_key_is_never_worked_on_twice_at_once() -> None:
    """Many adds, several workers: at most one of them holds the key at any time, and the last add is seen."""

    async def scenario() -> tuple[int, int]:
        queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time, lambda: 0.5)
        held = most = seen = added = 0

        async def worker() -> None:
            nonlocal held, most, seen
            while True:
                key = await queue.get()
                held += 1
                most = max(most, held)
                seen = added
                await asyncio.sleep(0)
                held -= 1
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(3)]
        for _ in range(49):
            added += 1
            queue.add("a")
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        for task in workers:
            task.cancel()
        return most, seen

    assert asyncio.run(scenario()) == (1, 49)


def test_the_bucket_lets_a_burst_through_and_then_the_rate(clock: Clock) -> None:
    """Two at once, then one every half second; saved tokens never exceed the burst."""
    bucket = TokenBucket(rate_per_s=2, burst=2, clock=clock)

    assert [bucket.reserve() for _ in range(4)] == [0, 0, 0.5, 1.0]
    clock.now_s = 100
    assert [bucket.reserve() for _ in range(3)] == [0, 0, 0.5]


def test_a_clock_that_is_set_back_takes_no_tokens_away() -> None:
    """Three tokens of five are left, also after the clock is set back by an hour; half a second later there is a fourth."""
    now = [3600.0]
    bucket = TokenBucket(rate_per_s=2, burst=5, clock=lambda: now[0])
    assert [bucket.take() for _ in range(2)] == [True, True]

    now[0] = 0.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now[0] = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]

"""The work queue, as client-go's: every key at most once, never two workers on one key, back-off per key.

A key that is added while a worker processes it is handed out again afterwards. The clock and the random numbers are arguments.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from autohas_operator.token_bucket import jitter

K = TypeVar("K", bound=Hashable)

FIRST_DELAY_S: Final = 0.5
"""Delay after the first failure; it doubles with each further failure."""
MAX_DELAY_S: Final = 300.0
"""Longest delay: a search that fails permanently is tried 12 times an hour."""
JITTER: Final = 0.2
"""Delays vary by this share, so that keys that failed together are not retried together."""

MAX_STALE: Final = 64
"""Stale heap entries tolerated before compaction."""


class _Failures(NamedTuple):
    """The number of failures of a key in a row, and the time of the first."""

    times: int
    since_s: float


class WorkQueue(Generic[K]):
    """Keys to process, now or later."""

    def __init__(self, clock: Callable[[], float], rng: Callable[[], float]) -> None:
        self._clock = clock
        self._rng = rng
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()
        self._processing: set[K] = set()
        self._dirty: set[K] = set()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._failures: dict[K, _Failures] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queued) + len(self._dirty)

    @property
    def num_delayed(self) -> int:
        """Number of keys that wait for their requeue time."""
        return len(self._due)

    @property
    def num_failing(self) -> int:
        """Number of keys whose last try failed."""
        return len(self._failures)

    @property
    def oldest_failing_s(self) -> float:
        """Seconds the longest-failing key has been failing (0 if none). Thread-safe."""
        now_s = self._clock()
        return max((now_s - failures.since_s for failures in tuple(self._failures.values())), default=0.0)

    def add(self, key: K) -> None:
        """Hand `key` out as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._processing:
            self._dirty.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._changed.set()

    def add_after(self, key: K, delay_s: float) -> None:
        """Hand `key` out after `delay_s`, or earlier if it is added meanwhile."""
        if delay_s <= 0:
            self.add(key)
            return
        due = self._clock() + delay_s
        if key not in self._due or due < self._due[key]:
            self._due[key] = due
            self._sequence += 1
            heapq.heappush(self._heap, (due, self._sequence, key))
            self._compact()
            self._changed.set()

    def add_rate_limited(self, key: K, at_least_s: float = 0.0) -> float:
        """Hand `key` out after its back-off; returns the delay."""
        before = self._failures.get(key, _Failures(0, self._clock()))
        self._failures[key] = before._replace(times=before.times + 1)
        usual_s: float = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(before.times, 32))
        delay_s = max(at_least_s, jitter(usual_s, JITTER, self._rng))
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """Reset the back-off of a key after a success."""
        self._failures.pop(key, None)

    def done(self, key: K) -> None:
        """A worker has finished with `key`; if it was added meanwhile, it is handed out again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def pop(self) -> K | None:
        """The next key, or None if no key is due."""
        self._ripen()
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._queued.discard(key)
        self._processing.add(key)
        return key

    async def get(self) -> K:
        """Wait for the next key."""
        while (key := self.pop()) is None:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._next_due_in()):
                    await self._changed.wait()
            except TimeoutError:
                continue
        if self._ready:
            self._changed.set()  # wakes another worker
        return key

    def _compact(self) -> None:
        """Rebuild the heap when stale entries outnumber the others: one with a far due time would stay for days."""
        if len(self._heap) > 2 * len(self._due) + MAX_STALE:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def _next_due_in(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    def _ripen(self) -> None:
        while self._next_due_in() == 0.0:
            _, _, key = heapq.heappop(self._heap)
            self.add(key)

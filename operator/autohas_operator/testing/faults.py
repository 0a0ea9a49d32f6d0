"""Faults for tests of the operator: requests that fail at random, outages, lost answers, two operators at once."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from autohas_operator.errors import UnreachableError, api_error
from autohas_operator.records.observed import Key, Report
from autohas_operator.testing.fake_cluster import FakeApi, FakeCluster, Operator

MAX_SETTLE_S: Final = 3600
"""Seconds of the fake clock after which an operator that still retries is an endless loop."""


class RandomFaults:
    """A share of all requests fails with 409, 429, 500 or a timeout, before it takes effect or after."""

    def __init__(self, seed: int, share: float = 0.15) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - a test's faults, not a secret
        self._share = share
        self.num_faults = 0

    async def before(self, verb: str, plural: str) -> None:
        """Fail at random before the request takes effect."""
        if self._rng.random() < self._share:
            self.num_faults += 1
            raise self._rng.choice(
                [
                    api_error(status=429, message="too many requests", request=f"{verb} {plural}", retry_after_s=1),
                    api_error(status=500, message="etcdserver: request timed out", request=f"{verb} {plural}"),
                    api_error(status=409, message="the object has been modified", request=f"{verb} {plural}"),
                    UnreachableError(f"{verb} {plural}: timeout"),
                ]
            )

    async def after(self, verb: str, plural: str) -> None:
        """Fail at random after the request has taken effect."""
        if self._rng.random() < self._share:
            self.num_faults += 1
            raise UnreachableError(f"{verb} {plural}: connection reset")


class Outage:
    """From the `first`-th request on the API server is unreachable for a minute."""

    def __init__(self, api: FakeApi, first: int, seconds: float = 60.0) -> None:
        self._api, self._first, self._seconds = api, first, seconds
        self._num_requests = 0
        self._until_s = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether the operator has made that many requests."""
        return self._num_requests >= self._first

    async def before(self, verb: str, plural: str) -> None:
        """Count the request; refuse the connection while the outage lasts."""
        self._num_requests += 1
        if self._num_requests == self._first:
            self._until_s = self._api.now_s + self._seconds
        if self._api.now_s < self._until_s:
            raise UnreachableError(f"{verb} {plural}: connection refused")

    async def after(self, verb: str, plural: str) -> None:
        """Every answer arrives."""


class RandomInterleaving:
    """Before every request and every answer a random number of other tasks runs."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - as above

    async def before(self, verb: str, plural: str) -> None:  # noqa: ARG002 - all requests are alike
        """Let other tasks run."""
        for _ in range(self._rng.randrange(4)):
            await asyncio.sleep(0)

    async def after(self, verb: str, plural: str) -> None:
        """Let other tasks run."""
        await self.before(verb, plural)


class PatientCluster(FakeCluster):
    """A cluster whose `settle` lets time pass until nothing is left to retry; with `is_late` the watches deliver late."""

    def __init__(self, *, is_late: bool = False) -> None:
        super().__init__()
        self._is_late = is_late

    async def settle(self) -> None:
        """Reconcile until no key waits in back-off."""
        if self._is_late:
            await self._reconcile_stale_cache()
        for _ in range(MAX_SETTLE_S):
            await super().settle()
            if not self.operator.queue.num_failing:
                return
            self.api.now_s += 1
        raise AssertionError("the operator does not settle")

    async def _reconcile_stale_cache(self) -> None:
        for key in self.operator.cache.all_keys():
            self.operator.queue.add(key)
        await self.operator.work()


class OperatorPair:
    """Two operators that do not know of each other."""

    def __init__(self, api: FakeApi) -> None:
        self.operators = (Operator(api), Operator(api))

    def report(self, report: Report, key: Key) -> None:
        """Both have polled the trainer."""
        for operator in self.operators:
            operator.report(report, key)

    async def settle(self) -> None:
        """Let both reconcile concurrently until neither has anything to do."""
        for _ in range(2):
            await asyncio.gather(*(operator.settle() for operator in self.operators))


class TwoOperators(FakeCluster):
    """A cluster in which a second operator was started by mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.operator: OperatorPair = OperatorPair(self.api)  # type: ignore[assignment]  # has the methods of Operator that scenarios call

    async def settle(self) -> None:
        """Let both reconcile; conflicts between them are retried after their back-off."""
        for _ in range(MAX_SETTLE_S):
            await self.operator.settle()
            if not any(operator.queue.num_failing for operator in self.operator.operators):
                return
            self.api.now_s += 1
        raise AssertionError("the operators do not settle")

"""Bad days of an API server and of operators, for tests: refusals at random, outages, lost answers, two operators at once."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from autohas_operator.errors import UnreachableError, api_error
from autohas_operator.records.observed import Key, Report
from autohas_operator.testing.world import FakeApi, Operator, World

PATIENCE_S: Final = 3600
"""An operator that has not come to rest by then never will."""


class Storm:
    """A share of all requests is refused with 409, 429 or 500, or not answered: before it took effect, or after."""

    def __init__(self, seed: int, share: float = 0.15) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - a test's weather
        self._share = share
        self.num_struck = 0

    async def before(self, verb: str, plural: str) -> None:
        """Refuse, perhaps."""
        if self._dice.random() < self._share:
            self.num_struck += 1
            raise self._dice.choice(
                [
                    api_error(status=429, message="too many requests", request=f"{verb} {plural}", retry_after_s=1),
                    api_error(status=500, message="etcdserver: request timed out", request=f"{verb} {plural}"),
                    api_error(status=409, message="the object has been modified", request=f"{verb} {plural}"),
                    UnreachableError(f"{verb} {plural}: timeout"),
                ]
            )

    async def after(self, verb: str, plural: str) -> None:
        """Lose the answer, perhaps."""
        if self._dice.random() < self._share:
            self.num_struck += 1
            raise UnreachableError(f"{verb} {plural}: connection reset")


class Outage:
    """From the n-th request on nothing answers for a minute."""

    def __init__(self, api: FakeApi, first: int, seconds: float = 60.0) -> None:
        self._api, self._first, self._seconds = api, first, seconds
        self._num_requests = 0
        self._until_s = 0.0

    @property
    def has_struck(self) -> bool:
        """Whether so many requests were made."""
        return self._num_requests >= self._first

    async def before(self, verb: str, plural: str) -> None:
        """Count; refuse while it lasts."""
        self._num_requests += 1
        if self._num_requests == self._first:
            self._until_s = self._api.now_s + self._seconds
        if self._api.now_s < self._until_s:
            raise UnreachableError(f"{verb} {plural}: connection refused")

    async def after(self, verb: str, plural: str) -> None:
        """Answers arrive."""


class Crowd:
    """Other tasks get their turn, at random, before every request and before every answer."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - as above

    async def before(self, verb: str, plural: str) -> None:  # noqa: ARG002 - all requests are alike
        """Wait for a while."""
        for _ in range(self._dice.randrange(4)):
            await asyncio.sleep(0)

    async def after(self, verb: str, plural: str) -> None:
        """Wait for a while."""
        await self.before(verb, plural)


class StormyWorld(World):
    """A world in which `settle` lets time pass until the operator has come to rest; with `is_late` it hears of everything late."""

    def __init__(self, *, is_late: bool = False) -> None:
        super().__init__()
        self._is_late = is_late

    async def settle(self) -> None:
        """Work, wait out the back-off, work on."""
        if self._is_late:
            await self._work_on_what_is_known()
        for _ in range(PATIENCE_S):
            await super().settle()
            if not self.operator.queue.num_failing:
                return
            self.api.now_s += 1
        raise AssertionError("the operator does not come to rest")

    async def _work_on_what_is_known(self) -> None:
        for key in self.operator.cache.all_keys():
            self.operator.queue.add(key)
        await self.operator.work()


class Pair:
    """Two operators that know nothing of each other."""

    def __init__(self, api: FakeApi) -> None:
        self.both = (Operator(api), Operator(api))

    def report(self, report: Report, key: Key) -> None:
        """Both poll."""
        for operator in self.both:
            operator.report(report, key)

    async def settle(self) -> None:
        """Both work at the same time, until both are at rest."""
        for _ in range(2):
            await asyncio.gather(*(operator.settle() for operator in self.both))


class TwoOperators(World):
    """A world in which a second operator was started by mistake."""

    def __init__(self) -> None:
        super().__init__()
        self.operator: Pair = Pair(self.api)  # type: ignore[assignment]  # has what lives use of an operator

    async def settle(self) -> None:
        """Let both work; conflicts between them are repeated after their back-off."""
        for _ in range(PATIENCE_S):
            await self.operator.settle()
            if not any(operator.queue.num_failing for operator in self.operator.both):
                return
            self.api.now_s += 1
        raise AssertionError("the operators do not come to rest")

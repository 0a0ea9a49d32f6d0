"""A token bucket: a long-term mean rate with room for bursts. The clock is an argument."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """`rate_per_s` tokens a second, at most `burst` of them saved up."""

    def __init__(self, *, rate_per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._seen = clock()

    def reserve(self) -> float:
        """Take a token, on credit when there is none; returns how long to wait before using it, in seconds."""
        self._refill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def take(self) -> bool:
        """Take a token if there is a whole one; whether there was."""
        self._refill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self) -> None:
        now = self._clock()
        passed_s = max(0.0, now - self._seen)  # a clock that is set back brings nothing and takes nothing away
        self._tokens = min(self._burst, self._tokens + passed_s * self._rate)
        self._seen = now

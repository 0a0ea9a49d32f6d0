"""A token bucket (a long-term mean rate with room for bursts), and the jitter of delays. Clock and random numbers are arguments."""

from __future__ import annotations

from collections.abc import Callable


def jitter(delay_s: float, share: float, rng: Callable[[], float]) -> float:
    """A delay between `delay_s` * (1 - `share`) and `delay_s` * (1 + `share`); `rng` draws uniformly from [0, 1)."""
    return delay_s * (1 + share * (2 * rng() - 1))


class TokenBucket:
    """`rate_per_s` tokens a second, of which at most `burst` accumulate."""

    def __init__(self, *, rate_per_s: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._seen = clock()

    def reserve(self) -> float:
        """Take a token, in advance when there is none; returns the seconds to wait before using it."""
        self._refill()
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)

    def take(self) -> bool:
        """Take a token if there is a whole one; returns whether there was."""
        self._refill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self) -> None:
        now = self._clock()
        passed_s = max(0.0, now - self._seen)  # a clock that is set back adds and removes no tokens
        self._tokens = min(self._burst, self._tokens + passed_s * self._rate)
        self._seen = now

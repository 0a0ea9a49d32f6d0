"""Which faults a search meets, and when: drawn from a seed, so the same in every run. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import Final


class Kind(StrEnum):
    """What can happen to a search."""

    TRAINER_KILL = "trainer kill"
    OPERATOR_KILL = "operator kill"
    POD_DELETE = "pod delete"
    JOB_DELETE = "Job delete"
    SUSPEND_FLIP = "suspend flip"
    API_OUTAGE = "API outage"


HOW: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.TRAINER_KILL: ("SIGKILL",),
    Kind.OPERATOR_KILL: ("forced",),
    Kind.POD_DELETE: ("with its grace", "within 1 s"),
    Kind.JOB_DELETE: ("foreground", "background", "orphan"),
    Kind.SUSPEND_FLIP: ("once", "twice"),
    Kind.API_OUTAGE: ("crash", "freeze"),
}
"""The ways in which each kind is done."""

WEIGHTS: Final[dict[Kind, int]] = {kind: 1 if kind is Kind.API_OUTAGE else 2 for kind in Kind}
"""An outage hits every search at once and outlasts the others: half as likely."""

AT_ONCE: Final = 1 / 3
"""Share of faults that follow the one before without waiting for progress: they meet searches that start, end or rest."""
MAX_DELAY_S: Final = 4.0
MAX_HOLD_S: Final = 6.0
MOST_DONE: Final = 0.9
"""Later faults would come after the end of the search too often."""
FIRST_MORE: Final = 1.15
MOST_PER_SEARCH: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault to come.

    It strikes when the share `done` of the search is done; None: `delay_s` after the one before it, whatever the search does then.
    `hold_s` is how long a search is suspended or the API server away.
    """

    kind: Kind
    how: str
    done: float | None
    delay_s: float
    hold_s: float


def draw(seed: int, search: int, count: int) -> list[Fault]:
    """`count` faults for the search of this number, at shares that never fall."""
    rng = random.Random(f"faults/{seed}/{search}")  # noqa: S311 - moments of a test, no secrets
    shares = sorted(rng.uniform(0, MOST_DONE) for _ in range(count))
    return [_one(rng, share) for share in shares]


def _one(rng: random.Random, share: float | None) -> Fault:
    (kind,) = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
    how = rng.choice(HOW[kind])
    is_at_once = rng.random() < AT_ONCE
    return Fault(
        kind=kind,
        how=how,
        done=None if is_at_once else share,
        delay_s=rng.uniform(0, MAX_DELAY_S) if is_at_once else 0.0,
        hold_s=rng.uniform(0.5, MAX_HOLD_S),
    )


class Pot:
    """How many faults are still to be dealt, over how many searches; what hit nothing comes back into it.

    The first searches are dealt somewhat more than the last, so that what comes back still finds searches to strike.
    """

    def __init__(self, searches: int, faults: int) -> None:
        self.left = faults
        self._searches = searches
        self._begun = 0

    def next_search(self) -> tuple[int, int] | None:
        """Number of the next search and how many faults are dealt to it; None when nothing is left to do.

        Beyond the searches that were asked for there are more only while faults are left.
        """
        to_come = self._searches - self._begun
        if to_come <= 0 and self.left == 0:
            return None
        share = min(self.left, MOST_PER_SEARCH, ceil(FIRST_MORE * self.left / max(1, to_come)))
        self.left -= share
        self._begun += 1
        return self._begun - 1, share

    def close(self) -> None:
        """No time is left: nothing more is dealt."""
        self.left = 0

    def give_back(self, count: int) -> None:
        """Faults that hit nothing because their search had ended."""
        self.left += count

"""The brackets of a multi-trial algorithm: how many trials begin at which rung, and how many continue from rung to rung. Pure.

Sources: Li et al. (2018), "Hyperband"; Falkner et al. (2018), "BOHB". With eta 3 and four rungs, of 1, 3, 9 and 27 parts of a training:

    AtEnd       1@27, again and again
    Full        1@27, again and again
    Halving     27@1, 9@3, 3@9, 1@27, again and again
    Hyperband   27@1, 9@3, 3@9, 1@27; 12@3, 4@9, 1@27; 6@9, 2@27; 4@27; from the first bracket again

The paper rounds the size of a bracket up, as here; HpBandSter rounds it down, so that its second bracket begins with 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import ceil

__all__ = ["Bracket", "Schedule", "find_bracket"]


class Schedule(StrEnum):
    """How the trials of a multi-trial algorithm are cut short."""

    AT_END = "AtEnd"
    """Every trial is trained to the end and compared there only, the default too."""
    FULL = "Full"
    """As AtEnd, but the default is compared at every rung: its curve shows what longer training would give."""
    HALVING = "Halving"
    """Trials begin at the first rung, and of those at a rung the best 1/eta continue."""
    HYPERBAND = "Hyperband"
    """Brackets of halving that begin at the first rung, at the second, and so on."""

    @property
    def cuts_short(self) -> bool:
        """Whether trials end before the last rung."""
        return self in (Schedule.HALVING, Schedule.HYPERBAND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """Trials that are compared with each other: the rung that all of them reach, and the number of them that begin."""

    first_rung: int
    num_trials: int

    def num_at(self, rung: int, eta: int, num_trials: int | None = None) -> int:
        """Trials that are trained to a rung: of those at the rung before it one of eta, and one at least.

        Args:
            rung: At least `first_rung`.
            eta: Of this number of trials one continues.
            num_trials: Trials with which the bracket began where they are not all of it.
        """
        began = self.num_trials if num_trials is None else num_trials
        return max(1, began // int(eta ** (rung - self.first_rung)))


def find_bracket(schedule: Schedule, number: int, *, eta: int, num_rungs: int) -> Bracket:
    """Bracket `number`, from 0, of a schedule over `num_rungs` rungs."""
    last = num_rungs - 1
    if not schedule.cuts_short:
        return Bracket(first_rung=last, num_trials=1)
    if schedule is Schedule.HALVING:
        return Bracket(first_rung=0, num_trials=int(eta**last))
    first = number % num_rungs
    return Bracket(first_rung=first, num_trials=ceil(Fraction(num_rungs * eta ** (last - first), num_rungs - first)))

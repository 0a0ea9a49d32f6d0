"""The brackets of multi-trial algorithms, against the tables of the papers."""

from __future__ import annotations

import pytest

from autohas_api.algorithms.brackets import Bracket, Schedule, find_bracket

ETA, RUNGS = 3, 4


def table(schedule: Schedule, number: int) -> list[tuple[int, int]]:
    """(trials, parts of 27 of a training) of each rung of a bracket."""
    bracket = find_bracket(schedule, number, eta=ETA, num_rungs=RUNGS)
    return [(bracket.num_at(rung, ETA), ETA**rung) for rung in range(bracket.first_rung, RUNGS)]


def test_halving_has_the_bracket_of_the_paper() -> None:
    """R = 27, eta = 3: 27@1, 9@3, 3@9, 1@27, in every bracket."""
    assert [table(Schedule.HALVING, number) for number in (0, 5)] == [[(27, 1), (9, 3), (3, 9), (1, 27)]] * 2


def test_hyperband_rounds_the_size_of_a_bracket_up_as_the_paper_does() -> None:
    """R = 27, eta = 3: 12 trials in the second bracket where HpBandSter has 9; after the last bracket the first one again."""
    assert [table(Schedule.HYPERBAND, number) for number in range(5)] == [
        [(27, 1), (9, 3), (3, 9), (1, 27)],
        [(12, 3), (4, 9), (1, 27)],
        [(6, 9), (2, 27)],
        [(4, 27)],
        [(27, 1), (9, 3), (3, 9), (1, 27)],
    ]


@pytest.mark.parametrize("schedule", [Schedule.AT_END, Schedule.FULL])
def test_without_a_schedule_each_trial_is_its_own_bracket(schedule: Schedule) -> None:
    """One trial to the last rung."""
    assert not schedule.cuts_short
    assert [table(schedule, number) for number in (0, 3)] == [[(1, 27)]] * 2


@pytest.mark.parametrize(("began", "at"), [(27, [27, 9, 3, 1]), (8, [8, 2, 1, 1]), (2, [2, 1, 1, 1])])
def test_a_bracket_that_began_with_fewer_trials_ends_with_one(began: int, at: list[int]) -> None:
    """Of eta trials one continues, rounded down, and one at least."""
    bracket = Bracket(first_rung=0, num_trials=27)
    assert [bracket.num_at(rung, ETA, began) for rung in range(RUNGS)] == at

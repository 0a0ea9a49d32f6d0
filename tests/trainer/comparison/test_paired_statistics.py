"""Paired differences, their interval, and the seeds that would tell two methods apart, on numbers made by hand."""

from __future__ import annotations

import math

import pytest

from autohas_trainer.comparison.paired_statistics import deviation, mean_interval, pair, seeds_needed


def test_a_pair_of_methods_is_compared_seed_by_seed() -> None:
    """Differences 1, 1, 4, -2, 1 and 0: mean 5/6, sample deviation 1.9408, t = 5/6 / (1.9408 / sqrt 6)."""
    figures = pair([3, 2, 5, 1, 2, 7], [2, 1, 1, 3, 1, 7])

    assert figures.mean == pytest.approx(5 / 6)
    assert figures.t == pytest.approx(5 / 6 / (math.sqrt((23 - 25 / 6) / 5) / math.sqrt(6)))
    assert (figures.wins, figures.ties, figures.losses) == (4, 1, 1)


def test_there_is_no_t_where_nothing_varies() -> None:
    """One seed, or equal differences, have no standard error."""
    assert pair([1.0], [0.5]).t is None
    assert pair([1.0, 2.0], [0.5, 1.5]).t is None
    assert deviation([4.0]) == 0


def test_the_interval_is_student_s() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt 3, and the tables of t give 4.3027 for 95 % and 2 degrees of freedom."""
    low, high = mean_interval([1.0, 2.0, 3.0]) or (0.0, 0.0)

    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-6)
    assert mean_interval([1.0, 2.0]) is None
    assert mean_interval([1.0, 1.0, 1.0]) is None


def test_a_difference_of_one_deviation_needs_ten_seeds() -> None:
    """The textbooks' paired t test at 5 % on both sides with 80 % power needs 10 pairs for a mean of one deviation, 34 for half of one."""
    one = [0.0, 1.0, 2.0]  # mean 1, sample deviation 1

    assert deviation(one) == pytest.approx(1)
    assert seeds_needed(one) == 10
    assert seeds_needed([value - 0.5 for value in one]) == 34


@pytest.mark.parametrize("differences", [[1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0001]], ids=str)
def test_no_number_of_seeds_is_named_where_none_follows(differences: list[float]) -> None:
    """Too few differences, no spread, no mean, or a mean so small that more than 10,000 seeds would be needed."""
    assert seeds_needed(differences) is None

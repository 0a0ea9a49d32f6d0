"""The statistics of the quality benchmark, on numbers made by hand."""

from __future__ import annotations

import math

import pytest
from benchmarks.quality.figures import Reach, best_of, bootstrap, value_at


def test_the_bootstrap_finds_the_quantiles_of_a_coin() -> None:
    """The mean of two fair coins is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4: 90 % covers all, 40 % only the middle."""
    coin = (0.0, 1.0)

    def mean(seeds: object) -> float:
        assert isinstance(seeds, list)
        return sum(coin[i] for i in seeds) / len(seeds)

    assert bootstrap(2, mean, 0.9) == (0, 1)
    assert bootstrap(2, mean, 0.4) == (0.5, 0.5)
    assert bootstrap(2, mean, 0.9) == bootstrap(2, mean, 0.9)


def test_the_work_to_a_median_is_that_of_the_middle_seed() -> None:
    """Three seeds reach 5 after 1, 2 and 4: the median does after 2; no median reaches 9, and the third seed alone reaches 5 after 4."""
    curves = [[(1.0, 5.0), (3.0, 9.0)], [(1.5, 4.0), (2.0, 6.0)], [(1.0, 0.0), (4.0, 5.0)]]
    reach = Reach(curves)

    assert value_at(curves[0], 0.5) == -math.inf
    assert (value_at(curves[0], 2.9), value_at(curves[0], 3.0)) == (5.0, 9.0)
    assert reach.work(5.0) == 2.0
    assert reach.work(9.0) == math.inf
    assert reach.work(5.0, [2, 2, 0]) == 4.0


def test_the_expected_best_of_k_draws_is_exact() -> None:
    """Of four values the best of two draws is the first in 3 of 6 pairs, the second in 2, the third in 1; of all four it is the first."""
    ranked = [8.0, 4.0, 2.0, 1.0]

    assert best_of(2, ranked) == pytest.approx((3 * 8 + 2 * 4 + 1 * 2) / 6)
    assert best_of(4, ranked) == 8
    assert best_of(1, ranked) == pytest.approx(15 / 4)

"""BOHB's kernel density, against numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autohas_trainer.algorithms._kde import MIN_BANDWIDTH, KernelDensity
from autohas_trainer.seeding import stream


def test_a_pair_of_points_by_hand() -> None:
    """A number at 0.2 and 0.6 and one of three choices, 0 and 2: deviations 0.2 and 1, two points, two dimensions.

    The bandwidths are 1.06 * deviation * 2^(-1/6): 0.189 for the number, and for the category 0.944, which ends at 2/3.
    """
    density = KernelDensity.fit(np.array([[0.2, 0.0], [0.6, 2.0]]), (0, 3))
    width = 1.06 * 0.2 * 2 ** (-1 / 6)
    assert density.bandwidths_D.tolist() == pytest.approx([width, 2 / 3], abs=1e-15)

    def normal(distance: float) -> float:
        return math.exp(-0.5 * (distance / width) ** 2) / (width * math.sqrt(2 * math.pi))

    by_hand = (normal(0.1) * (1 / 3) + normal(0.3) * (1 / 3)) / 2
    assert math.exp(density.log_density(np.array([0.3, 0.0]))) == pytest.approx(by_hand, rel=1e-12)


def test_a_category_spreads_over_all_its_choices() -> None:
    """Choices 0, 0, 0, 1 of four: the deviation is sqrt(3)/4; the probabilities of all four sum to 1, those never seen included."""
    density = KernelDensity.fit(np.array([[0.0], [0.0], [0.0], [1.0]]), (4,))
    other = 1.06 * math.sqrt(3) / 4 * 4 ** (-1 / 5)

    probabilities = [math.exp(density.log_density(np.array([choice]))) for choice in (0.0, 1.0, 2.0, 3.0)]

    by_hand = [(3 * (1 - other) + other / 3) / 4, ((1 - other) + other) / 4, other / 3, other / 3]
    assert probabilities == pytest.approx(by_hand, rel=1e-12)
    assert sum(probabilities) == pytest.approx(1.0, rel=1e-12)


def test_equal_points_keep_a_width() -> None:
    """Points that agree have the least bandwidth, and far away from them the density is small, not 0."""
    density = KernelDensity.fit(np.full((5, 30), 0.5), (0,) * 30)

    assert set(density.bandwidths_D.tolist()) == {MIN_BANDWIDTH}
    assert math.isfinite(density.log_density(np.zeros(30)))


def test_samples_stay_in_the_cube_and_near_their_centre() -> None:
    """Samples of 0 with a width of 3 * 0.001 lie between 0 and 0.02; a category of two is another choice in a bandwidth's share."""
    density = KernelDensity(points_ND=np.array([[0.0, 1.0]]), bandwidths_D=np.array([0.001, 0.5]), sizes=(0, 2))
    rng = stream(0)
    samples = np.array([density.sample(rng, 3.0) for _ in range(400)])

    assert samples[:, 0].min() >= 0
    assert samples[:, 0].max() < 0.02
    assert 0.2 < np.mean(samples[:, 1] == 0) < 0.3  # half of them draw again, and half of those draw the other choice
